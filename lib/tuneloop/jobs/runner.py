"""The local runner: one detached process per experiment that starts what may start, until nothing is left.

`python -m tuneloop.jobs.runner EXPERIMENT SLOTS`. It keeps nothing that it could not read again: killed at any
point, the next runner goes on from the journal and the facts. Jobs that outlived their runner are seen through
their locks and waited for.
"""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tuneloop.documents.errors import BusyError, InputError, TuneloopError
from tuneloop.documents.locks import exclusive
from tuneloop.documents.logs import EventLog, timestamp, timestamp_ms
from tuneloop.experiment.layout import Layout
from tuneloop.experiment.read import Experiment, read_experiment
from tuneloop.experiment.work import JobKey, JobSpec, evaluation_of, log_name
from tuneloop.jobs.board import Board, read_board
from tuneloop.jobs.claim import record_unclaimed
from tuneloop.jobs.executors.fleet import fleet_of
from tuneloop.jobs.executors.local import clean_environment, gpu_count
from tuneloop.jobs.facts import Facts
from tuneloop.jobs.going import remember_going
from tuneloop.jobs.state import ENDED, JobStatus
from tuneloop.jobs.submit import cancel
from tuneloop.jobs.tables import counts, refresh_status

_POLL_S = 0.1
_POLL_MOST_S = 1.0  # when nothing changes
_HANDOVER_S = 5.0  # a runner about to end may have missed the newest submission; its successor waits for the lock


def main() -> int:
    layout = Layout(Path(sys.argv[1]).resolve())
    try:
        with exclusive(layout.runner_lock, wait=_HANDOVER_S, busy="another runner runs this experiment"):
            Runner(layout, int(sys.argv[2])).run()
    except BusyError:
        return 0
    except TuneloopError as error:
        sys.stderr.write(f"{timestamp()} error: {error}\n")
        return error.exit_code
    return 0


@dataclass(frozen=True)
class _Child:
    process: subprocess.Popen[bytes]
    gpus: str  # with commas between
    attempts: Path
    digest: str
    start: Mapping[str, object]


class Runner:
    def __init__(self, layout: Layout, slots: int) -> None:
        self.layout, self.slots = layout, slots
        self.fleet = fleet_of(layout)
        self.gpus = _devices()
        self.facts = Facts(layout)
        self.experiment = read_experiment(layout.folder)
        self.complaint = ""
        self.children: dict[JobKey, _Child] = {}
        self.told: dict[JobKey, str] = {}
        self.asked: set[Path] = set()  # attempts that were asked to end

    def run(self) -> None:
        """Start jobs until none is waiting, queued or running."""
        pause = _POLL_S
        while True:
            self._reap()
            board = read_board(self._experiment(), self.fleet, self.facts)
            self._cancel(board)
            started = self._start(board)
            changed = self._tell(board)  # may wait for a person's editor
            if not board.going and not self.children:
                return
            pause = _POLL_S if changed or started else min(pause * 1.5, _POLL_MOST_S)
            self._sleep(pause)

    def _reap(self) -> None:
        """Forget children that ended. One that never claimed is put on record, or it would start for ever."""
        for key, child in list(self.children.items()):
            code = child.process.poll()
            if code is not None:
                start = {"id": child.start["token"], "digest": child.digest, "time": timestamp_ms(), "pid": 0}
                record_unclaimed(child.attempts, {**start, **child.start}, code)
                del self.children[key]

    def _cancel(self, board: Board) -> None:
        """End what was asked to end after it had begun: its caller may have looked too early, or died."""
        found = [board.states[key] for key in board.intent.cancelled if key in board.states]
        asked = [item for item in found if item.last and item.last.alive and item.last.path not in self.asked]
        cancel([item for item in asked if self._mine(item)], self.fleet)
        self.asked |= {item.last.path for item in asked if item.last}

    def _mine(self, status: JobStatus) -> bool:
        """Tell whether a job was handed to this runner, and not to a scheduler."""
        return status.native is None or not self.fleet.scheduled([status.native.cluster])

    def _experiment(self) -> Experiment:
        """Read the design again; while a person is in the middle of an edit, the last good one holds."""
        try:
            self.experiment = read_experiment(self.layout.folder)
        except InputError as error:
            self._complain(f"going on with the design as it was: {error}")
        return self.experiment

    def _complain(self, text: str) -> None:
        if text != self.complaint:
            sys.stderr.write(f"{timestamp()} {text}\n")
        self.complaint = text

    def _sleep(self, seconds: float) -> None:
        """Sleep, but not beyond the end of a child: a free slot should not wait for the clock."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if any(child.process.poll() is not None for child in self.children.values()):
                return
            time.sleep(0.05)

    def _start(self, board: Board) -> bool:
        running = {key for key, status in board.states.items() if status.state == "running" and self._mine(status)}
        running |= set(self.children)
        mine = [spec for spec in board.specs if self._mine(board.states[spec.key])]
        ready = [spec for spec in mine if board.states[spec.key].state == "queued" and spec.key not in running]
        # Evaluations first: they are short, and a first score says more than one more training under way.
        ready.sort(key=lambda spec: evaluation_of(spec.key) is None)
        free = max(0, self.slots - len(running))
        started = 0
        for spec in ready[:free]:
            devices = self._devices_for(spec, board)
            if devices is not None:
                self._launch(spec, board, devices)
                started += 1
        return bool(started)

    def _devices_for(self, spec: JobSpec, board: Board) -> list[str] | None:
        """Return the GPUs for a job, none on a machine without; None while those that it wants are in use."""
        taken = self._taken(board)
        free = [device for device in self.gpus if device not in taken]
        wanted = max(spec.shape.gpus, 1)
        return free[:wanted] if len(free) >= spec.shape.gpus else None

    def _launch(self, spec: JobSpec, board: Board, devices: Sequence[str]) -> None:
        script, status = self.layout.folder / spec.script, board.states[spec.key]
        restart = len([attempt for attempt in status.attempts if attempt.token == status.token])
        environment = clean_environment() | {
            "TUNELOOP_TOKEN": status.token or "",
            "TUNELOOP_ID": f"{status.token}_{status.index}",
            "TUNELOOP_RESTART": str(restart),
            "TUNELOOP_CPUS": str(spec.shape.cpus),
        }
        gpus = ",".join(devices)
        if gpus:
            environment["CUDA_VISIBLE_DEVICES"] = gpus
        process = subprocess.Popen(
            ["bash", script.name], cwd=script.parent, env=environment, stdin=subprocess.DEVNULL, process_group=0
        )
        start = {"token": status.token, "restart": restart}
        self.children[spec.key] = _Child(process, gpus, self.layout.folder / spec.attempts, spec.digest, start)

    def _taken(self, board: Board) -> set[str]:
        """Return the GPUs in use, also by jobs that an earlier runner started."""
        given = [item.gpu or "" for status in board.states.values() for item in status.attempts if item.alive]
        given += [child.gpus for child in self.children.values()]
        return {device for devices in given for device in devices.split(",") if device}

    def _tell(self, board: Board) -> bool:
        """Write what changed into the logs and the status tables."""
        now = {key: _news(status) for key, status in board.states.items()}
        news = {key: text for key, text in now.items() if self.told.get(key) != text}
        if not news:
            return False
        self._log(board, news)
        self.told = now
        remember_going(self.layout, board)
        try:
            refresh_status(self.layout, board)
        except TuneloopError as error:
            # A table that cannot be written, say while a person edits around it, must not stop the jobs.
            self._complain(f"the status tables stay as they are: {error}")
        return True

    def _log(self, board: Board, news: Mapping[JobKey, str]) -> None:
        workers = {spec.key: spec.worker for spec in board.specs}
        orchestration = EventLog(self.layout.folder, "run-experiment")
        for key, text in news.items():
            # The first round of a runner repeats what is long known.
            if not self.told and text.split()[0] not in ("queued", "running"):
                continue
            EventLog(self.layout.folder, log_name(key, workers[key])).event(f"{key} {text}")
        if any(text.split()[0] in ENDED for text in news.values()):
            orchestration.event(", ".join(f"{number} {state}" for state, number in counts(board.states).items()))


def _news(status: JobStatus) -> str:
    # What a waiting job waits for changes with every other job.
    return status.state if status.state == "waiting" else f"{status.state} {status.reason}".strip()


def _devices() -> list[str]:
    """Return the names of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES takes them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else map(str, range(gpu_count()))
    return [name.strip() for name in names][: gpu_count()]


if __name__ == "__main__":
    sys.exit(main())
