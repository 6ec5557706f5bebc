"""Workers: one outside tool each, behind one interface.

`versions, scaffold, estimate, checks, rows` of a worker run in the work environment, where its tool is
installed; the tool environment calls them through `bridge.py`. `prepare` and `verify` are steps of a job's
script. A new tool is a new folder beside these and an entry point in the group `tuneloop.workers`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Literal, Protocol

from tuneloop.documents.errors import MissingError, did_you_mean
from tuneloop.experiment.design import Design
from tuneloop.experiment.expand import Run
from tuneloop.experiment.work import Check, Estimate, JobKey, JobSpec, Machine, Row, Scaffolded, Usage

GROUP = "tuneloop.workers"


@dataclass(frozen=True)
class Order:
    """What a worker is asked to work on. Crosses the process boundary as JSON."""

    folder: str  # the experiment, absolute
    design: Design
    runs: Sequence[Run]
    machine: Machine
    trained: Mapping[str, JobSpec] = field(default_factory=dict)  # by run: the job that makes its checkpoints
    seen: Mapping[str, Usage] = field(default_factory=dict)  # by job key: what an earlier attempt used
    inputs: Mapping[str, str] = field(default_factory=dict)  # absolute, to where the jobs find it in the experiment

    @property
    def path(self) -> Path:
        return Path(self.folder)

    def inside(self, path: Path) -> Path:
        """Return where the jobs find a file or folder: elsewhere than here only for one outside of the experiment."""
        for outside, name in self.inputs.items():
            if path.is_relative_to(outside):
                return self.path / name / path.relative_to(outside)
        return path


class Worker(Protocol):
    name: str
    stage: Literal["train", "evaluate"]
    module: str  # run as `<python> -m <module> <verb>` in the work environment

    def versions(self) -> Mapping[str, str]:
        """Return the packages the worker uses with their versions; a missing one has the version `missing`."""

    def scaffold(self, order: Order) -> Scaffolded:
        """Return texts, jobs and resolved settings for the runs, or every fault. Writes nothing."""

    def estimate(self, order: Order) -> Mapping[JobKey, Estimate]:
        """Return what each job of the runs will cost, from `order.seen` where there is something."""

    def checks(self, order: Order) -> Sequence[Check]:
        """Look at what can be known before compute is spent."""

    def rows(self, order: Order) -> Sequence[Row]:
        """Return the numbers of all verified jobs of the runs, in long form."""


def names() -> list[str]:
    return sorted(entry.name for entry in entry_points(group=GROUP))


def load(name: str) -> Worker:
    """Return the worker object. Raises MissingError with the known names."""
    for entry in entry_points(group=GROUP):
        if entry.name == name:
            worker: Worker = entry.load()
            return worker
    raise MissingError(f"no worker `{name}`", hint=did_you_mean(name, names()))
