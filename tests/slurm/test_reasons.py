"""Queue reasons in plain words: every reason that SLURM has, by the parts that its names are made of."""

from itertools import product

import pytest

from tuneloop.jobs.slurm.reasons import HELD, words


@pytest.mark.parametrize(
    "reason, said",
    [
        ("None", ""),
        ("", ""),
        ("Priority", "jobs of others go first"),
        ("Resources", "no free node with what it asks for"),
        ("JobArrayTaskLimit", "the array's own limit on jobs at once"),
        ("PartitionTimeLimit", "asks for more time than the partition allows"),
        ("job requeued in held state", "held when it was requeued; `scontrol release` lets it start"),
        ("RaisedSignal:9(Killed)", "ended by signal 9"),
        (
            "ReqNodeNotAvail, UnavailableNodes:n[1-3]",
            "a node that it asks for is down, drained or reserved (UnavailableNodes:n[1-3])",
        ),
        (
            "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions",
            "all nodes that fit are down, drained or reserved for others",
        ),
        ("AssocGrpCpuLimit", "your account already has all the CPUs that it may have at once"),
        ("AssocGrpCPUMinutesLimit", "your account has used up its minutes of CPUs"),
        ("QOSGrpGRES", "the QOS already has all the GPUs or other devices that it may have at once"),
        ("QOSMaxGRESPerUser", "you already have all the GPUs or other devices that the QOS allows"),
        ("QOSMaxJobsPerUserLimit", "you already have all the running jobs that the QOS allows"),
        ("AssocMaxSubmitJobLimit", "you already have all the jobs in the queue that your account allows"),
        ("QOSMaxWallDurationPerJobLimit", "asks for more time in a job than the QOS allows"),
        ("QOSMaxMemoryPerNode", "asks for more memory on a node than the QOS allows"),
        ("QOSMinCpuNotSatisfied", "the QOS wants more CPUs than it asks for"),
        ("MaxGRESPerAccount", "your account already has all the GPUs or other devices that the QOS allows"),
        ("SiteInvention", "SiteInvention"),
        ("Weather\x1b[31m", "Weather"),
    ],
)
def test_a_reason_is_said_in_plain_words(reason: str, said: str) -> None:
    assert words(reason) == said


def test_every_held_job_says_that_it_is_held() -> None:
    assert len(HELD) > 3
    assert all(words(reason).startswith("held") for reason in HELD)


def test_limits_are_read_part_by_part() -> None:
    """The names of SLURM's list of reasons (job_state_reason.c), made from their parts."""
    resources = ["CPU", "Memory", "Node", "GRES", "License", "BB", "Energy", "Billing", "Unknown"]
    names = [f"{owner}Grp{what}{span}" for owner, what, span in product(["Assoc", "QOS"], resources, ["", "Minutes"])]
    names += [f"QOSMax{what}{per}" for what, per in product(resources, ["PerJob", "PerNode", "PerUser"])]
    names += [f"AssocMax{what}MinutesPerJob" for what in resources]
    names += [f"Max{what}PerAccount" for what in resources]
    said = {name: words(name) for name in names}
    assert len(said) > 80
    assert [name for name, text in said.items() if text == name] == []
