"""Where the commands of a cluster are typed: on this machine, or on another over SSH. Two of one shape.

A command that fails is an answer (`Called`); a connection that breaks, or an answer that does not come in time,
raises UnreachableError and says nothing about the command.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from tuneloop.documents.config import Profile
from tuneloop.documents.files import user_path
from tuneloop.jobs.transport.copies import PartlyError
from tuneloop.jobs.transport.here import Here
from tuneloop.jobs.transport.processes import NOTHING, Called
from tuneloop.jobs.transport.ssh import Ssh


class Transport(Protocol):
    def call(
        self, argv: Sequence[str], *, stdin: str = "", timeout: float = 60, environment: Mapping[str, str] = NOTHING
    ) -> Called:
        """Run a program with exactly these arguments, to its end or for `timeout` seconds.

        What it leaves running in the background must have let go of its outputs. The environment is this machine's,
        or the login's there, without what would override the arguments (`processes.LEAKS`).
        Raises UnreachableError when no answer came; the command may have been run, and may go on for as long as
        `timeout` after it began. Raises InputError, before anything runs, for what cannot be quoted.
        """

    def push(
        self,
        source: Path,
        target: str,
        *,
        only: Sequence[str] = (),
        exclude: Sequence[str] = (),
        links: bool = False,
    ) -> None:
        """Bring what is in the folder `source` into the folder `target` there, or a file to the path `target`.

        What is the same there already is not sent, nothing is removed, and a file takes its place whole. `only` and
        `exclude` are rsync's patterns. Links out of the folder are left out; with `links` they arrive as what they
        lead to. Raises UnreachableError, and FailedError for what could not be read or written.
        """

    def fetch(self, source: str, target: Path, *, only: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        """Bring what is in the folder `source` there into the folder `target`, as `push` does.

        Raises PartlyError when some files could not be copied and all others were.
        """


def transport_of(profile: Profile) -> Transport:
    """Return how a profile's cluster is reached. Raises InputError for a host that ssh could misread."""
    if profile.ssh is None:
        return Here()
    return Ssh(profile.ssh, user_path(profile.ssh_config) if profile.ssh_config else None)


__all__ = ["Called", "Here", "PartlyError", "Ssh", "Transport", "transport_of"]
