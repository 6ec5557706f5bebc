"""run-experiment, run-<tool>, retry and cancel: what to hand over, and handing it over.

A plan is pure: jobs, hours and an id that changes when any of it does. Consent is to that id. Handing over
returns at once; the executor runs the jobs.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tuneloop.documents.config import load
from tuneloop.documents.errors import FailedError, InputError, MissingError, Problem, UnreachableError, did_you_mean
from tuneloop.documents.logs import EventLog
from tuneloop.documents.shell import typed
from tuneloop.experiment.identity import digest
from tuneloop.experiment.read import Experiment
from tuneloop.experiment.work import COLLECT, JobKey, JobSpec, Need, State, Token, run_of
from tuneloop.jobs.batches import Place
from tuneloop.jobs.board import Board, read_board
from tuneloop.jobs.executors.fleet import Fleet
from tuneloop.jobs.journal import Journal
from tuneloop.jobs.state import ENDED, FINE, GOING, Consent, JobStatus
from tuneloop.jobs.submit import Decision, Handed, ask_to_cancel, hand_over
from tuneloop.jobs.submit import cancel as cancel_jobs
from tuneloop.loop.costs import Cost, costs
from tuneloop.loop.fitting import fitting, limits_of, refuse_unfit
from tuneloop.loop.placement import refuse_apart
from tuneloop.loop.setups import refuse_other_setup
from tuneloop.workers.wording import counted


def line(command: str, folder: Path) -> str:
    """Return what to type: a command, such as `retry {} --failed`, around its folder."""
    return f"tuneloop {command.format(typed(folder))}"


@dataclass(frozen=True)
class Choice:
    """Which jobs a command hands over: those in certain states, perhaps of one worker alone."""

    states: frozenset[State]
    command: str = "run-experiment {}"  # around its folder
    worker: str | None = None

    @property
    def verb(self) -> str:
        return self.command.split(maxsplit=1)[0]

    def picks(self, spec: JobSpec, status: JobStatus) -> bool:
        return status.state in self.states and self.worker in (None, spec.worker)


# What `run` hands over: all that was never tried, or vanished.
FRESH = Choice(frozenset({"planned", "lost"}))
# What `retry` hands over: all that ended without being done.
AGAIN = Choice(frozenset({"planned", "lost", "failed", "cancelled", "blocked"}), "retry {} --failed")


@dataclass(frozen=True)
class Plan:
    """What would be handed over now."""

    id: str
    jobs: tuple[JobSpec, ...]
    tokens: Mapping[JobKey, Token | None]  # the submission of each before this one
    left: tuple[JobStatus, ...]  # ended without being done, and not in this plan
    going: int
    hours: float  # estimated, one job after the other
    spent_hours: float
    going_hours: float  # estimated, of what was handed over and has not ended
    budget_hours: float | None
    fits: int | None = None  # how many of the jobs go now, where a site's limit leaves no room for all of them
    costs: tuple[Cost, ...] = ()  # of clusters with prices
    consented: str | None = None  # the id of the plan that has a yes already and of which this is what is left

    @property
    def clusters(self) -> list[str]:
        return sorted({job.shape.cluster for job in self.jobs})

    def covers(self, other: "Plan") -> bool:
        """Tell whether a yes to this plan is one to another, which may ask for less and for nothing else."""
        return (
            self.budget_hours == other.budget_hours
            and set(other.jobs) <= set(self.jobs)
            and all(self.tokens[key] == token for key, token in other.tokens.items())
        )

    @property
    def over_budget(self) -> bool:
        return self.budget_hours is not None and self.spent_hours + self.going_hours + self.hours > self.budget_hours


def plan_run(experiment: Experiment, board: Board, choice: Choice = FRESH, changes: Sequence[str] = ()) -> Plan:
    """Return what `choice` picks, with what it needs to be possible. Its id also stands for the `changes` before it.

    Raises InputError when nothing is scaffolded, when the design has changed since, or when what is needed of
    another experiment is neither done nor under way; MissingError when a job wants more nodes or GPUs than there are.
    """
    refuse_outdated(experiment, board)
    chosen = {spec.key for spec in board.specs if choice.picks(spec, board.states[spec.key])}
    _refuse_missing_elsewhere(experiment, board, chosen)
    picked = _possible(board, chosen | _given_up(board, choice))
    if choice.worker is None and (picked or board.intent.is_followed(COLLECT)):
        # New results make the old report stale, those of jobs that were handed over after it, too.
        picked |= {COLLECT} & {spec.key for spec in board.specs}
    jobs = tuple(spec for spec in board.specs if spec.key in picked)
    configuration = load(experiment.layout.folder)
    refuse_other_setup(experiment, jobs, configuration)
    refuse_unfit(experiment, jobs, configuration)
    left = tuple(
        status
        for key, status in board.states.items()
        if status.state in ENDED - {"done"} and key not in picked and key != COLLECT
    )
    hours = sum(job.seconds for job in jobs) / 3600
    limit = experiment.design.budget.hours
    tokens = {job.key: board.states[job.key].token for job in jobs}
    return Plan(
        id=_id(jobs, tokens, limit, changes),
        jobs=jobs,
        tokens=tokens,
        left=left,
        going=len(board.going),
        hours=hours,
        spent_hours=_spent(board),
        going_hours=sum(board.spec(status.key).seconds for status in board.going) / 3600,
        budget_hours=limit,
        fits=_fits(board, jobs, limits_of(configuration)),
        costs=tuple(costs(jobs, configuration)),
        consented=_consented(board, tokens, limit, changes),
    )


def _id(
    jobs: Sequence[JobSpec], tokens: Mapping[JobKey, Token | None], limit: float | None, changes: Sequence[str]
) -> str:
    return digest([[[job.key, job.digest, tokens[job.key], job.seconds] for job in jobs], limit, *changes])[:8]


def _consented(
    board: Board, tokens: Mapping[JobKey, Token | None], limit: float | None, changes: Sequence[str]
) -> str | None:
    """Return the id of the last plan with a yes, where the jobs are what is left of it: with those handed over, it."""
    consent = board.intent.consent
    if consent is None or not tokens or consent.handed.keys() & tokens.keys():
        return None
    whole = {**consent.handed, **tokens}
    jobs = [spec for spec in board.specs if spec.key in whole]
    return consent.plan if _id(jobs, whole, limit, changes) == consent.plan else None


def start(experiment: Experiment, fleet: Fleet, plan: Plan, choice: Choice = FRESH, *, by: str) -> Handed:
    """Hand the plan's jobs over and make sure that something runs them; return which, and how many have no room yet.

    Raises InputError when the plan has changed since, or does not fit the budget; FailedError when a scheduler
    did not take all of them: what it took goes on.
    """
    refuse_budget(experiment, plan)

    def decide() -> Decision:
        fleet.renew()  # what has ended is no dependency any more: a scheduler may have forgotten it
        board = read_board(experiment, fleet)
        now = plan_run(experiment, board, choice)
        if not plan.covers(now):
            hint = "look at the new plan with `--dry-run`"
            raise InputError(f"the plan has changed: it is {now.id}, not {plan.id}", hint=hint)
        # Again, under the lock: another command may have spent what was left.
        refuse_budget(experiment, now)
        # What another command has handed over meanwhile needs no second yes, and waits for nothing.
        new = None if now.consented or not now.jobs else Consent(now.id, len(now.jobs), choice.command)
        room = _with_room(fleet, now.jobs)
        return _decision(board, room, experiment.design.policy.resumes, new, without_room=len(now.jobs) - len(room))

    if not plan.jobs:
        fleet.start(read_board(experiment, fleet).clusters)
        return Handed(())
    refuse_apart(fleet.configuration, read_board(experiment, fleet), plan.jobs)
    fleet.prepare(plan.clusters)
    try:
        handed = hand_over(Journal(experiment.layout), fleet, decide, by)
    except (UnreachableError, MissingError):
        fleet.start(plan.clusters)  # what was taken before must not wait until somebody types the command again
        raise
    log = EventLog(experiment.layout.folder, "run-experiment")
    log.event(f"plan {plan.id}: {len(handed.keys)} jobs handed over to {' and '.join(plan.clusters)} by {by}")
    fleet.start(plan.clusters)
    if handed.refused is not None:
        log.event(f"{len(plan.jobs) - len(handed.keys)} jobs were refused: {handed.refused}")
        helps = f"{handed.hint}; " if handed.hint else ""
        again = f"`{line(choice.command, experiment.layout.folder)}`"
        if not handed.keys:
            hint = f"{helps}correct the profile or wait for the site, then {again}"
            raise FailedError(f"none of {counted(len(plan.jobs), 'job')} was handed over: {handed.refused}", hint=hint)
        raise FailedError(
            f"{len(handed.keys)} of {len(plan.jobs)} jobs were handed over; then: {handed.refused}",
            hint=f"{helps}what was taken goes on; {again} hands over the rest",
        )
    return handed


def _fits(board: Board, jobs: Sequence[JobSpec], limits: Mapping[str, int]) -> int | None:
    """Return how many jobs have room beside those of this experiment that go; None where all of them have."""
    going = Counter(board.spec(status.key).shape.cluster for status in board.going)
    number = len(fitting(jobs, {cluster: limit - going[cluster] for cluster, limit in limits.items()}))
    return None if number == len(jobs) else number


def _with_room(fleet: Fleet, jobs: Sequence[JobSpec]) -> list[JobSpec]:
    """Return the jobs that have room beside all of the user's. Raises UnreachableError."""
    asked = {job.shape.cluster for job in jobs}
    limits = {cluster: limit for cluster, limit in limits_of(fleet.configuration).items() if cluster in asked}
    return fitting(jobs, {cluster: limit - fleet.of(cluster).in_queue() for cluster, limit in limits.items()})


def _decision(
    board: Board, specs: Sequence[JobSpec], resumes: int, consent: Consent | None, *, without_room: int
) -> Decision:
    """Return what to hand over, and what of earlier submissions it waits for or takes the place of."""
    anew = {spec.key for spec in specs}
    own = [status for status in board.going if status.key not in anew and status.native and status.token]
    going: dict[tuple[str | None, JobKey], Place] = {}
    natives = {}
    for experiment, key, status in [
        *((None, status.key, status) for status in own),
        *((need.experiment, need.job, status) for need, status in board.elsewhere.items() if status.state in GOING),
    ]:
        if status.native and status.token:
            going[experiment, key] = Place(status.token, status.index)
            natives[status.token] = status.native
    before = [board.states[key] for key in anew]
    superseded = {status.key: status.native for status in before if status.native and _in_queue(status)}
    return Decision(specs, consent, going, natives, superseded, resumes, without_room)


def _in_queue(status: JobStatus) -> bool:
    """Tell whether a job may be in its queue; one that was handed over a moment ago is, and has no answer yet."""
    return status.state in GOING if status.answer is None else not status.answer.final


def plan_cancel(experiment: Experiment, board: Board, runs: Sequence[str]) -> list[JobStatus]:
    """Return the jobs that are going, of the named runs or of all. Raises InputError for an unknown run."""
    known = sorted({spec.run for spec in board.specs if spec.run})
    unknown = [run for run in runs if run not in known]
    if unknown:
        summary = experiment.layout.summary
        raise InputError([Problem(f"no run `{run}`", summary, hint=did_you_mean(run, known)) for run in unknown])
    wanted = {spec.key for spec in board.specs if not runs or spec.run in runs}
    return [status for status in board.going if status.key in wanted]


class Cancelled(NamedTuple):
    keys: list[JobKey]  # that were asked to end
    unhanded: int  # how many jobs had a yes, and have it no more


def cancel(experiment: Experiment, fleet: Fleet, runs: Sequence[str], *, by: str) -> Cancelled:
    """Ask the jobs of the runs (all without any) to end, and take back the yes to what was not handed over.

    Raises InputError where there is neither.
    """
    board = read_board(experiment, fleet)
    keys = [status.key for status in plan_cancel(experiment, board, runs)]
    if not keys and not board.unhanded:
        raise InputError("nothing to cancel", hint="`tuneloop status` shows what runs and waits")
    ask_to_cancel(Journal(experiment.layout), keys, by)
    # Read again: a job may have begun since. One that begins later still is ended by the runner.
    cancel_jobs([status for status in read_board(experiment, fleet).going if status.key in keys], fleet)
    EventLog(experiment.layout.folder, "run-experiment").event(
        f"asked to cancel {len(keys)} jobs; {board.unhanded} more had a yes"
    )
    return Cancelled(keys, board.unhanded)


def outcome(board: Board) -> int | None:
    """Return the exit code of a finished experiment (0, or 1 where something is not done), None while it goes.

    What nobody asked for yet is not missing; what has a yes and was not handed over is.
    """
    if board.going:
        return None
    if board.unhanded:
        return 1
    touched = [status for status in board.states.values() if status.state != "planned"]
    return 0 if all(status.state == "done" for status in touched) else 1


def refuse_unstarted(experiment: Experiment, board: Board) -> None:
    """Raise InputError when there is nothing to wait for: no job was ever handed over."""
    if all(status.state == "planned" for status in board.states.values()):
        hint = f"`tuneloop run-experiment {typed(experiment.layout.folder)}`"
        raise InputError(Problem("nothing was handed over yet", experiment.layout.summary, hint=hint))


def refuse_stopped(experiment: Experiment, board: Board, fleet: Fleet) -> None:
    """Raise FailedError when jobs wait and nothing will ever start them."""
    running = any(status.state == "running" for status in board.going)
    if board.going and not running and not fleet.alive(board.clusters):
        log = experiment.layout.runner_log
        said = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
        why = f"; it said last: {said[-1]}" if said else ""
        raise FailedError(
            f"{len(board.going)} jobs wait, but the runner has stopped{why}",
            hint=f"`tuneloop run-experiment {typed(experiment.layout.folder)}` goes on where it was",
        )


def _given_up(board: Board, choice: Choice) -> set[JobKey]:
    """Return the blocked jobs that nothing of another experiment blocks, whatever they need of this one.

    A scheduler that has given a job up does not start it once what it needs is done, or tried again; `_possible` leaves
    out the others.
    """
    return {
        spec.key
        for spec in board.specs
        if board.states[spec.key].state == "blocked"
        and choice.worker in (None, spec.worker)
        and all(board.elsewhere[need].state in FINE for need in spec.needs if need.experiment is not None)
    }


def _possible(board: Board, picked: set[JobKey]) -> set[JobKey]:
    """Leave out what needs a job that neither is done, nor goes, nor is picked itself."""

    def possible(spec: JobSpec) -> bool:
        return all(
            need.when == "any" or need.job in picked or board.states[need.job].state in FINE
            for need in spec.needs
            if need.experiment is None and need.job in board.states
        )

    while True:
        kept = {spec.key for spec in board.specs if spec.key in picked and possible(spec)}
        if kept == picked:
            return kept
        picked = kept


def _refuse_missing_elsewhere(experiment: Experiment, board: Board, chosen: set[JobKey]) -> None:
    wanted = {need.experiment: status for need, status in board.elsewhere.items() if _cited(board, need, chosen)}
    for name, status in wanted.items():
        if status.state not in FINE:
            other = typed(Path(os.path.relpath(experiment.path(name or ""))))
            verb = f"retry {other} --failed" if status.state in ENDED else f"run-experiment {other}"
            why = f" ({status.reason})" if status.reason else ""
            message = f"{status.key} is {status.state}{why}, and jobs here need it"
            raise InputError(experiment.problem(("model",), message, f"`tuneloop {verb}` first"))


def _cited(board: Board, need: Need, chosen: set[JobKey]) -> bool:
    return any(need in spec.needs for spec in board.specs if spec.key in chosen)


def _spent(board: Board) -> float:
    """Return the hours that all attempts have used, successful or not."""
    used = [item.usage.wall_s for status in board.states.values() for item in status.attempts if item.usage]
    return sum(used) / 3600


def refuse_outdated(experiment: Experiment, board: Board) -> None:
    """Raise InputError when the jobs on record are not the ones that the design stands for now."""
    summary, folder = experiment.layout.summary, typed(experiment.layout.folder)
    if not board.specs:
        raise InputError(Problem("nothing is scaffolded", summary, hint=f"`tuneloop scaffold-experiment {folder}`"))
    changed = list(dict.fromkeys(run_of(key) or key for key in sorted([*board.outdated, *board.missing])))
    if changed:
        shown = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
        message = f"the design has changed since it was scaffolded: {shown}"
        raise InputError(Problem(message, summary, hint=f"`tuneloop scaffold-experiment {folder}`"))


def refuse_budget(experiment: Experiment, plan: Plan) -> None:
    """Raise InputError when a plan is over the budget."""
    if plan.over_budget:
        raise InputError(
            experiment.problem(
                ("budget", "hours"),
                f"the plan needs {plan.hours:.2f} h, {plan.going_hours:.2f} h are going and "
                f"{plan.spent_hours:.2f} h are spent; the budget is {plan.budget_hours:g} h",
                "raise `budget.hours` in the design, or run less",
            )
        )
