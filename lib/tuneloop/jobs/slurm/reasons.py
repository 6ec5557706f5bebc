"""Why a job waits, in plain words: the reasons that squeue prints (`%r`), from the list in SLURM's documentation.

Limits have about 150 names made of few parts (`QOSMaxCpuPerUserLimit`); they are read part by part. A reason that
nobody knows here is shown as it is.
"""

import re

from tuneloop.documents.plain import plain

NEVER = "a job that it needs did not end well"
AGAIN = "starts again"

_RELEASE = "`scontrol release` lets it start"
# Reasons of a job that waits until somebody releases it. Those with spaces are texts of slurmctld, no codes.
HELD = {
    "JobHeldUser": f"held by its owner; {_RELEASE}",
    "JobHeldAdmin": "held by an administrator, who must release it",
    "JobHoldMaxRequeue": "held: it was started again too often, and an administrator must release it",
    "job requeued in held state": f"held when it was requeued; {_RELEASE}",
    "launch failed requeued held": f"held: its start failed; {_RELEASE}",
    "ReservationDeleted": f"held: its reservation was deleted; {_RELEASE}",
}
_PLAIN = {
    "None": "",
    "Priority": "jobs of others go first",
    "Resources": "no free node with what it asks for",
    "Dependency": "a job that it needs has not ended",
    "DependencyNeverSatisfied": NEVER,
    "JobArrayTaskLimit": "the array's own limit on jobs at once",
    "BeginTime": "its start time has not come; a requeued job starts again by itself",
    "NonZeroExitCode": "another exit code than 0",
    "RaisedSignal": "ended by a signal",
    "JobLaunchFailure": "ended by a signal, or could not be launched",
    "SystemFailure": "SLURM itself failed",
    "OutOfMemory": "out of memory",
    "TimeLimit": "the time limit was reached",
    "DeadLine": "its deadline passed",
    "InactiveLimit": "it was inactive for too long",
    "NodeDown": "a node that it needs is down",
    "Prolog": "its node is being prepared",
    "Cleaning": "its last run is being cleaned up",
    "SchedDefer": "the scheduler looks at it later",
    "FedJobLock": "the clusters of the federation agree on who starts it",
    "Licenses": "no free licence",
    "Reservation": "its reservation has not begun",
    "ReservationInvalid": "its reservation cannot be used",
    "ReqNodeNotAvail": "a node that it asks for is down, drained or reserved",
    "FrontEndDown": "no front end node is up",
    "PowerNotAvail": "not enough power for its nodes",
    "PowerReserved": "the power for its nodes is reserved",
    "BadConstraints": "no node will ever have what it asks for",
    "Constraints": "no node has the features that it asks for now",
    "PartitionConfig": "asks for what its partition does not have or allow",
    "PartitionDown": "its partition is down",
    "PartitionInactive": "its partition starts no jobs now",
    "PartitionNodeLimit": "asks for more or fewer nodes than the partition allows, or for nodes that are down",
    "PartitionTimeLimit": "asks for more time than the partition allows",
    "MaxMemPerLimit": "asks for more memory than a CPU or node may give",
    "AccountNotAllowed": "its account may not use the partition",
    "InvalidAccount": "its account is not valid any more",
    "InvalidQOS": "its QOS is not valid any more",
    "QOSNotAllowed": "its QOS may not be used by the account or in the partition",
    "QOSUsageThreshold": "its QOS wants an account that has used less",
    "QOSJobLimit": "the QOS already has all the jobs that it may have at once",
    "QOSResourceLimit": "the QOS already uses all that it may use at once",
    "QOSTimeLimit": "the QOS has used up its time",
    "AssociationJobLimit": "your account already has all the jobs that it may have at once",
    "AssociationResourceLimit": "your account already uses all that it may use at once",
    "AssociationTimeLimit": "your account has used up its time",
    "AccountingPolicy": "a limit of the accounting",
    "BurstBufferResources": "no free burst buffer",
    "BurstBufferStageIn": "its data are being brought to the burst buffer",
    "BurstBufferOperation": "the burst buffer failed",
}
# The beginnings of longer texts; slurmctld appends names of nodes or partitions to them.
_BEGINNINGS = {"Nodes required for job are DOWN": "all nodes that fit are down, drained or reserved for others"}

_SIGNAL = re.compile(r"RaisedSignal:([0-9]+)")  # with its name behind it, since 24.11
_LIMIT = re.compile(
    r"(?P<owner>Assoc|QOS)?(?P<kind>Grp|Max|Min)"
    r"(?P<what>Cpu|CPU|Mem|Memory|Node|GRES|SubmitJobs?|Jobs?|WallDuration|Wall|License|BB|Energy|Billing|Unknown)"
    r"(?P<span>RunMinutes|Minutes)?(?P<per>PerJob|PerNode|PerUser|PerAccount)?(?:Limit|NotSatisfied)?"
)
_WHAT = {
    "Cpu": "CPUs",
    "CPU": "CPUs",
    "Mem": "memory",
    "Memory": "memory",
    "Node": "nodes",
    "GRES": "GPUs or other devices",
    "SubmitJob": "jobs in the queue",
    "SubmitJobs": "jobs in the queue",
    "Job": "running jobs",
    "Jobs": "running jobs",
    "Wall": "time",
    "WallDuration": "time",
    "License": "licences",
    "BB": "burst buffer",
    "Energy": "energy",
    "Billing": "billing units",
    "Unknown": "of something that it counts",
}


def words(reason: str) -> str:
    """Return a reason in plain words; empty where there is none, and as it is where it is not known."""
    reason = plain(reason).strip()
    known = HELD | _PLAIN
    if reason in known:
        return known[reason]
    for beginning, text in _BEGINNINGS.items():
        if reason.startswith(beginning):
            return text
    signal = _SIGNAL.match(reason)
    if signal:
        return f"ended by signal {signal[1]}"
    code, _, detail = reason.partition(",")
    if detail and code in known:
        return f"{known[code]} ({detail.strip()})"
    limit = _LIMIT.fullmatch(reason)
    return _limit(limit) if limit else reason


def _limit(limit: re.Match[str]) -> str:
    owner = "your account" if limit["owner"] == "Assoc" else "the QOS"
    what = _WHAT[limit["what"]]
    if limit["span"]:
        what = f"minutes of {what}"
    if limit["kind"] == "Min":
        return f"{owner} wants more {what} than it asks for"
    if limit["kind"] == "Grp":
        if limit["span"] == "Minutes":
            return f"{owner} has used up its {what}"
        return f"{owner} already has all the {what} that it may have at once"
    if limit["per"] == "PerAccount":
        return f"your account already has all the {what} that {owner} allows"
    if limit["per"] == "PerUser" or "Job" in limit["what"]:
        return f"you already have all the {what} that {owner} allows"
    place = "on a node" if limit["per"] == "PerNode" else "in a job"
    return f"asks for more {what} {place} than {owner} allows"
