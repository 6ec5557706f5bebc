"""Executors: what runs jobs. One module each, all of one shape."""

from collections.abc import Collection
from typing import NamedTuple, Protocol

from tuneloop.documents.config import Profile
from tuneloop.documents.errors import MissingError
from tuneloop.experiment.layout import Layout
from tuneloop.experiment.work import Token
from tuneloop.jobs.batches import Batch
from tuneloop.jobs.facts import Attempt


class Native(NamedTuple):
    """An outside id; `task` is the place in an array."""

    cluster: str
    id: str
    task: int | None = None


class Limits(NamedTuple):
    largest_array: int


class Executor(Protocol):
    cluster: str
    limits: Limits

    def submit(self, batch: Batch) -> Native:
        """Hand a batch over. Called again for a token only after `find` said None."""

    def find(self, token: Token) -> Native | None:
        """Return what became of a token that was being handed over when the command died."""

    def alive(self) -> bool:
        """Tell whether something will start the jobs that are queued here."""

    def start(self) -> None:
        """Make sure that something will. Safe to call at any time."""

    def cancel(self, attempts: Collection[Attempt]) -> None:
        """Ask running attempts to end."""

    def beside(self, layout: Layout) -> "Executor":
        """Return the same executor for another experiment."""


def executor_for(layout: Layout, cluster: str, profile: Profile) -> Executor:
    """Return the executor of a cluster profile for one experiment. Raises MissingError for an unknown kind."""
    if profile.executor == "local":
        from tuneloop.jobs.executors.local import Local

        return Local(layout, cluster, profile)
    raise MissingError(f"no executor `{profile.executor}`")


__all__ = ["Executor", "Limits", "Native", "executor_for"]
