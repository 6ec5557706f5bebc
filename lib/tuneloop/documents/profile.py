"""A cluster profile: what its keys are, which values they take, and which of them do not go together."""

import re
import unicodedata
from collections.abc import Iterator
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, Field

from tuneloop.documents.schema import Schema
from tuneloop.documents.shell import checked_name

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_ADDRESS = re.compile(r"[^\s,;<>'\"]+\Z")
_OURS = "TUNELOOP_"  # with it a job tells its own attempt from others


def _text(value: str) -> str:
    if any(unicodedata.category(letter) == "Cc" for letter in value):
        raise ValueError(f"a control character in {value!r}\ntake it out: no script can carry it")
    if not value:
        raise ValueError("it is empty\nwrite a value, or take the key out")
    return value


def _word(value: str) -> str:
    if any(letter.isspace() for letter in _text(value)):
        raise ValueError(f"a space in {value!r}\nwrite it without spaces")
    return value


def _option(value: str) -> str:
    """Return a word that ssh cannot take for an option of its own."""
    if _word(value).startswith("-"):
        raise ValueError(f"{value!r} begins with a dash\nuse a `Host` of your ~/.ssh/config")
    return value


def _variable(value: str) -> str:
    if not _VARIABLE.match(value):
        raise ValueError(f"{value!r} is not the name of a variable\nuse letters, digits and `_`")
    if value.startswith(_OURS):
        raise ValueError(f"{value!r} is Tuneloop's own\nchoose a name that does not begin with `{_OURS}`")
    return value


def _possible_value(value: str) -> str:
    return _text(value) if value else value  # a variable may be empty


def _address(value: str) -> str:
    if not _ADDRESS.match(_text(value)):
        raise ValueError(f"{value!r} is not one address\nwrite one address, without a name, commas or spaces")
    return value


def _path_there(value: str) -> str:
    """Return a path of the remote machine that needs no shell to be understood: none reads it."""
    if "$" in _text(value):
        raise ValueError(f"a `$` in {value!r}, and no shell there reads it\nwrite the path itself, as `echo` prints it")
    if value.startswith("~") and not value.startswith("~/"):
        raise ValueError(f"a `~` without a `/` behind it in {value!r}\nwrite `~/FOLDER` for one in your home there")
    return value


def path_there(value: str) -> str:
    """Return a path of the remote machine as its commands take it: they begin in the home that `~/` stands for."""
    return value.removeprefix("~/").lstrip("/") or "." if value.startswith("~/") else value


def _profile_name(value: str) -> str:
    return checked_name(value, "profile")


Text = Annotated[str, AfterValidator(_text)]
Word = Annotated[str, AfterValidator(_word)]
PathThere = Annotated[str, AfterValidator(_path_there)]
ProfileName = Annotated[str, AfterValidator(_profile_name)]


class Limits(Schema):
    """What a site allows, as far as a profile knows."""

    array: int = Field(default=1000, ge=1, description="jobs in one array; SLURM's own default allows 1,000")
    jobs: int | None = Field(default=None, ge=1, description="jobs of one user in the queue at once")
    running: int | None = Field(default=None, ge=1, description="jobs of one array that run at once")
    minutes: int | None = Field(default=None, ge=1, description="the longest time limit of a job")


class Prices(Schema):
    """What an hour costs, for the estimate of a plan."""

    gpu_hour: float = Field(default=0, ge=0, description="of one GPU")
    cpu_hour: float = Field(default=0, ge=0, description="of one processor")
    currency: str = Field(default="", description="what is printed behind the amount")


class Mail(Schema):
    """The scheduler's own mail."""

    to: Annotated[str, AfterValidator(_address)] = Field(description="one address")
    on: list[Literal["end", "fail", "begin", "requeue", "time-limit-80"]] = Field(
        default=["end", "fail"], description="what of a job is told; of an array one mail, not one a job"
    )


class Profile(Schema):
    """A cluster profile: where and with what a site runs jobs."""

    executor: Literal["local", "slurm"] = Field(
        default="local", description="`local` starts jobs on this machine, `slurm` hands them to sbatch"
    )
    slots: int | None = Field(
        default=None, ge=1, description="local: jobs at once; default one per GPU, else one per core up to 4"
    )
    python: Text | dict[str, Text] | None = Field(
        default=None, description="the work environment's interpreter: one for all workers, or one per worker"
    )
    account: Word | None = Field(default=None, description="who pays; without it the site's default for you")
    partition: Word | None = Field(default=None, description="one or more, with commas; else the site's default")
    qos: Word | None = Field(default=None, description="quality of service, where the site has any")
    reservation: Word | None = Field(default=None, description="nodes that were set aside for you")
    constraint: Word | None = Field(default=None, description="features that a node must have")
    gpus: int = Field(default=0, ge=0, description="GPUs in a node; 0 for jobs of the processor alone")
    gpu_type: Word | None = Field(default=None, description="as the site calls it in `--gpus-per-node=TYPE:N`")
    cpus: int = Field(default=4, ge=1, description="processors of a job")
    memory_mb: int | None = Field(default=None, ge=1, description="memory of a job in each node; else as estimated")
    modules: list[Word] = Field(default=[], description="loaded before a job starts")
    source: list[Text] = Field(default=[], description="shell files that are read before a job starts")
    environment: dict[Annotated[str, AfterValidator(_variable)], Annotated[str, AfterValidator(_possible_value)]] = (
        Field(default={}, description="variables of every job; never secrets, since scripts can be read by others")
    )
    ssh: Annotated[str, AfterValidator(_option)] | None = Field(
        default=None, description="the host to reach the cluster by, as OpenSSH knows it"
    )
    ssh_config: Text | None = Field(default=None, description="an OpenSSH configuration of its own")
    scratch: PathThere | None = Field(
        default=None, description="over SSH: the folder there that holds the experiments, from the home there"
    )
    models: PathThere | None = Field(
        default=None, description="over SSH: a folder there with models that need no copying, from the home there"
    )
    limits: Limits = Field(default=Limits(), description="what the site allows")
    prices: Prices = Field(default=Prices(), description="what an hour costs")
    mail: Mail | None = Field(default=None, description="the scheduler's own mail")
    signal_s: int = Field(default=120, ge=1, description="seconds before the time limit at which a job saves and ends")

    def interpreter(self, worker: str) -> str | None:
        return self.python.get(worker) if isinstance(self.python, dict) else self.python

    @property
    def interpreters(self) -> list[str]:
        """The interpreters that it names, each once."""
        named = self.python.values() if isinstance(self.python, dict) else [self.python]
        return list(dict.fromkeys(item for item in named if item is not None))


class Contradiction(NamedTuple):
    key: str  # of the profile, such as `ssh`
    message: str
    hint: str


# What only a scheduler reads.
_OF_SLURM = (
    *("account", "partition", "qos", "reservation", "constraint", "gpus", "gpu_type", "cpus", "memory_mb"),
    *("ssh", "ssh_config", "scratch", "models", "limits", "mail", "signal_s"),
)
_OVER_SSH = ("ssh_config", "scratch", "models")


def contradictions(name: str, profile: Profile) -> Iterator[Contradiction]:
    """Yield the keys of a whole profile that have no meaning beside its others."""
    written = profile.model_fields_set
    if profile.executor == "local":
        for key in (key for key in _OF_SLURM if key in written):
            yield Contradiction(key, "only `executor: slurm` reads it", "add `executor: slurm`, or take the key out")
        return
    if name == "local":
        yield Contradiction("executor", "`local` is this machine", "give the profile another name")
    if "slots" in written:
        yield Contradiction("slots", "only `executor: local` reads it", "`limits: {running: N}` throttles arrays")
    if profile.ssh is not None and profile.scratch is None:
        yield Contradiction("ssh", "a remote cluster needs a folder for the experiments", "add `scratch: FOLDER`")
    if profile.ssh is None:
        for key in (key for key in _OVER_SSH if key in written):
            yield Contradiction(key, "only a profile with `ssh` reads it", "add `ssh: HOST`, or take the key out")
    if profile.gpu_type is not None and profile.gpus == 0:
        yield Contradiction("gpu_type", "no job asks for a GPU", "add `gpus:`, how many a node has")
