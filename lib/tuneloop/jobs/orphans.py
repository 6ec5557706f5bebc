"""What a command leaves running when it ends: adopted and ended, in whatever session it is.

`python -m tuneloop.jobs.orphans COMMAND …` runs a command this way. torchrun starts its workers in sessions of their
own and without what it inherited; when it is killed they go on, and keep a GPU. The script of a job is looked after
by `claim`; on the other nodes of an allocation each launcher needs somebody itself. SLURM does it only where
it tracks processes by cgroups.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

GRACE_S = 10.0  # between asking a process to end and ending it
# Of <linux/prctl.h>: PR_SET_PDEATHSIG and PR_SET_CHILD_SUBREAPER.
_PARENT_DEATH_SIGNAL, _CHILD_SUBREAPER = 1, 36
_LIBC = ctypes.CDLL(None)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code (128 + n for signal n) when nothing of it is left, or 1 if asked to end.

    srun asks all to end when one has failed, and gives the highest code of all: that of the first must count.
    """
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: asked.append(number))
    adopt_orphans()
    child = subprocess.Popen(
        sys.argv[1:] if argv is None else argv,
        close_fds=False,
        preexec_fn=_end_with_parent,  # noqa: PLW1509 (there is one thread)
    )
    while not asked and child.poll() is None:
        with suppress(subprocess.TimeoutExpired):
            child.wait(timeout=0.5)
    if asked:
        child.terminate()
        try:
            child.wait(timeout=GRACE_S)
        except subprocess.TimeoutExpired:
            child.kill()
    code = child.wait()
    end_the_rest()
    if asked:
        return 1
    return code if code >= 0 else 128 - code


def adopt_orphans() -> None:
    """Become the parent of every process below this one whose own parent dies."""
    _LIBC.prctl(_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_with_parent() -> None:
    _LIBC.prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)


def end_the_rest(told: int | None = None) -> None:
    """End the children that are left; `told` is a group that was asked to end already, and only gets the time."""
    began = time.monotonic()
    asked: set[int] = set()
    # Even SIGKILL does not end a process that waits for a dead file system.
    while _is_any_left() and time.monotonic() < began + 2 * GRACE_S:
        late = time.monotonic() > began + GRACE_S
        for pid in _children():
            with suppress(ProcessLookupError):
                if late:
                    os.kill(pid, signal.SIGKILL)
                elif pid not in asked and os.getpgid(pid) != told:
                    os.kill(pid, signal.SIGTERM)
                asked.add(pid)
        time.sleep(0.05)


def _is_any_left() -> bool:
    """Bury the children that have ended, and tell whether there are others."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue
    except ChildProcessError:
        return False
    return True


def _children() -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The name comes before, in brackets, and may hold blanks and brackets.
            parent = stat.read_text(errors="replace").rpartition(")")[2].split()[1]
            if int(parent) == os.getpid():
                found.append(int(stat.parent.name))
    return found


if __name__ == "__main__":
    sys.exit(main())
