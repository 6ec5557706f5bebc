"""Executors: what runs jobs. One module each, all of one shape."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from tuneloop.documents.config import Profile
from tuneloop.experiment.layout import Layout
from tuneloop.experiment.work import Token
from tuneloop.jobs.answers import Answer, News
from tuneloop.jobs.batches import Batch, Sizes
from tuneloop.jobs.native import Native
from tuneloop.jobs.state import JobStatus


class Order(NamedTuple):
    """What a batch waits for, in outside ids; without a task, the whole submission."""

    when: str  # ok, any or each, as in `batches.After`
    native: Native


class Executor(Protocol):
    cluster: str
    sizes: Sizes
    most_jobs: int | None  # of one user in its queue at once, as far as that is known

    def prepare(self) -> None:
        """Bring what jobs read to where they will run: what may take long, before anybody holds the journal's lock.

        Safe to call at any time. Raises UnreachableError, FailedError for what cannot be brought there, and BusyError
        where somebody else does the same.
        """

    def submit(self, batch: Batch, after: Sequence[Order]) -> Native:
        """Hand a batch over. Called again for a token only after `settle` said None.

        Raises FailedError when it is refused, and UnreachableError when nobody knows what became of it.
        """

    def find(self, token: Token) -> Native | None:
        """Return what became of a token that was being handed over when the command died. Changes nothing."""

    def settle(self, token: Token) -> Native | None:
        """As `find`; when the answer is None, the token will never arrive. Raises UnreachableError."""

    def observe(self, jobs: Mapping[Native, str]) -> Mapping[Native, Answer]:
        """Return what is known of jobs, by outside id and the time of handing over; one that is absent is no news."""

    def renew(self) -> None:
        """Let the next `observe` rest on a picture as new as its pace allows, whatever process it is in."""

    def news(self) -> News | None:
        """Return how good the answers are that `observe` gave last; None where there is no scheduler to ask."""

    def withdraw(self, jobs: Sequence[Native]) -> None:
        """Take jobs back that have not begun. Raises UnreachableError."""

    def cancel(self, jobs: Sequence[JobStatus]) -> None:
        """Ask jobs to end. Raises UnreachableError."""

    def in_queue(self) -> int:
        """Return how many jobs of the user wait or run there, of whatever experiment. Raises UnreachableError."""

    def alive(self) -> bool:
        """Tell whether something will start the jobs that are queued here."""

    def start(self) -> None:
        """Make sure that something will. Safe to call at any time."""


def executor_for(layout: Layout, cluster: str, profile: Profile) -> Executor:
    """Return the executor of a cluster profile for one experiment."""
    if profile.executor == "slurm":
        from tuneloop.jobs.executors.slurm import Slurm

        return Slurm(layout, cluster, profile)
    from tuneloop.jobs.executors.local import Local

    return Local(layout, cluster, profile)


__all__ = ["Answer", "Executor", "Native", "Order", "executor_for"]
