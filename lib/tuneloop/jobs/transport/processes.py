"""One program, run to its end or killed: with a clean environment, its output kept apart, and a limit of time."""

import os
import re
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import NamedTuple

from tuneloop.documents.errors import InputError
from tuneloop.documents.shell import quote

NOTHING: Mapping[str, str] = MappingProxyType({})

# What a scheduler's tools, a job or a worker take from the environment without being asked: it would override the
# `#SBATCH` lines, turn a format round, or hand one attempt's identity to another.
LEAKS = (
    *(f"{tool}_" for tool in ("SBATCH", "SACCT", "SCANCEL", "SCONTROL", "SINFO", "SLURM", "SQUEUE")),
    *("TUNELOOP_", "INSPECT_", "RSYNC_"),
    "CUDA_VISIBLE_DEVICES",
)
KEPT = "SLURM_CONF"
# `standard` is what the answers are read as: 2026-01-31T23:59:59.
FIXED: Mapping[str, str] = MappingProxyType({"LC_ALL": "C", "SLURM_TIME_FORMAT": "standard"})

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class Called(NamedTuple):
    """A command that ended. `code` is what a shell calls `$?`; bytes that are not UTF-8 are replaced in the texts."""

    code: int
    out: str
    err: str


class Ended(NamedTuple):
    """A process that ended; `code` is negative for the signal that ended it."""

    code: int
    out: bytes
    err: bytes


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what would leak into a scheduler's tools, with what they need."""
    kept = {name: value for name, value in os.environ.items() if name == KEPT or not name.startswith(LEAKS)}
    return {**kept, **FIXED}


def checked(words: Iterable[str], environment: Mapping[str, str] = NOTHING) -> None:
    """Raise InputError for a word, a name or a value that one of the transports could not carry unchanged."""
    for name in environment:
        if not _VARIABLE.match(name):
            raise InputError(f"{name!r} is not the name of a variable", hint="use letters, digits and `_`")
    for word in (*words, *environment.values()):
        quote(word)
        encoded(word)


def encoded(text: str) -> bytes:
    """Return the bytes that a path or a text stands for. Raises InputError for half of a letter."""
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError as error:
        raise InputError(f"{text[error.start]!r} is not a letter of UTF-8 and cannot be sent") from None


def decoded(data: bytes) -> str:
    return data.decode(errors="replace")


def run(
    argv: Sequence[str], *, stdin: bytes = b"", timeout: float | None = None, environment: Mapping[str, str]
) -> Ended:
    """Run a program to its end. Raises TimeoutError after `timeout` seconds, OSError when it cannot be started.

    Whatever ends the call early ends the program and its children.
    """
    # Memory, not pipes: a pipe is at its end when nobody holds it any more, and an ssh that goes into the background
    # keeps what it was given (https://bugzilla.mindrot.org/show_bug.cgi?id=1988).
    with os.fdopen(os.memfd_create("out"), "rb") as out, os.fdopen(os.memfd_create("err"), "rb") as err:
        with subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=out, stderr=err, env=environment, start_new_session=True
        ) as process:
            try:
                process.communicate(stdin, timeout)
            except BaseException as error:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                if isinstance(error, subprocess.TimeoutExpired):
                    raise TimeoutError from None
                raise
        out.seek(0)
        err.seek(0)
        return Ended(process.returncode, out.read(), err.read())
