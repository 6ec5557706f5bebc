"""`logs`: what jobs printed, for people; following ends with the job, and ending a follower ends nothing."""

import sys
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuneloop.cli.output import All, Folder, Json, note, say, table, write_json
from tuneloop.documents.errors import InputError
from tuneloop.documents.shell import typed

if TYPE_CHECKING:
    from tuneloop.experiment.read import Experiment
    from tuneloop.jobs.board import Board
    from tuneloop.jobs.state import JobStatus

_POLL_S = 0.3
_SHOWN_S = 2.0  # between two looks at a progress bar


def register(app: typer.Typer) -> None:
    app.command("logs")(logs)


def logs(
    folder: Folder,
    job: Annotated[
        str | None, typer.Argument(metavar="[JOB]", help="A job's key, or a part that only one has; a list without it.")
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the job has ended.")] = False,
    lines: Annotated[int, typer.Option("--lines", min=1, help="How many of the last lines.")] = 50,
    as_json: Json = False,
    everything: All = False,
) -> None:
    """Show what a job printed in its latest attempt, or which logs there are. Changes no job.

    \b
    Example:
      tuneloop logs runs/demo collect --lines 20
    """
    from tuneloop.experiment.read import read_experiment
    from tuneloop.jobs.board import read_board
    from tuneloop.loop.logs import find_job, last_lines, log_of
    from tuneloop.loop.orders import Crew

    if follow and (as_json or job is None):
        hint = f"`tuneloop logs {typed(folder)} JOB -f`"
        raise InputError("following goes with a job, and without --json", hint=hint)
    experiment = read_experiment(folder)
    fleet = Crew(experiment).fleet()
    board = read_board(experiment, fleet)
    if job is None:
        _list(experiment, board, as_json=as_json, everything=everything)
        return
    status = find_job(experiment.layout, board, job)
    log = log_of(experiment.layout, board, status)
    if follow:
        _follow(folder, status, lines)
        return
    shown = last_lines(log, lines)
    if as_json:
        data = {"schema": "tuneloop.log/1", "key": status.key, "state": status.state, "log": log, "lines": shown}
        write_json(data, whole=everything)
        return
    if log is None or not log.is_file():
        why = f" ({status.reason})" if status.reason else ""
        note(f"{status.key} is {status.state}{why} and has printed nothing")
    for line in shown:
        say(line)


def _list(experiment: "Experiment", board: "Board", *, as_json: bool, everything: bool) -> None:
    from tuneloop.loop.logs import event_logs, log_of

    layout = experiment.layout
    jobs: list[dict[str, Any]] = []
    for key, status in board.states.items():
        log = log_of(layout, board, status)
        if log is not None and log.is_file():
            jobs.append({"key": key, "state": status.state, "log": str(log), "bytes": log.stat().st_size})
    events = [str(path) for path in event_logs(layout)]
    if as_json:
        write_json({"schema": "tuneloop.logs/1", "jobs": jobs, "events": events}, whole=everything)
        return
    if jobs:
        rows = [[item["key"], item["state"], layout.relative(Path(item["log"]))] for item in jobs]
        say(table(["job", "state", "log"], rows))
    else:
        say("no job has printed anything yet")
    if events:
        say(f"\nevents: {', '.join(Path(path).name for path in events)}")


def _follow(folder: Path, status: "JobStatus", lines: int) -> None:
    """Print the last lines, then what comes, until the job is no longer going; a new attempt is followed too."""
    from tuneloop.experiment.read import read_experiment
    from tuneloop.jobs.board import read_board
    from tuneloop.jobs.facts import Facts
    from tuneloop.jobs.state import GOING
    from tuneloop.loop.logs import Tail, log_of
    from tuneloop.loop.orders import Crew

    experiment = read_experiment(folder)
    fleet, facts = Crew(experiment).fleet(), Facts(experiment.layout)
    tail: Tail | None = None
    bar = _Bar()
    while True:
        board = read_board(experiment, fleet, facts)
        now = board.states[status.key]
        log = log_of(experiment.layout, board, now)
        if log is not None and (tail is None or tail.log != log):
            first, tail = tail is None, Tail(log, near_end=True)
            for line in deque(tail.new(), maxlen=lines if first else None):
                say(line)
        ended = now.state not in GOING
        for line in tail.new(end=ended) if tail else []:
            say(line)
        sys.stdout.flush()
        if ended:
            note(f"{now.key} {now.state}" + (f": {now.reason}" if now.reason else ""))
            return
        if tail:
            bar.show(tail.drawn)
        time.sleep(_POLL_S)


class _Bar:
    """Tells on stderr what an unfinished line shows: a progress bar ends its line only when it is full."""

    def __init__(self) -> None:
        self.told, self.at = "", 0.0

    def show(self, drawn: str) -> None:
        if drawn and drawn != self.told and time.monotonic() - self.at >= _SHOWN_S:
            note(drawn)
            self.told, self.at = drawn, time.monotonic()
