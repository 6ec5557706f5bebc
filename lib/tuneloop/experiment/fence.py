"""The fence: of all attempts at a job, the newest alone puts results into their final place.

A scheduler that loses a node starts its jobs elsewhere, and what ran on the lost node may go on: it holds no less
than its successor does. So a file beside a job's attempts names the newest of them, and is a lock as well.
An attempt writes its name there before it begins, and holds the lock while it moves a result. Standard library
only: every job starts with it.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from tuneloop.documents.errors import BusyError, Problem

_SUFFIX = ".newest"  # of a file beside the folder of the attempts
_WAIT_S = 60.0  # a rename takes milliseconds, on a network file system too
_NAME = 256  # bytes; longer than any attempt's name


class SupersededError(BusyError):
    """A newer attempt at the same job has begun."""


@contextlib.contextmanager
def entering(attempts: Path, name: str) -> Iterator[None]:
    """Let the attempt `name` become the newest when the block ends well.

    Raises SupersededError where a later restart of the same submission has begun already.
    """
    with _locked(attempts) as handle:
        newest = _read(handle)
        if _token(newest) == _token(name) and _restart(newest) > _restart(name):
            raise SupersededError(f"superseded by {newest}")
        yield
        os.pwrite(handle, f"{name}\n".encode(), 0)
        os.ftruncate(handle, len(name.encode()) + 1)


@contextlib.contextmanager
def newest(attempt: Path) -> Iterator[None]:
    """Hold off every other attempt while this one puts a result into its place.

    Raises SupersededError where a newer one has begun; then nothing outside the attempt's folder may be touched.
    """
    with _locked(attempt.parent) as handle:
        _refuse_older(handle, attempt)
        yield


def look(attempt: Path) -> None:
    """Raise SupersededError where a newer attempt has begun."""
    with newest(attempt):
        return


def _refuse_older(handle: int, attempt: Path) -> None:
    name = _read(handle)
    if name and name != attempt.name:
        raise SupersededError(f"superseded by {name}")


@contextlib.contextmanager
def _locked(attempts: Path) -> Iterator[int]:
    """Yield the open file. Raises BusyError when another attempt keeps it for a minute: its machine stands still."""
    handle = os.open(attempts.with_name(attempts.name + _SUFFIX), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        end = time.monotonic() + _WAIT_S
        while not _taken(handle):
            if time.monotonic() > end:
                raise BusyError(Problem("another attempt keeps its results' place", attempts, hint="try again later"))
            time.sleep(0.05)
        yield handle
    finally:
        os.close(handle)


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(handle: int) -> str:
    return os.pread(handle, _NAME, 0).decode(errors="replace").partition("\n")[0]


def _token(name: str) -> str:
    return name.rpartition(".")[0]


def _restart(name: str) -> int:
    number = name.rpartition(".")[2]
    return int(number) if number.isdigit() else -1
