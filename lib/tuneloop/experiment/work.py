"""The nouns that jobs and workers share. Plain data, no behaviour worth a test.

Everything here crosses a process boundary as JSON (`to_json`, `from_json`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, NewType

from pydantic import TypeAdapter

JobKey = NewType("JobKey", str)
Token = NewType("Token", str)
State = Literal["planned", "waiting", "queued", "running", "done", "failed", "cancelled", "blocked", "lost", "stale"]
When = Literal["ok", "any"]
COLLECT = JobKey("collect")


def train_key(run: str) -> JobKey:
    return JobKey(f"train/{run}")


def eval_key(run: str, epoch: int | None, evaluation: str) -> JobKey:
    """Return the key of one evaluation; the epoch is None for the base model or a given checkpoint."""
    return JobKey(f"eval/{run}/{'base' if epoch is None else f'e{epoch}'}/{evaluation}")


def evaluation_of(key: JobKey) -> str | None:
    """Return the name of the evaluation that a job carries, or None for another kind of job."""
    return key.rpartition("/")[2] if key.startswith("eval/") else None


def run_of(key: JobKey) -> str | None:
    """Return the run that a job belongs to, or None for a job of the whole experiment."""
    return None if key == COLLECT else key.split("/")[1]


def log_name(key: JobKey, worker: str) -> str:
    """Return the name of the log in which the beginning and the end of a job stand."""
    return "run-experiment" if key == COLLECT else f"run-{worker}"


def evaluated_epoch(key: JobKey) -> int | None:
    """Return the epoch that a job evaluates, or None for the base model, a given checkpoint or another kind of job."""
    return int(key.split("/")[2][1:]) if evaluation_of(key) and key.split("/")[2] != "base" else None


@dataclass(frozen=True)
class Setting:
    """A value and where it came from, from the first function that resolves anything."""

    value: Any
    origin: str


@dataclass(frozen=True)
class Shape:
    """What a job asks for. Jobs of equal shape may travel as one array."""

    cluster: str
    nodes: int = 1
    gpus: int = 0
    cpus: int = 1
    memory_mb: int = 2048
    minutes: int = 60  # the time limit


@dataclass(frozen=True)
class Need:
    job: JobKey
    when: When = "ok"
    experiment: str | None = None  # whose job it is: a folder, seen from this experiment's; None: its own


@dataclass(frozen=True)
class JobSpec:
    """A job as scaffolded: the same design gives the same key, for ever."""

    key: JobKey  # train/rank8_lr1e-5, eval/rank8_lr1e-5/e1/cap, collect
    worker: str  # who verifies and reads it
    run: str | None  # None: a job of the whole experiment
    script: str  # relative to the experiment; also runs by hand with bash or sbatch
    attempts: str  # the folder of its attempts, relative to the experiment
    needs: tuple[Need, ...]
    makes: tuple[str, ...]  # checkpoint:rank8/e1, evaluation:rank8/e1/cap
    digest: str  # of every input that decides the result
    shape: Shape
    resumable: bool
    seconds: float  # estimated run time
    log: str  # the tool's output: a glob relative to the experiment, `*` for the id


@dataclass(frozen=True)
class File:
    """A text to be written, relative to the experiment."""

    path: str
    text: str
    executable: bool = False


@dataclass(frozen=True)
class Estimate:
    """What a job will cost. `basis` says where the figures come from."""

    seconds: float
    memory_mb: int
    disk_mb: float
    steps: int | None = None
    tokens: int | None = None
    basis: str = ""


@dataclass(frozen=True)
class Check:
    name: str
    ok: bool
    message: str
    hint: str | None = None


@dataclass(frozen=True)
class Verdict:
    """What `verify` found; it stands in the attempt folder as `verified.json`."""

    ok: bool
    reason: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Usage:
    """What an attempt used: seconds, seconds of CPU, MB of memory of all its processes at the peak."""

    wall_s: float
    cpu_s: float
    peak_memory_mb: float
    cpus: int | None = None  # that it had
    gpus: int = 0
    gpu_use: float | None = None  # the mean share of time that they worked
    gpu_memory_mb: float | None = None  # of the fullest one, at the peak

    @property
    def cpu_use(self) -> float | None:
        """The mean share of its CPUs that it used."""
        return self.cpu_s / (self.wall_s * self.cpus) if self.cpus and self.wall_s else None


@dataclass(frozen=True)
class Row:
    """One number about one run, in long form. `sample` rows are one item of an evaluation.

    `source` is `train` or the evaluation's name; a training row has a `step`; a row with neither step nor
    sample is an aggregate as the tool reported it.
    """

    run: str
    source: str
    metric: str
    value: float | None
    epoch: int | None = None
    step: int | None = None
    scorer: str | None = None
    sample: str | None = None
    input: str | None = None
    target: str | None = None
    output: str | None = None


@dataclass(frozen=True)
class Site:
    """What a cluster profile adds to every job script."""

    options: Mapping[str, str] = field(default_factory=dict)  # of sbatch, by long name: account, partition …
    gpu_type: str | None = None
    setup: tuple[str, ...] = ()  # shell lines, their values already quoted
    memory_mb: int | None = None  # in each node; None: as estimated
    minutes: int | None = None  # the longest time limit; None: any


@dataclass(frozen=True)
class Machine:
    """Where jobs will run, as far as scaffolding needs to know."""

    cluster: str
    gpus: int
    cpus: int  # per job
    python: str  # the work environment's interpreter, absolute
    site: Site = field(default_factory=Site)


@dataclass(frozen=True)
class Fault:
    """A fault that a worker found, to become a Problem: `at` is a path of keys in the design."""

    message: str
    at: tuple[str | int, ...] = ()
    hint: str | None = None


@dataclass(frozen=True)
class Scaffolded:
    """What a worker's scaffold returns: texts and jobs, or faults and nothing else."""

    files: tuple[File, ...] = ()
    jobs: tuple[JobSpec, ...] = ()
    settings: Mapping[str, Mapping[str, Setting]] = field(default_factory=dict)  # by run
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()


def to_json(value: Any, kind: Any = None) -> Any:
    """Return `value` (a noun of this module, or a container of them given its type) as JSON data."""
    noun: Any = kind or type(value)
    return _adapter(noun).dump_python(value, mode="json", by_alias=True)


def from_json(kind: Any, data: Any) -> Any:
    """Return JSON data as the noun (or container of nouns) `kind`. Raises pydantic.ValidationError."""
    return _adapter(kind).validate_python(data)


@cache  # a schema costs milliseconds to build
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
