"""cluster list and add: the profiles that are known, and a new one made from what a site tells of itself."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneloop.documents.cache import config_lock
from tuneloop.documents.config import PROJECT_FILE, Config, Configuration, Profile, find_project, load, user_file
from tuneloop.documents.errors import InputError, Problem, did_you_mean
from tuneloop.documents.files import put_text, read_text, user_path
from tuneloop.documents.insert import as_block, with_entry
from tuneloop.documents.locks import exclusive
from tuneloop.documents.schema import validate
from tuneloop.documents.yamltext import lines_of, load_yaml
from tuneloop.jobs.slurm.survey import Partition, Survey, survey
from tuneloop.jobs.transport import transport_of
from tuneloop.workers import names
from tuneloop.workers.wording import counted

_REPORT = "analysis"  # the job that collects has an interpreter, too, and is no worker's
_MOST_CPUS = 16  # of a job; more help neither data loading nor a tokenizer
_FEW_CPUS = 4  # of a job without a GPU, where a node has that many
_WAIT_S = 10.0  # for another command that writes the same file


@dataclass(frozen=True)
class Wish:
    """What a person says of a new profile; the rest is asked of the site."""

    name: str
    ssh: str | None = None
    ssh_config: str | None = None
    scratch: str | None = None
    partition: str | None = None
    account: str | None = None
    python: str | None = None


@dataclass(frozen=True)
class Proposal:
    """A new profile as it would be written, and what it was made from."""

    name: str
    file: Path
    text: str  # the whole file, with the new entry
    value: dict[str, Any]
    site: Survey
    notes: tuple[str, ...]

    @property
    def block(self) -> str:
        return as_block("clusters", self.name, self.value)


def profiles(configuration: Configuration) -> dict[str, Profile]:
    """Return every profile by name; this machine is always one."""
    return {"local": Profile(), **configuration.config.clusters}


def where(profile: Profile) -> str:
    """Return where a profile's jobs run, in a few words."""
    if profile.executor == "local":
        return "this machine"
    options = [profile.partition and f"partition {profile.partition}", profile.account and f"account {profile.account}"]
    host = f"over SSH on {profile.ssh}" if profile.ssh else "the SLURM of this machine"
    return ", ".join([host, *(item for item in options if item)])


def limits(profile: Profile) -> str:
    """Return the limits of a profile in a few words."""
    if profile.executor == "local":
        return ""
    known = profile.limits
    words = [
        f"arrays of {known.array:,}",
        known.jobs and f"{known.jobs:,} jobs in the queue",
        known.running and f"{known.running} of an array at once",
        known.minutes and f"{time_limit(known.minutes)} a job",
    ]
    return ", ".join(item for item in words if item)


def time_limit(minutes: int) -> str:
    """Return a time limit as people say it, exactly: `20 min`, `1.5 h`, `48 h`."""
    return f"{minutes / 60:g} h" if minutes >= 60 and minutes % 30 == 0 else f"{minutes:,} min"


def misnamed(profile: Profile) -> dict[str, str]:
    """Return the names under `python` that no worker has, each with a hint. Workers are known by their entry points."""
    known = [*names(), _REPORT]
    named = profile.python if isinstance(profile.python, dict) else {}
    return {name: did_you_mean(name, known) for name in named if name not in known}


def remarks(site: Survey, profile: Profile) -> Iterator[str]:
    """Yield what a site tells and its profile does not know, though its jobs would not be refused."""
    yield from _foreign_account(site, profile.account)
    limit, known = _longest(_partitions(site, profile)), profile.limits.minutes
    if limit is None or (known is not None and known <= limit):
        return
    where = f"partition {profile.partition}" if profile.partition else "the default partition"
    told = f"the profile allows {time_limit(known)}" if known else "the profile names no `limits.minutes`"
    yield f"{where} allows {time_limit(limit)} a job, and {told}: write `limits: {{minutes: {limit}}}`"


def most_of(site: Survey, profile: Profile) -> str:
    """Return the most that one node of a profile's partition has of each kind; empty where that is not told."""
    nodes = [kind for partition in _partitions(site, profile) for kind in partition.nodes]
    if not nodes:
        return ""
    gpus, cpus = max(kind.gpus for kind in nodes), max(kind.cpus for kind in nodes)
    return f"{counted(gpus, 'GPU')}, {counted(cpus, 'CPU')} and {max(kind.memory_mb for kind in nodes):,} MB"


def _partitions(site: Survey, profile: Profile) -> list[Partition]:
    """Return the partitions that a profile names, with commas, or the default one."""
    wanted = profile.partition.split(",") if profile.partition else [None]
    return [found for name in wanted if (found := site.partition(name)) is not None]


def _longest(partitions: Sequence[Partition]) -> int | None:
    """Return the longest time limit, since a job goes to whichever takes it; None where one has none."""
    known = [partition.minutes for partition in partitions if partition.minutes is not None]
    return max(known) if known and len(known) == len(partitions) else None


def _foreign_account(site: Survey, account: str | None) -> Iterator[str]:
    if account is not None and site.accounts and account not in site.accounts:
        yield f"`{account}` is not one of your accounts: {', '.join(site.accounts)}"


def propose(start: Path, wish: Wish, *, user: bool | None) -> Proposal:
    """Ask the site and return the profile to write, into the user's file, the project's, or the nearer one (None).

    Raises InputError for a name that is taken and for what cannot be, MissingError and UnreachableError where no
    scheduler is or answers. Writes nothing.
    """
    configuration = load(start)
    _refuse_impossible(configuration, wish)
    file = _file(start, user=user)
    # Typed in one folder, read in every other.
    ssh_config = None if wish.ssh_config is None else str(user_path(wish.ssh_config).absolute())
    first = {"executor": "slurm", "ssh": wish.ssh, "ssh_config": ssh_config, "scratch": wish.scratch}
    first |= {"python": wish.python}
    value: dict[str, Any] = {key: item for key, item in first.items() if item is not None}
    text = _written(file, wish.name, value)[1]  # faults of what was typed, before anybody is asked
    site = survey(transport_of(validate(Config, load_yaml(text)).clusters[wish.name]))
    partition = _partition(site, wish.partition)
    value |= {"partition": wish.partition} if wish.partition else {}
    value |= {"account": wish.account} if wish.account else {}
    value |= _fitting(site, partition)
    file, text = _written(file, wish.name, value)
    return Proposal(wish.name, file, text, value, site, tuple(_notes(site, partition, wish)))


def write(proposal: Proposal) -> None:
    """Write the profile into its file, as that is now. Raises InputError when it cannot be, or has the name by now."""
    with ExitStack() as stack:
        stack.enter_context(exclusive(config_lock(proposal.file), wait=_WAIT_S, busy="another command is writing it"))
        file, text = _written(proposal.file, proposal.name, proposal.value)
        mode = file.stat().st_mode & 0o777 if file.exists() else 0o644
        put_text(file, text, mode=mode)


def _refuse_impossible(configuration: Configuration, wish: Wish) -> None:
    if wish.name in profiles(configuration):
        files = configuration.files_of(wish.name)
        raise _taken(wish.name, Path(files[-1]) if files else None)
    if wish.ssh is not None and wish.scratch is None:
        hint = "add `--scratch DIR`, a folder there"
        raise InputError("a remote cluster needs a folder for the experiments", hint=hint)
    for option, value in (("--ssh-config", wish.ssh_config), ("--scratch", wish.scratch)):
        if wish.ssh is None and value is not None:
            raise InputError(f"`{option}` is for a remote cluster", hint="add `--ssh HOST`, or leave it out")


def _taken(name: str, file: Path | None) -> InputError:
    line = lines_of(read_text(file)).get(("clusters", name)) if file else None
    hint = "choose another name, or edit it there" if file else "choose another name"
    return InputError(Problem(f"there is a profile `{name}` already", file, line, hint=hint))


def _file(start: Path, *, user: bool | None) -> Path:
    project = find_project(start)
    if user or (user is None and project is None):
        return user_file()
    return (project or start) / PROJECT_FILE


def _written(file: Path, name: str, value: dict[str, Any]) -> tuple[Path, str]:
    """Return the file that a path leads to, and its text with the entry. Raises InputError for a fault in it."""
    file = file.resolve()  # a link stays one
    before = read_text(file) if file.is_file() else ""
    if name in validate(Config, load_yaml(before, file) or {}, file, lines_of(before)).clusters:
        raise _taken(name, file)
    text = with_entry(before, "clusters", name, value)
    try:
        validate(Config, load_yaml(text))
    except InputError as error:
        # The lines would be those of a text that was not written.
        raise InputError([Problem(item.message, key=item.key, hint=item.hint) for item in error.problems]) from None
    return file, text


def _partition(site: Survey, name: str | None) -> Partition | None:
    found = site.partition(name)
    if name is not None and found is None:
        names = [item.name for item in site.partitions]
        raise InputError(f"no partition `{name}`", hint=did_you_mean(name, names))
    return found


def _fitting(site: Survey, partition: Partition | None) -> dict[str, Any]:
    """Return what a site's partition makes of a profile."""
    found: dict[str, Any] = {}
    if partition is not None:
        nodes = partition.richest
        if nodes.gpus:
            found |= {"gpus": nodes.gpus} | ({"gpu_type": nodes.gpu_type} if nodes.gpu_type else {})
        found["cpus"] = max(1, min(_MOST_CPUS, nodes.cpus // nodes.gpus) if nodes.gpus else min(_FEW_CPUS, nodes.cpus))
    known = {"array": site.array, "jobs": site.jobs, "minutes": partition.minutes if partition else None}
    told = {name: value for name, value in known.items() if value is not None}
    return found | ({"limits": told} if told else {})


def _notes(site: Survey, partition: Partition | None, wish: Wish) -> Iterator[str]:
    """Yield what a person should know or decide."""
    if partition is None:
        yield "the site has no default partition: add `partition:`, or use `--partition`"
    elif not partition.up:
        yield f"partition {partition.name} starts no jobs now"
    kinds = {kind.gpu_type for kind in partition.nodes if kind.gpu_type} if partition else set()
    if len(kinds) > 1:
        yield f"partition {partition.name if partition else ''} has several kinds of GPUs: {', '.join(sorted(kinds))}"
    if wish.account is None and len(site.accounts) > 1:
        yield f"you have several accounts: {', '.join(site.accounts)}; without `account:` the default one pays"
    yield from _foreign_account(site, wish.account)
    if wish.ssh is not None and wish.python is None:
        yield "no interpreter is named: add `python:`, the work environment's on the cluster"
