"""What `retry` proposes for trainings that ran out of memory, and, where the design allows it, does.

An adjustment is a journal event with the run's new values; from then on the run has them, with an origin of their
own, and its jobs are scaffolded anew. The design's head is a person's and stays as it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from tuneloop.documents.errors import InputError, MissingError
from tuneloop.documents.logs import EventLog
from tuneloop.experiment.adjusted import KIND, adjusted, read_adjustments, said
from tuneloop.experiment.expand import expand
from tuneloop.experiment.read import Experiment
from tuneloop.experiment.stamp import Stamps
from tuneloop.experiment.store import read_jobs
from tuneloop.experiment.work import run_of, train_key
from tuneloop.jobs.board import Board, read_board
from tuneloop.jobs.failures import failures
from tuneloop.jobs.journal import Journal
from tuneloop.loop.orders import Crew
from tuneloop.loop.run import AGAIN, Plan, plan_run, refuse_budget
from tuneloop.loop.scaffold import plan_scaffold, write_scaffold

_WHY = "out of memory"


@dataclass(frozen=True)
class Proposal:
    """Values of one run that need less memory for the same result; none where nothing can be made smaller.

    It `applies` when the design allows it, too.
    """

    run: str
    values: Mapping[str, Any]
    allowed: bool  # by the design, to be applied

    @property
    def applies(self) -> bool:
        return self.allowed and bool(self.values)

    @property
    def lines(self) -> str:
        """What to write under `runs` in the design's head."""
        return f"{{name: {self.run}, set: {{{', '.join(f'{name}: {value}' for name, value in self.values.items())}}}}}"


class Agreed(NamedTuple):
    experiment: Experiment
    crew: Crew
    plan: Plan


def proposals(experiment: Experiment, board: Board, crew: Crew) -> list[Proposal]:
    """Return one proposal for each training that ran out of memory as it is scaffolded now."""
    runs = [experiment.run(name) for name in _out_of_memory(experiment, board)]
    if not runs:
        return []
    try:
        found = crew.remote(crew.trainer).smaller(crew.order(crew.trainer, runs=runs))
    except MissingError:
        found = {}  # a worker that knows no such fields
    allowed = experiment.design.policy.out_of_memory == "smaller-batch"
    return [Proposal(run.name, found.get(run.name, {}), allowed) for run in runs]


def unfinished(experiment: Experiment, board: Board) -> list[str]:
    """Return the adjusted runs whose jobs are not scaffolded anew yet: a command was killed in between.

    A run that a person has changed since is not among them: that wants a scaffold of its own.
    """
    adjustments = read_adjustments(experiment.layout)
    outdated = {run_of(key) for key in board.outdated}
    names = sorted({item.run for item in adjustments} & {run for run in outdated if run})
    if not names:
        return []
    stamps = Stamps(experiment.design)
    stored = {key: stamp for item in read_jobs(experiment.layout).values() for key, stamp in item.stamps.items()}
    as_designed = {run.name: run for run in expand(experiment.design)}
    found = []
    for name in names:
        *before, _last = [item for item in adjustments if item.run == name]
        (run,) = adjusted([as_designed[name]], before)
        if stored.get(train_key(name)) == stamps.of(run, train_key(name)):
            found.append(name)
    return found


def agreed(experiment: Experiment, crew: Crew, plan: Plan, wanted: Sequence[Proposal], *, by: str) -> Agreed:
    """Do what the design allows of the proposals, once the plan has a yes; return what is handed over then.

    Raises InputError when that would not be the jobs of the plan, or does not fit the budget.
    """
    changes = [item for item in wanted if item.applies]
    if not changes:
        return Agreed(experiment, crew, plan)
    refuse_budget(experiment, plan)
    now = adjust(experiment, crew, changes, by=by)
    again = Crew(now, crew.configuration)
    new = plan_run(now, read_board(now, again.fleet()), AGAIN)
    if {job.key for job in new.jobs} != {job.key for job in plan.jobs}:
        hint = "look at the new plan with `--dry-run`"
        raise InputError(f"the plan has changed: it is {new.id}, not {plan.id}", hint=hint)
    return Agreed(now, again, new)


def adjust(experiment: Experiment, crew: Crew, wanted: Sequence[Proposal], *, by: str) -> Experiment:
    """Put the proposals that the design allows on record, and scaffold their runs; return the experiment as it is then.

    Killed anywhere, `finish` goes on.
    """
    as_designed = {run.name: run for run in expand(experiment.design)}
    log = EventLog(experiment.layout.folder, "run-experiment")
    for item in wanted:
        before = said(as_designed[item.run], item.values)
        event = {"run": item.run, "values": dict(item.values), "design": before, "why": _WHY, "by": by}
        Journal(experiment.layout).append(KIND, **event)
        values = ", ".join(f"{name} {value}" for name, value in item.values.items())
        log.event(f"adjusted {item.run} after {_WHY}: {values}")
    return finish(experiment, crew, [item.run for item in wanted])


def finish(experiment: Experiment, crew: Crew, runs: Sequence[str]) -> Experiment:
    """Scaffold adjusted runs, and no others; return the experiment with them. Doing it twice changes nothing."""
    now = replace(experiment, expanded=adjusted(expand(experiment.design), read_adjustments(experiment.layout)))
    again = Crew(now, crew.configuration)
    write_scaffold(plan_scaffold(now, again, runs=runs), again)
    return now


def _out_of_memory(experiment: Experiment, board: Board) -> list[str]:
    """Return the runs whose training ran out of memory with the values that it has now."""
    found = []
    for item in failures(experiment.layout, board):
        run, last = run_of(item.key), board.states[item.key].last
        if not item.out_of_memory or run is None or item.key != train_key(run):
            continue
        # After an adjustment the job is another one, and has not been tried.
        if last is not None and last.digest == board.spec(item.key).digest:
            found.append(run)
    return found
