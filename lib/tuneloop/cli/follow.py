"""Following an experiment: live bars on a terminal, plain lines otherwise. Ending a follower ends nothing."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tuneloop.cli.output import note
from tuneloop.experiment.read import read_experiment
from tuneloop.experiment.work import JobKey
from tuneloop.jobs.answers import News
from tuneloop.jobs.board import Board, read_board
from tuneloop.jobs.facts import Facts, progress
from tuneloop.jobs.state import ENDED, JobStatus
from tuneloop.jobs.tables import counts
from tuneloop.loop.orders import Crew
from tuneloop.loop.run import outcome, refuse_stopped, refuse_unstarted
from tuneloop.loop.status import heard

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

STILL_GOING = 5
_POLL_S = 0.5
_SETTLE_S = 5.0  # a runner needs a moment to take its lock


def follow(folder: Path, timeout: float | None, *, live: bool, quiet: bool = False) -> int:
    """Watch until nothing is going; return 0, 1 or 5 as `wait` does. Raises FailedError when nothing runs the jobs."""
    experiment = read_experiment(folder)
    fleet = Crew(experiment).fleet()
    facts = Facts(experiment.layout)
    began = time.monotonic()
    view = _Bars() if live else _Lines(quiet=quiet)
    silence = _Silence()
    with view:
        while True:
            board = read_board(experiment, fleet, facts)
            view.show(board)
            silence.tell(fleet.news(board.watched), view.say)
            code = outcome(board)
            if code is not None:
                refuse_unstarted(experiment, board)
                return code
            waited = time.monotonic() - began
            if timeout is not None and waited >= timeout:
                return STILL_GOING
            if waited > _SETTLE_S:
                refuse_stopped(experiment, board, fleet)
            time.sleep(_POLL_S)


class _Silence:
    """Tells once when nothing comes from a cluster any more, and when it comes again: what is shown stays meanwhile."""

    def __init__(self) -> None:
        self.told: dict[str, tuple[bool, str]] = {}

    def tell(self, found: Mapping[str, News], say: Callable[[str], None]) -> None:
        for cluster, news in found.items():
            now = bool(news.silent), news.unfetched
            if now != self.told.get(cluster, (False, "")):
                say(heard(cluster, news, time.time()))
                self.told[cluster] = now


class _Lines:
    """One line for every job that ends, and for every that starts."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self.told: dict[JobKey, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def say(self, text: str) -> None:
        if not self.quiet:
            note(text)

    def show(self, board: Board) -> None:
        now = {key: status.state for key, status in board.states.items()}
        if self.told and not self.quiet:
            for key, state in now.items():
                if state != self.told.get(key) and (state == "running" or state in ENDED):
                    reason = board.states[key].reason
                    note(f"{key} {state}" + (f": {reason}" if reason else ""))
        self.told = dict(now)


class _Bars:
    """One bar for the experiment and one for each running job, with its loss, step and time left."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self.progress: Progress = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}"),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        )
        self.whole: TaskID = self.progress.add_task("jobs", total=None, loss="")
        self.bars: dict[JobKey, TaskID] = {}

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def say(self, text: str) -> None:
        self.progress.console.print(text, markup=False, highlight=False)

    def show(self, board: Board) -> None:
        ended = sum(status.state in ENDED for status in board.states.values())
        bad = {state: n for state, n in counts(board.states).items() if state in ENDED and state != "done"}
        words = ", ".join(f"{number} {state}" for state, number in bad.items())
        self.progress.update(self.whole, completed=ended, total=len(board.states), loss=words)
        running = {key: status for key, status in board.states.items() if status.state == "running"}
        for key in set(self.bars) - set(running):
            self.progress.remove_task(self.bars.pop(key))
        for key, status in running.items():
            self._bar(key, status)

    def _bar(self, key: JobKey, status: JobStatus) -> None:
        live: Mapping[str, Any] = (progress(status.last) if status.last else None) or {}
        if key not in self.bars:
            self.bars[key] = self.progress.add_task(f"  {key}", total=None, loss="")
        loss = live.get("loss")
        self.progress.update(
            self.bars[key],
            total=live.get("steps"),
            completed=live.get("step") or 0,
            loss=f"loss {loss:.3f}" if isinstance(loss, int | float) else "",
        )
