"""fetch: what an experiment's jobs made on clusters that are reached over SSH, brought here: results, then weights."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tuneloop.documents.errors import FailedError, InputError, Problem
from tuneloop.documents.logs import EventLog
from tuneloop.experiment.layout import Layout
from tuneloop.experiment.read import Experiment
from tuneloop.experiment.work import train_key
from tuneloop.jobs.board import Board
from tuneloop.jobs.executors.fleet import Fleet
from tuneloop.jobs.mirror import Mirror
from tuneloop.loop.checkpoints import epoch_of, refuse_unverified


class Wanted(NamedTuple):
    run: str
    epoch: int
    cluster: str

    @property
    def name(self) -> str:
        return f"{self.run}@{self.epoch}"


def plan_fetch(experiment: Experiment, board: Board, fleet: Fleet, names: Sequence[str]) -> list[Wanted]:
    """Return the checkpoints that `names` stand for: `RUN@EPOCH`, or `RUN` for all of a run; without any, all.

    Raises InputError for a name that stands for none, or for one that was made on this machine.
    """
    if not names:
        return [item for run in experiment.runs for item in _made(experiment, board, fleet, run.name)]
    problems: list[Problem] = []
    found: list[Wanted] = []
    for name in names:
        try:
            found += _named(experiment, board, fleet, name)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return list(dict.fromkeys(found))


def fetch(experiment: Experiment, board: Board, fleet: Fleet, wanted: Sequence[Wanted]) -> None:
    """Bring the results of every cluster and the wanted weights here.

    Raises UnreachableError; again, it goes on. Raises FailedError for what cannot be had, after all else has come.
    """
    problems: list[Problem] = []
    for cluster in sorted({item.native.cluster for item in board.states.values() if item.native}):
        mirror = fleet.mirror(cluster)
        if mirror is None:
            continue
        for act in [mirror.fetch, *_weights(experiment.layout, mirror, wanted)]:
            try:
                act()
            except FailedError as error:
                problems += error.problems
    if problems:
        raise FailedError(problems)
    words = f"fetched the weights of {', '.join(item.name for item in wanted)}" if wanted else "fetched the results"
    EventLog(experiment.layout.folder, "run-experiment").event(words)


def _weights(layout: Layout, mirror: Mirror, wanted: Sequence[Wanted]) -> list[Callable[[], None]]:
    places = [place_of(layout, item) for item in wanted if item.cluster == mirror.cluster]
    return [partial(mirror.fetch_weights, place) for place in places]


def place_of(layout: Layout, wanted: Wanted) -> Path:
    return layout.run(wanted.run).checkpoint(wanted.epoch)


def _named(experiment: Experiment, board: Board, fleet: Fleet, name: str) -> list[Wanted]:
    run_name, at, epoch = name.partition("@")
    run = experiment.run(run_name)
    if run.kind == "train":
        refuse_unverified(experiment, run, board.states.get(train_key(run.name)))
    chosen = epoch_of(experiment, run, epoch) if at else None
    made = list(_made(experiment, board, fleet, run.name))
    if not made:
        message = f"no checkpoint of `{run.name}` lies on a cluster that is reached over SSH"
        raise InputError(Problem(message, experiment.layout.summary, hint="what jobs make on this machine is here"))
    return [item for item in made if chosen in (None, item.epoch)]


def _made(experiment: Experiment, board: Board, fleet: Fleet, run_name: str) -> Iterator[Wanted]:
    """Yield the checkpoints of a run that lie on another machine and still have their weights."""
    run = experiment.run(run_name)
    status = board.states.get(train_key(run.name))
    if status is None or status.state != "done" or status.native is None:
        return
    cluster, own = status.native.cluster, experiment.layout.run(run.name)
    if fleet.mirror(cluster) is None:
        return
    for epoch in range(run.epochs):
        if not own.cleaned(epoch).is_file():
            yield Wanted(run.name, epoch, cluster)
