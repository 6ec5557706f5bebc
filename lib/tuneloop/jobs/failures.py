"""Failures: what a job's log said last, with its likely cause and the repair (`jobs/causes.py`)."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tuneloop.documents.shell import typed
from tuneloop.experiment.layout import Layout
from tuneloop.experiment.work import JobKey, JobSpec, State, evaluation_of
from tuneloop.jobs.board import Board
from tuneloop.jobs.causes import Evidence, likely_cause, out_of_memory
from tuneloop.jobs.facts import progress
from tuneloop.jobs.state import JobStatus

_READ = 64 * 1024  # bytes of a log's end; a progress bar can make it megabytes long
_SHOWN = 5  # lines
_ASKED = re.compile(r"^#SBATCH --mem=(\d+)M$", re.MULTILINE)  # as experiment/script.py writes it


class _Memory(NamedTuple):
    mb: float
    own: bool  # the job's alone


@dataclass(frozen=True)
class Failure:
    key: JobKey
    state: State
    reason: str
    log: Path | None
    last_lines: tuple[str, ...]
    cause: str | None
    hint: str | None
    out_of_memory: bool = False


def failures(layout: Layout, board: Board) -> list[Failure]:
    """Return what failed or was lost, with the last lines of its log and the likely cause."""
    return [_failure(layout, board, status) for status in board.states.values() if status.state in ("failed", "lost")]


def output_of(layout: Layout, spec: JobSpec, status: JobStatus) -> Path | None:
    """Return where it stands what a job printed last, None before it began.

    What goes wrong on a cluster before the script claims its attempt, as in the site's own set-up, is printed
    beside the submission.
    """
    if status.token and status.native and (status.last is None or status.last.token != status.token):
        early = layout.submission_output(status.token, status.native.task)
        if early.is_file() and early.stat().st_size:
            return early
    return None if status.last is None else layout.folder / spec.log.replace("*", status.last.id)


def _failure(layout: Layout, board: Board, status: JobStatus) -> Failure:
    spec = board.spec(status.key)
    log = output_of(layout, spec, status)
    lines = _last_lines(log)
    evidence = _evidence(spec, status, lines, _memory(layout, board, spec, status))
    cause, hint = likely_cause(evidence)
    if hint is not None:
        hint = re.sub(r"\bEXP\b", lambda _: typed(layout.folder), hint)
        hint = re.sub(r"\bRUN\b", lambda _: spec.run or "", hint)
    found = log if log is not None and log.is_file() else None
    return Failure(
        status.key,
        status.state,
        status.reason,
        found,
        tuple(lines[-_SHOWN:]),
        cause,
        hint,
        out_of_memory=out_of_memory(evidence),
    )


def _evidence(spec: JobSpec, status: JobStatus, lines: list[str], memory: _Memory) -> Evidence:
    last = status.last
    return Evidence(
        text="\n".join([*lines, status.reason]),
        evaluates=evaluation_of(spec.key) is not None,
        code=None if last is None else last.code,
        nonfinite=last is not None and "nonfinite" in (progress(last) or {}),
        peak_mb=None if last is None or last.usage is None else last.usage.peak_memory_mb,
        memory_mb=memory.mb,
        own_memory=memory.own,
    )


def _memory(layout: Layout, board: Board, spec: JobSpec, status: JobStatus) -> _Memory:
    """Return what a job could fill: on a scheduler what it asked for, else this machine's memory.

    What was asked stands in what was handed over: the profile may say something else by now.
    """
    if board.native(status) is None:
        return _Memory(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**20, own=False)
    script = layout.submissions / f"{status.token}.slurm"
    asked = _ASKED.search(script.read_text(errors="replace")) if script.is_file() else None
    return _Memory(float(asked[1]) if asked else float(spec.shape.memory_mb), own=True)


def _last_lines(log: Path | None) -> list[str]:
    if log is None or not log.is_file():
        return []
    with log.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - _READ))
        text = file.read().decode(errors="replace")
    # A progress bar draws itself anew after each carriage return.
    return text.replace("\r", "\n").rstrip().splitlines()
