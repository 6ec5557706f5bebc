"""What an experiment, or all of them, are doing: reads, and writes nothing."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tuneloop.documents.config import load
from tuneloop.documents.errors import TuneloopError
from tuneloop.experiment.layout import SUMMARY
from tuneloop.experiment.read import Experiment, read_experiment
from tuneloop.jobs.board import Board, read_board
from tuneloop.jobs.facts import progress
from tuneloop.jobs.state import JobStatus
from tuneloop.jobs.tables import counts
from tuneloop.loop.orders import Crew

_DEEPEST = 4  # folders below the root that are searched for experiments
_SKIPPED = {".venv", "node_modules", ".git", ".tuneloop", "__pycache__"}


def job_data(status: JobStatus) -> dict[str, Any]:
    last = status.last
    live = progress(last) if last is not None and status.state == "running" else None
    return {
        "key": status.key,
        "state": status.state,
        "reason": status.reason,
        "attempts": len(status.attempts),
        "started": last.started if last else None,
        "ended": last.ended if last else None,
        "progress": _progress(live),
    }


def status_data(experiment: Experiment, board: Board, *, runner_alive: bool) -> dict[str, Any]:
    return {
        "schema": "tuneloop.status/1",
        "experiment": str(experiment.layout.folder),
        "name": experiment.design.name,
        "runs": len(experiment.runs),
        "counts": counts(board.states),
        "runner": "running" if runner_alive else "stopped",
        "report": str(experiment.layout.report) if experiment.layout.report.is_file() else None,
        "jobs": [job_data(status) for status in board.states.values()],
    }


def find_experiments(start: Path) -> Iterator[tuple[Path, Experiment | TuneloopError]]:
    """Yield every experiment under the configured root, or what is wrong with it."""
    root = load(start).root
    for folder in sorted(_folders(root)):
        try:
            yield folder, read_experiment(folder)
        except TuneloopError as error:
            yield folder, error


def board_counts(experiment: Experiment) -> Mapping[str, int]:
    return {
        str(state): number for state, number in counts(read_board(experiment, Crew(experiment).fleet()).states).items()
    }


def _folders(root: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(root):
        here = Path(place)
        if SUMMARY in files:
            yield here
            folders.clear()
        depth = len(here.relative_to(root).parts)
        folders[:] = [] if depth >= _DEEPEST else [name for name in folders if name not in _SKIPPED]


def _progress(live: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if live is None:
        return None
    return {key: live.get(key) for key in ("step", "steps", "loss")}
