"""Failures: what a job's log said last, what that usually means, and the repair."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tuneloop.experiment.layout import Layout
from tuneloop.experiment.work import JobKey, JobSpec, State
from tuneloop.jobs.board import Board
from tuneloop.jobs.state import JobStatus

_READ = 64 * 1024  # bytes of a log's end; a progress bar can make it megabytes long
_SHOWN = 5  # lines

# What a log says, what it usually means, the repair. The first that fits wins.
_CAUSES = [
    (
        r"CUDA out of memory|OutOfMemoryError|DefaultCPUAllocator: can't allocate memory|MemoryError",
        "out of memory",
        "halve `batch_size` and double `gradient_accumulation`: the effective batch stays the same",
    ),
    (r"No space left on device|Disk quota exceeded", "the disk is full", "free some space, then `tuneloop retry`"),
    (
        r"ModuleNotFoundError: No module named '([\w.]+)'",
        "the work environment lacks a package",
        "install it there; `python:` of the cluster profile names the environment",
    ),
    (r"has changed since (the run|it) was scaffolded", "an input has changed", "scaffold again to see what changed"),
    (r"(?i)not finite|loss: ?(nan|inf)|\"nonfinite\"", "the loss is not a number", "lower `lr` or add `warmup_steps`"),
    (r"size mismatch for|shape mismatch", "weights and model do not fit", "check `model` and `lora_rank`"),
    (r"FileNotFoundError|No such file or directory", "a file is missing", "check the paths of the design"),
]


@dataclass(frozen=True)
class Failure:
    key: JobKey
    state: State
    reason: str
    log: Path | None
    last_lines: tuple[str, ...]
    cause: str | None
    hint: str | None


def failures(layout: Layout, board: Board) -> list[Failure]:
    """Return what failed or was lost, with the last lines of its log and the likely cause."""
    return [
        _failure(layout, board.spec(key), status)
        for key, status in board.states.items()
        if status.state in ("failed", "lost")
    ]


def likely_cause(lines: Sequence[str], reason: str) -> tuple[str | None, str | None]:
    """Return the cause and its repair, or None for both where the log says nothing known."""
    if reason == "killed":
        return "something killed it: a person, or the kernel when memory ran out", "`dmesg` names the kernel's victims"
    text = "\n".join([*lines, reason])
    for pattern, cause, hint in _CAUSES:
        if re.search(pattern, text):
            return cause, hint
    return None, None


def _failure(layout: Layout, spec: JobSpec, status: JobStatus) -> Failure:
    log = None if status.last is None else layout.folder / spec.log.replace("*", status.last.id)
    lines = _last_lines(log)
    cause, hint = likely_cause(lines, status.reason)
    found = log if log is not None and log.is_file() else None
    return Failure(status.key, status.state, status.reason, found, tuple(lines[-_SHOWN:]), cause, hint)


def _last_lines(log: Path | None) -> list[str]:
    if log is None or not log.is_file():
        return []
    with log.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - _READ))
        text = file.read().decode(errors="replace")
    # A progress bar draws itself anew after each carriage return.
    return text.replace("\r", "\n").rstrip().splitlines()
