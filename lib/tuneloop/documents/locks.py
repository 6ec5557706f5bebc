"""Locks that the kernel drops when their holder dies: a process id proves nothing, a held lock does.

All are `flock` on a file that stays where it is. `exclusive` is for commands, `hold_for_life` for a job, whose
children inherit it: the lock is held as long as any of them lives.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def exclusive(path: Path, *, wait: float, busy: str, hint: str | None = None) -> Iterator[None]:
    """Hold the lock for a `with` block. Raises BusyError with the message `busy` after `wait` seconds."""
    # Here, since most only ask whether a lock is held: filelock imports asyncio, and hooks start within milliseconds.
    from filelock import FileLock, Timeout

    from tuneloop.documents.errors import BusyError, Problem

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=wait, poll_interval=0.01, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise BusyError(Problem(busy, path, hint=hint)) from None
    try:
        yield
    finally:
        lock.release()


def hold_for_life(path: Path) -> int:
    """Take the lock and keep it until this process and every child that it starts have ended."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    os.set_inheritable(handle, True)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def is_held(path: Path) -> bool:
    """Tell whether a living process holds the lock. Writes nothing."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
