"""Nothing of a job goes on when its script has ended, or its launcher on another node."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import until

# As torchrun starts its workers: in sessions of their own, and without what its own parent passed on.
_LAUNCH = """
import subprocess
from pathlib import Path

worker = subprocess.Popen({worker!r}, start_new_session=True)
Path("pid").write_text(str(worker.pid))
Path("pid").rename("worker")
{then}
"""
SLEEPS = ["sleep", "60"]
DEAF = ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]
KILLED = "import os; os.kill(os.getpid(), 9)"
Starts = Callable[..., subprocess.Popen[bytes]]


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


@pytest.fixture(params=["claim", "orphans"])
def starts(request: pytest.FixtureRequest, tmp_path: Path) -> Starts:
    """Return how a launcher is started: by a job's script, or by srun on a node."""
    claim = ["--attempts", "a", "--log", "log", "--digest", "d", "--"]
    own = [sys.executable, "-m", f"tuneloop.jobs.{request.param}", *(claim if request.param == "claim" else [])]

    def start(worker: list[str], then: str) -> subprocess.Popen[bytes]:
        launch = _LAUNCH.format(worker=worker, then=then)
        environment = os.environ | {"TUNELOOP_TOKEN": "t"}
        child = subprocess.Popen(
            [*own, sys.executable, "-c", launch], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL
        )
        until((tmp_path / "worker").exists)
        return child

    return start


def worker_of(folder: Path) -> int:
    return int((folder / "worker").read_text())


def test_the_workers_of_a_killed_launcher_are_ended(starts: Starts, tmp_path: Path) -> None:
    assert starts(SLEEPS, KILLED).wait(timeout=20) == 137
    assert is_gone(worker_of(tmp_path))


def test_the_workers_of_a_job_that_is_asked_to_end_are_ended(starts: Starts, tmp_path: Path) -> None:
    child = starts(SLEEPS, "worker.wait()")
    child.terminate()
    assert child.wait(timeout=20) == (143 if "tuneloop.jobs.claim" in child.args else 1)
    assert is_gone(worker_of(tmp_path))


def test_a_launcher_may_leave_something_behind_and_its_exit_code_counts(starts: Starts, tmp_path: Path) -> None:
    assert starts(SLEEPS, "raise SystemExit(3)").wait(timeout=20) == 3
    assert is_gone(worker_of(tmp_path))


@pytest.mark.slow
def test_a_worker_that_does_not_listen_is_ended_after_its_time(starts: Starts, tmp_path: Path) -> None:
    assert starts(DEAF, KILLED).wait(timeout=40) == 137
    assert is_gone(worker_of(tmp_path))


def test_what_became_of_a_job_is_written_when_nothing_is_left(tmp_path: Path) -> None:
    """Whoever reads exit.json may start the job anew."""
    launch = _LAUNCH.format(worker=["sh", "-c", "trap 'ls a/t.0 > seen; exit' TERM; sleep 60 & wait"], then=KILLED)
    argv = [sys.executable, "-m", "tuneloop.jobs.claim", "--attempts", "a", "--log", "log", "--digest", "d", "--"]
    launch = launch.replace(KILLED, f"import time; time.sleep(0.5); {KILLED}")
    environment = os.environ | {"TUNELOOP_TOKEN": "t"}
    subprocess.run([*argv, sys.executable, "-c", launch], cwd=tmp_path, env=environment, check=False)
    assert "group.json" in (tmp_path / "seen").read_text()
    assert "exit.json" not in (tmp_path / "seen").read_text()
    assert json.loads((tmp_path / "a" / "t.0" / "exit.json").read_text())["code"] == 137


def test_a_launcher_ends_with_the_one_who_looks_after_it(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "tuneloop.jobs.orphans", "sh", "-c", "echo $$ > pid; mv pid worker; exec sleep 60"]
    child = subprocess.Popen(argv, cwd=tmp_path)
    until((tmp_path / "worker").exists)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    until(lambda: is_gone(worker_of(tmp_path)))
