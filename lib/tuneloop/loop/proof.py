"""cluster check: a profile proved, first by what can be told without a job, then by one job of seconds."""

import secrets
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tuneloop.documents.config import Configuration, Profile
from tuneloop.documents.errors import InputError, TuneloopError, UnreachableError, did_you_mean
from tuneloop.documents.files import user_path
from tuneloop.documents.plain import plain
from tuneloop.documents.profile import path_there
from tuneloop.documents.shell import quote
from tuneloop.experiment.work import Check, Shape
from tuneloop.jobs.slurm import probe
from tuneloop.jobs.slurm.answers import QUEUE, QueueRow, parse_queue
from tuneloop.jobs.slurm.pace import FLOOR_S
from tuneloop.jobs.slurm.reasons import words
from tuneloop.jobs.slurm.survey import last_line, survey
from tuneloop.jobs.transport import Transport, transport_of
from tuneloop.loop.clusters import misnamed, most_of, remarks
from tuneloop.workers.wording import counted

_TOOLS = ("sbatch", "squeue", "sinfo", "scancel", "scontrol", "flock", "timeout")
_MISSING_TOOLS = 'for tool; do command -v "$tool" >/dev/null 2>&1 || echo "$tool"; done'
_IS_FOLDER = '[ -d "$1" ]'
_FOLDER = 'mkdir -- "$1" && cd -- "$1" && : >lock'
_SUBMIT = 'cd -- "$1" && exec sbatch --parsable'
_READ = 'cd -- "$1" && cat told 2>/dev/null || :'
_TRY_LOCK = 'cd -- "$1" && ! flock -n lock true'
_LAST_WORDS = 'cd -- "$1" && tail -n 1 probe.out 2>/dev/null || :'
_REMOVE = 'for _ in 1 2 3 4 5; do rm -rf -- "$1" 2>/dev/null && exit 0; sleep 1; done; exit 1'
_LOOK_S = 1.0  # between two looks into the folder, which costs the scheduler nothing
_ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "BOOT_FAIL", "DEADLINE"}


@dataclass
class Proof:
    """What was found, in its order."""

    checks: list[Check] = field(default_factory=list)
    missing: bool = False  # a tool or an answer, rather than a fault of the profile
    waits: str | None = None  # why the job has not begun
    notes: list[str] = field(default_factory=list)  # what is no fault, and costs who does not know it

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    @property
    def code(self) -> int:
        """The exit code: 3 something is missing, 1 a check failed, 5 the job still waits, 0 all is well."""
        if self.missing:
            return 3
        return 5 if self.ok and self.waits is not None else int(not self.ok)


def without_job(profile: Profile) -> Proof:
    """Return what can be told of a SLURM profile without a job: tools here and there, and whether it answers."""
    proof = Proof()
    try:
        transport = transport_of(profile)
        _look(proof, transport, profile)
    except TuneloopError as error:
        proof.checks += [Check("answer", False, item.message, item.hint) for item in error.problems]
    proof.missing = not proof.ok
    return proof


def prove(configuration: Configuration, cluster: str, timeout: float) -> Proof:
    """Prove a profile by a job of seconds, and wait for it for `timeout` seconds at most; nothing of it is left.

    Raises MissingError for an unknown profile, InputError for one of this machine, which has no scheduler.
    """
    profile = scheduled(configuration, cluster)
    proof = without_job(profile)
    proof.checks += misnamed_checks(profile)
    if proof.missing:
        return proof
    transport = transport_of(profile)
    try:
        if _accepted(proof, transport, profile, cluster):
            proof.notes += _notes(transport, profile)
            _run(proof, transport, profile, cluster, _place(configuration, profile), timeout)
    except UnreachableError as error:
        proof.checks += [Check("answer", False, item.message, item.hint) for item in error.problems]
        proof.missing = True
    return proof


def script(configuration: Configuration, cluster: str) -> str:
    """Return the job that would be handed over. Raises as `prove` does."""
    profile = scheduled(configuration, cluster)
    return probe.render(profile, cluster, _interpreters(profile))


def scheduled(configuration: Configuration, cluster: str) -> Profile:
    """Return a profile that has a scheduler. Raises MissingError for an unknown one, InputError for another."""
    profile = configuration.profile(cluster)
    if profile.executor != "slurm":
        message = f"the profile `{cluster}` starts jobs on this machine: there is no cluster to check"
        raise InputError(message, hint="`tuneloop doctor` checks this machine")
    return profile


def _look(proof: Proof, transport: Transport, profile: Profile) -> None:
    if profile.ssh is not None:
        lacking = [tool for tool in ("ssh", "rsync") if shutil.which(tool) is None]
        proof.checks.append(_tools(lacking, "this machine", "install the packages `openssh-client` and `rsync`"))
    wanted = [*_TOOLS, *(["rsync"] if profile.ssh else [])]
    lacking = transport.call(["sh", "-c", _MISSING_TOOLS, "sh", *wanted]).out.split()
    place = profile.ssh or "this machine"
    proof.checks.append(_tools(lacking, place, "type this on a login node, or name one with `ssh:` in the profile"))
    if lacking:
        return
    ping = transport.call(QUEUE)
    if ping.code == 0:
        proof.checks.append(Check("answer", True, "the scheduler answers"))
        return
    hint = "try again later; `scontrol ping` tells whether it is up"
    proof.checks.append(Check("answer", False, f"the scheduler does not answer: {last_line(ping)}", hint))


def _tools(lacking: list[str], place: str, hint: str) -> Check:
    if lacking:
        return Check("tools", False, f"not found on {place}: {', '.join(lacking)}", hint)
    return Check("tools", True, f"the tools are there on {place}")


def misnamed_checks(profile: Profile) -> list[Check]:
    """Return a fault for each name under `python` that no worker has: its interpreter would start nothing."""
    faults = misnamed(profile).items()
    return [Check("worker", False, f"`python` names an unknown worker `{name}`", hint) for name, hint in faults]


def _accepted(proof: Proof, transport: Transport, profile: Profile, cluster: str) -> bool:
    """Tell whether sbatch would take the tiny job; asked for the largest one, too. That costs numbers and no job."""
    tiny, largest = probe.shape_of(profile, cluster), probe.largest_of(profile, cluster)
    if not _takes(proof, transport, profile, tiny):
        return False
    if largest != tiny:
        _takes(proof, transport, profile, largest)
    return True


def _takes(proof: Proof, transport: Transport, profile: Profile, shape: Shape) -> bool:
    what = _shown(shape, profile)
    called = transport.call(["sbatch", "--test-only"], stdin=probe.render(profile, shape.cluster, [], shape))
    if called.code == 0:
        proof.checks.append(Check("accepted", True, f"sbatch takes a job of {what}"))
        return True
    said = last_line(called).removeprefix("sbatch: error: ").removeprefix("allocation failure: ")
    hint = _advice(said, transport, profile)
    proof.checks.append(Check("accepted", False, f"sbatch refuses a job of {what}: {said}", hint))
    return False


def _shown(shape: Shape, profile: Profile) -> str:
    """Return what a job asks for, its memory only where the profile says it."""
    parts = [
        counted(shape.cpus, "CPU"),
        *([counted(shape.gpus, "GPU")] if shape.gpus else []),
        *([f"{profile.memory_mb:,} MB"] if profile.memory_mb else []),
    ]
    return " and ".join(parts) if len(parts) < 3 else f"{parts[0]}, {parts[1]} and {parts[2]}"


def _notes(transport: Transport, profile: Profile) -> list[str]:
    """Return what the site tells that the profile does not know. Accounting is a help: its silence is no fault."""
    try:
        return list(remarks(survey(transport), profile))
    except TuneloopError as error:
        return [f"not found out: {item.message}" for item in error.problems]


def _advice(said: str, transport: Transport, profile: Profile) -> str:
    """Return what to change in a profile whose jobs sbatch refuses."""
    low = said.lower()
    if "account" in low:
        yours = survey(transport).accounts
        return f"correct `account:`; yours: {', '.join(yours)}" if yours else "correct `account:` of the profile"
    if "partition" in low:
        names = [item.name for item in survey(transport).partitions]
        return f"correct `partition:`; {did_you_mean(profile.partition or '', names)}"
    if "qos" in low:
        return "correct `qos:` of the profile; `sacctmgr show associations` lists yours"
    if "reservation" in low:
        return "correct `reservation:` of the profile; `scontrol show reservation` lists them"
    nodes = most_of(survey(transport), profile)
    there = f"a node has at most {nodes}; " if nodes else ""
    return f"{there}correct `gpus`, `gpu_type`, `cpus`, `memory_mb` or `constraint`; `sinfo -N -l` lists the nodes"


def _place(configuration: Configuration, profile: Profile) -> str:
    """Return a fresh folder beside where experiments lie, as the cluster sees it."""
    name = f".tuneloop-check-{secrets.token_hex(4)}"
    if profile.ssh is not None:
        return str(PurePosixPath(path_there(profile.scratch or "")) / name)
    root = configuration.root.absolute()
    return str((root if root.is_dir() else Path.cwd()) / name)  # experiments may be still to come


def _interpreters(profile: Profile) -> list[str]:
    """Return the interpreters that jobs start: without any named, the one that runs this."""
    if profile.ssh is not None:
        return profile.interpreters
    return [str(user_path(path)) for path in profile.interpreters] or [sys.executable]


def _run(proof: Proof, transport: Transport, profile: Profile, cluster: str, folder: str, timeout: float) -> None:
    interpreters = _interpreters(profile)
    if not interpreters:
        hint = "add `python:`, the work environment's interpreter there"
        proof.checks.append(Check("python", False, "the profile names no interpreter on the cluster", hint))
    above = str(PurePosixPath(folder).parent)
    if profile.ssh is not None and transport.call(["sh", "-c", _IS_FOLDER, "sh", above]).code != 0:
        absent = f"there is no folder {profile.scratch} on {profile.ssh}"
        proof.checks.append(Check("folder", False, absent, _making(profile)))
        return
    made = transport.call(["sh", "-c", _FOLDER, "sh", folder])
    if made.code != 0:
        hint = f"choose a folder that can be written: {'`scratch:`' if profile.ssh else '`experiments.root`'}"
        proof.checks.append(Check("folder", False, f"no folder can be made there: {last_line(made)}", hint))
        return
    job = None
    try:
        text = probe.render(profile, cluster, interpreters)
        handed = transport.call(["sh", "-c", _SUBMIT, "sh", folder], stdin=text)
        job = handed.out.strip().partition(";")[0]
        if handed.code != 0 or not job:
            proof.checks.append(Check("job", False, f"sbatch refuses the job: {last_line(handed)}"))
            return
        told = _waited(proof, transport, folder, job, timeout)
        if told:
            proof.checks += probe.checks(probe.parse(told), profile, interpreters)
            proof.checks.append(_lock_reaches(transport, folder))
    finally:
        _clean(proof, transport, folder, job)


def _making(profile: Profile) -> str:
    """Return the line that makes a missing `scratch`, as a shell here takes it, and its shell there."""
    scratch = path_there(profile.scratch or "")
    config = ["-F", user_path(profile.ssh_config)] if profile.ssh_config else []
    line = " ".join(quote(word) for word in ["ssh", *config, profile.ssh, f"mkdir -p -- {quote(scratch)}"])
    return f"correct `scratch:` of the profile, or make it: {line}"


def _waited(proof: Proof, transport: Transport, folder: str, job: str, timeout: float) -> str:
    """Wait for what the job tells and return it; nothing, and a check or what it waits for, where it tells nothing."""
    begun = asked = time.monotonic()
    row: QueueRow | None = None
    while True:
        told = transport.call(["sh", "-c", _READ, "sh", folder]).out
        if told:
            return told
        waited = time.monotonic() - begun
        late = waited >= timeout
        if time.monotonic() - asked >= FLOOR_S or (late and row is None):
            asked = time.monotonic()
            row = _row(transport, job)
            if row is None or row.state in _ENDED:
                return _after_the_end(proof, transport, folder, row)
        if late and row is not None:
            _note_late(proof, row, timeout)
            return ""
        time.sleep(min(_LOOK_S, 0.2 + waited / 5, max(0.0, timeout - waited)))


def _row(transport: Transport, job: str) -> QueueRow | None:
    called = transport.call(QUEUE)
    if called.code != 0:
        raise UnreachableError(f"the scheduler does not answer: {last_line(called)}", hint="try again later")
    return parse_queue(called.out).rows.get((job, None))


def _after_the_end(proof: Proof, transport: Transport, folder: str, row: QueueRow | None) -> str:
    """Look once more, since files may come late to this side; else say that the job left nothing."""
    time.sleep(_LOOK_S)
    told = transport.call(["sh", "-c", _READ, "sh", folder]).out
    if not told:
        said = plain(transport.call(["sh", "-c", _LAST_WORDS, "sh", folder]).out).strip()
        why = said or (words(row.reason) if row else "") or "it said nothing"
        hint = "jobs must see the folder under the same path as you: use one that compute nodes share"
        proof.checks.append(Check("job", False, f"the job ended and left nothing in {folder}: {why}", hint))
    return told


def _note_late(proof: Proof, row: QueueRow, timeout: float) -> None:
    if row.state == "PENDING":
        proof.waits = words(row.reason) or "the scheduler has not looked at it yet"
        return
    hint = "look at the node with `sinfo -N -l`; a longer `--timeout` waits longer"
    proof.checks.append(Check("job", False, f"the job began and told nothing within {timeout:g} s", hint))


def _lock_reaches(transport: Transport, folder: str) -> Check:
    """Try the lock that the job holds on its node from this side."""
    if transport.call(["sh", "-c", _TRY_LOCK, "sh", folder]).code == 0:
        return Check("folder", True, "the folder is shared with the node, and so are its locks")
    return Check("folder", False, "a lock that the job holds is not seen from this side", probe.OTHER_FOLDER)


def _clean(proof: Proof, transport: Transport, folder: str, job: str | None) -> None:
    """Take job and folder away; without its folder the job ends by itself."""
    try:
        if job and not _told(proof):
            transport.call(["scancel", "--quiet", job])
        done = transport.call(["sh", "-c", _REMOVE, "sh", folder]).code == 0
    except TuneloopError:
        done = False
    if not done:
        proof.checks.append(Check("clean", False, f"{folder} could not be removed", f"rm -r {quote(folder)}"))


def _told(proof: Proof) -> bool:
    return any(check.name == "node" for check in proof.checks)
