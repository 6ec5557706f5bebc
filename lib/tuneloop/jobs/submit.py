"""Handing jobs over so that a crash at any point loses nothing and doubles nothing.

Two journal entries stand around every hand-over: `submitting` with a token that travels with the job, then
`submitted`. An entry left open by a crash is settled by asking the executor for the token.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tuneloop.documents.errors import FailedError, InputError, MissingError
from tuneloop.experiment.work import JobKey, JobSpec, Token
from tuneloop.jobs.batches import After, Batch, Places, Sizes, batches
from tuneloop.jobs.executors import Order
from tuneloop.jobs.executors.fleet import Fleet
from tuneloop.jobs.journal import Event, Journal, Writer
from tuneloop.jobs.native import Native
from tuneloop.jobs.state import Consent, JobStatus, fold


@dataclass(frozen=True)
class Decision:
    """What to hand over, as read under the lock."""

    specs: Sequence[JobSpec]
    consent: Consent | None  # a new yes; None for what is left of a plan that has one already
    going: Places = field(default_factory=dict)  # what was handed over before and has not ended
    natives: Mapping[Token, Native] = field(default_factory=dict)  # of the submissions that `going` names
    superseded: Mapping[JobKey, Native] = field(default_factory=dict)  # still in a queue, and handed over anew
    resumes: int = 0  # times that a job which can resume goes on after its time limit
    without_room: int = 0  # jobs of the plan that its limits leave for later


@dataclass(frozen=True)
class Handed:
    keys: tuple[JobKey, ...]
    without_room: int = 0
    refused: str | None = None  # why the rest was not taken
    hint: str | None = None  # and what helps


def hand_over(journal: Journal, fleet: Fleet, decide: Callable[[], Decision], by: str) -> Handed:
    """Hand over the jobs that `decide` returns when it reads the experiment under the lock.

    `decide` raises when the plan that was consented to is no longer the one to make. A batch that is refused ends
    the handing over; what was taken before goes on. Raises UnreachableError when a cluster does not answer: what
    became of the last batch is settled by the next call.
    """
    with journal.writing() as writer:
        settle(journal.read(), writer, fleet)
        decision = decide()
        natives = dict(decision.natives)
        if decision.consent is not None:
            said = {"plan": decision.consent.plan, "jobs": decision.consent.jobs, "command": decision.consent.command}
            writer.append("consented", **said, by=by)
        keys: list[JobKey] = []
        for batch in _batches(decision, fleet):
            executor = fleet.of(batch.shape.cluster)
            entry = {"keys": batch.keys, "tasks": batch.tasks, "cluster": executor.cluster}
            writer.append("submitting", token=batch.token, **entry)
            try:
                native = executor.submit(batch, _orders(batch.after, natives))
            except (InputError, MissingError) as error:  # found before the scheduler was asked
                writer.append("refused", token=batch.token, reason=error.problems[0].message)
                raise
            except FailedError as error:
                reason = error.problems[0].message
                writer.append("refused", token=batch.token, reason=reason)
                return Handed(tuple(keys), decision.without_room, reason, error.problems[0].hint)
            writer.append("submitted", token=batch.token, native=native)
            _withdraw([decision.superseded[key] for key in batch.keys if key in decision.superseded], fleet)
            natives[batch.token] = native
            keys += batch.keys
    return Handed(tuple(keys), decision.without_room)


def settle(events: Sequence[Event], writer: Writer, fleet: Fleet) -> None:
    """Close the submissions that a crash left open. Raises UnreachableError when a cluster does not answer."""
    for submission in fold(events).open:
        native = fleet.of(submission.cluster).settle(submission.token)
        if native is None:
            writer.append("refused", token=submission.token, reason="never arrived")
        else:
            writer.append("submitted", token=submission.token, native=native)


def ask_to_cancel(journal: Journal, keys: Sequence[JobKey], by: str) -> None:
    """Note that jobs shall end, and that a yes to a plan no longer holds for what is left of it."""
    journal.append("cancel-asked", keys=keys, by=by)


def cancel(statuses: Sequence[JobStatus], fleet: Fleet) -> None:
    """Ask jobs to end, each cluster once. Raises UnreachableError."""
    by_cluster: dict[str, list[JobStatus]] = {}
    for status in statuses:
        by_cluster.setdefault(status.native.cluster if status.native else "local", []).append(status)
    for cluster, items in by_cluster.items():
        fleet.of(cluster).cancel(items)


def _batches(decision: Decision, fleet: Fleet) -> list[Batch]:
    clusters = {spec.shape.cluster for spec in decision.specs}
    executors = [fleet.of(cluster) for cluster in clusters]
    largest = min((executor.sizes.largest for executor in executors), default=1)
    corresponding = min((executor.sizes.corresponding for executor in executors), default=1)
    allowed = [executor.most_jobs for executor in executors if executor.most_jobs is not None]
    if allowed:
        # A scheduler takes an array whole or not at all: so many trainings that what follows from them fits, too.
        chain = max(Counter(spec.run for spec in decision.specs if spec.run is not None).values(), default=1)
        largest = max(1, min(largest, *(most // chain for most in allowed)))
    return batches(decision.specs, Sizes(largest, corresponding), decision.going, decision.resumes)


def _orders(after: Sequence[After], natives: Mapping[Token, Native]) -> list[Order]:
    """Return what a batch waits for in outside ids: a task's own, or the whole submission's."""
    found = []
    for item in after:
        native = natives[item.token]
        whole = native.task is None or item.when != "ok"
        found.append(Order(item.when, native._replace(task=None if whole else item.task)))
    return found


def _withdraw(natives: Sequence[Native], fleet: Fleet) -> None:
    """Take back what a batch that was taken stands in for: one that is refused takes nothing away.

    Where the command dies before, or this comes too late, an old report is written, too.
    """
    for cluster in {native.cluster for native in natives}:
        fleet.of(cluster).withdraw([native for native in natives if native.cluster == cluster])
