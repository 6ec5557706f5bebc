"""Handing jobs over so that a crash at any point loses nothing and doubles nothing.

Two journal entries stand around every hand-over: `submitting` with a token that travels with the job, then
`submitted`. An entry left open by a crash is settled by asking the executor for the token.
"""

from collections.abc import Callable, Sequence

from tuneloop.documents.errors import InputError
from tuneloop.experiment.work import JobKey, JobSpec, Token
from tuneloop.jobs.batches import batches
from tuneloop.jobs.executors import Executor
from tuneloop.jobs.journal import Event, Journal, Writer
from tuneloop.jobs.state import fold


def hand_over(
    journal: Journal, executor: Executor, decide: Callable[[], Sequence[JobSpec]], plan: str, by: str
) -> list[JobKey]:
    """Hand over the jobs that `decide` returns when it reads the experiment under the lock.

    `decide` raises when the plan that was consented to is no longer the one to make. Returns the keys.
    """
    with journal.writing() as writer:
        settle(journal.read(), writer, executor)
        specs = decide()
        writer.append("consented", plan=plan, jobs=len(specs), by=by)
        for batch in batches(specs, executor.limits.largest_array):
            writer.append("submitting", token=batch.token, keys=batch.keys, cluster=executor.cluster)
            native = executor.submit(batch)
            writer.append("submitted", token=batch.token, native=native)
    return [spec.key for spec in specs]


def settle(events: Sequence[Event], writer: Writer, executor: Executor) -> None:
    """Close the submissions that a crash left open."""
    for submission in fold(events).open:
        native = executor.find(Token(submission.token))
        if native is None:
            writer.append("refused", token=submission.token, reason="never arrived")
        else:
            writer.append("submitted", token=submission.token, native=native)


def ask_to_cancel(journal: Journal, keys: Sequence[JobKey], by: str) -> None:
    if not keys:
        raise InputError("nothing to cancel", hint="`tuneloop status` shows what runs and waits")
    journal.append("cancel-asked", keys=keys, by=by)
