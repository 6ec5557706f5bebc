"""What an experiment, or all of them, are doing: reads, and changes no job."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from tuneloop.documents.config import load
from tuneloop.documents.errors import TuneloopError
from tuneloop.documents.logs import duration, utc
from tuneloop.experiment.layout import SUMMARY
from tuneloop.experiment.read import Experiment, read_experiment
from tuneloop.experiment.work import State, Usage
from tuneloop.jobs.answers import News
from tuneloop.jobs.board import Board, read_board
from tuneloop.jobs.executors.fleet import Fleet
from tuneloop.jobs.facts import progress
from tuneloop.jobs.native import Native
from tuneloop.jobs.state import JobStatus
from tuneloop.jobs.tables import counts
from tuneloop.loop.orders import Crew

_DEEPEST = 4  # folders below the root that are searched for experiments
_SKIPPED = {".venv", "node_modules", ".git", ".tuneloop", "__pycache__"}


def job_data(status: JobStatus, native: Native | None = None) -> dict[str, Any]:
    """Return what is told of a job; `native` is what its scheduler calls it."""
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
        "cluster": native.cluster if native else None,
        "native": native.name if native else None,
        "host": last.host or None if last else None,
        "usage": _usage(last.usage if last else None),
    }


def status_data(experiment: Experiment, board: Board, fleet: Fleet) -> dict[str, Any]:
    return {
        "schema": "tuneloop.status/1",
        "experiment": str(experiment.layout.folder),
        "name": experiment.design.name,
        "runs": len(experiment.runs),
        "counts": counts(board.states),
        "unhanded": board.unhanded,
        "runner": runner(board, fleet),
        "clusters": [
            {
                "name": name,
                "answered": None if news.taken is None else utc(news.taken),
                "silent": news.silent or None,
                "unfetched": news.unfetched or None,
            }
            for name, news in fleet.news(board.watched).items()
        ],
        "report": str(experiment.layout.report) if experiment.layout.report.is_file() else None,
        "jobs": [job_data(status, board.native(status)) for status in board.states.values()],
    }


def runner(board: Board, fleet: Fleet) -> str | None:
    """Return whether the local runner is `running` or `stopped`; None where all that goes is on clusters."""
    local = set(board.clusters) - fleet.scheduled(board.clusters)
    if not local:
        return None
    return "running" if fleet.alive(local) else "stopped"


def who_runs(board: Board, fleet: Fleet, now: float) -> list[str]:
    """Return who has the jobs, in plain words; `now` is in seconds since 1970."""
    here = runner(board, fleet)
    words = [] if here is None else [f"the runner is {'running' if here == 'running' else 'not running'}"]
    return words + [heard(name, news, now) for name, news in fleet.news(board.watched).items()]


def heard(cluster: str, news: News, now: float) -> str:
    """Return how good the last answer of a cluster is: `dev answered 12 s ago`."""
    if not news.silent and news.taken is not None:
        unfetched = f"; what its jobs made cannot be fetched: {news.unfetched}" if news.unfetched else ""
        return f"{cluster} answered {ago(now - news.taken)}{unfetched}"
    since = " yet" if news.taken is None else f" since {utc(news.taken)}"
    return f"no answer from {cluster}{since}" + (f" ({news.silent})" if news.silent else "")


def ago(seconds: float) -> str:
    """Return how long ago something was; clocks of two machines may differ."""
    return "just now" if seconds < 1 else f"{duration(seconds)} ago"


class Listed(NamedTuple):
    """One experiment among all."""

    folder: Path
    name: str | None = None
    counts: Mapping[State, int] = MappingProxyType({})  # jobs by state
    error: str | None = None  # what keeps it from being read


def list_experiments(start: Path) -> Iterator[Listed]:
    """Yield every experiment under the configured root; one that cannot be read hides no other."""
    for folder in sorted(_folders(load(start).root)):
        try:
            experiment = read_experiment(folder)
            board = read_board(experiment, Crew(experiment).fleet())
        except TuneloopError as error:
            yield Listed(folder, error=error.problems[0].message)
        else:
            yield Listed(folder, experiment.design.name, counts(board.states))


def _folders(root: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(root):
        here = Path(place)
        if SUMMARY in files:
            yield here
            folders.clear()
        depth = len(here.relative_to(root).parts)
        folders[:] = [] if depth >= _DEEPEST else [name for name in folders if name not in _SKIPPED]


def _usage(used: Usage | None) -> dict[str, Any] | None:
    if used is None:
        return None
    return asdict(used) | {"cpu_use": None if used.cpu_use is None else round(used.cpu_use, 3)}


def _progress(live: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if live is None:
        return None
    return {key: live.get(key) for key in ("step", "steps", "loss")}
