"""rsync: what is handed to it and what its exit code means. Knows nothing of how a machine is reached."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tuneloop.documents.errors import FailedError, MissingError, UnreachableError
from tuneloop.jobs.transport.processes import checked, clean_environment, decoded, run

# Owners and groups are those of whoever writes there. What is half-way waits in a folder beside its place, so that a
# reader finds whole files and a broken copy goes on where it was. A time of change counts to the nanosecond: by whole
# seconds, rsync's default, a state that was written twice in one would stay the first one.
_ALWAYS = (
    *("--archive", "--no-owner", "--no-group", "--no-devices", "--no-specials"),
    *("--modify-window=-1", "--partial", "--delay-updates", "--protect-args"),
)
_DONE = (0, 24)  # 24: a file went away while it was copied, as files of a running job do
# Of rsync(1): socket I/O, protocol stream, time-out, connection time-out; 255 is ssh's own.
_BROKEN = (10, 12, 30, 35, 255)
_PARTLY = 23
_NO_RSYNC_THERE = 127
_MOST_LINES = 5  # of what rsync complained about; one for each file would be thousands


class PartlyError(FailedError):
    """Some files could not be copied, and all others are there. `complaints` has a line for each that rsync named."""

    def __init__(self, message: str, complaints: Sequence[str]) -> None:
        super().__init__(message)
        self.complaints = complaints


class Choice(NamedTuple):
    """Which of a folder's files are copied: rsync's patterns, and what becomes of links out of the folder."""

    only: Sequence[str] = ()
    exclude: Sequence[str] = ()
    links: bool = False

    def options(self) -> Iterator[str]:
        yield "--copy-unsafe-links" if self.links else "--safe-links"
        yield from (f"--exclude={pattern}" for pattern in self.exclude)
        if self.only:
            yield from ("--prune-empty-dirs", "--include=*/")
            yield from (f"--include={pattern}" for pattern in self.only)
            yield "--exclude=*"


class Shell(NamedTuple):
    """How another machine is reached: the command before its name, and the seconds of silence to put up with."""

    argv: Sequence[str]
    silence: int


def local(path: Path) -> str:
    """Return a path as rsync takes it for one of this machine; of a folder, its content."""
    return f"{path.absolute()}/" if path.is_dir() else str(path.absolute())


def copy(source: str, target: str, choice: Choice, shell: Shell | None = None) -> None:
    """Run rsync. Raises UnreachableError for a broken connection, PartlyError, FailedError and MissingError."""
    options = [*_ALWAYS, *choice.options()]
    if shell is not None:
        options += [f"--timeout={shell.silence}", f"--rsh={_joined(shell.argv)}"]
    words = ["rsync", *options, "--", source, target]
    checked(words)
    try:
        ended = run(words, environment=clean_environment())
    except FileNotFoundError:
        raise MissingError("rsync is not installed", hint="install the package `rsync`") from None
    if ended.code in _DONE:
        return
    lines = [line for line in decoded(ended.err).splitlines() if line.strip()]
    complaints = [line for line in lines if line.startswith("rsync:")]  # the others only sum up
    said = "; ".join((complaints or lines)[:_MOST_LINES]) or f"rsync ended with {ended.code}"
    if ended.code in _BROKEN:
        raise UnreachableError(f"the copy to {target} broke off: {said}", hint="run the same command again")
    if ended.code == _NO_RSYNC_THERE:
        raise MissingError(f"rsync is not installed there: {said}", hint="install the package `rsync` on the cluster")
    message = f"could not copy {source} to {target}: {said}"
    raise PartlyError(message, complaints) if ended.code == _PARTLY else FailedError(message)


def _joined(argv: Sequence[str]) -> str:
    """Return a command as rsync takes it apart: words in quotes, a quote inside of them written twice."""
    return " ".join("'" + word.replace("'", "''") + "'" for word in argv)
