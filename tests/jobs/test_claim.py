"""Claiming an attempt: once, atomically, with a lock that lives as long as the job."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tuneloop.documents.locks import is_held


def claim(folder: Path, *command: str, token: str = "t", wait: bool = True) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "tuneloop.jobs.claim", "--attempts", "a", "--log", "log-{id}", "--digest", "d", "--"]
    environment = os.environ | {"TUNELOOP_TOKEN": token, "TUNELOOP_ID": f"{token}_0"}
    child = subprocess.Popen([*argv, *command], cwd=folder, env=environment, stderr=subprocess.DEVNULL)
    if wait:
        child.wait(timeout=20)
    return child


def until(true: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


def test_facts_are_written_and_output_is_logged(tmp_path: Path) -> None:
    child = claim(tmp_path, "bash", "-c", "echo hi; echo $TUNELOOP_DIGEST; touch $TUNELOOP_ATTEMPT/made; exit 3")
    assert child.returncode == 3
    attempt = tmp_path / "a" / "t.0"
    assert (tmp_path / "log-t_0").read_text() == "hi\nd\n"
    assert (attempt / "made").exists()
    assert json.loads((attempt / "start.json").read_text())["digest"] == "d"
    assert json.loads((attempt / "exit.json").read_text())["code"] == 3
    assert json.loads((attempt / "usage.json").read_text())["wall_s"] > 0


def test_second_copy_ends_at_once(tmp_path: Path) -> None:
    claim(tmp_path, "true")
    second = claim(tmp_path, "touch", "ran-twice")
    assert second.returncode == 4
    assert not (tmp_path / "ran-twice").exists()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["t.0"]


def test_many_copies_run_once(tmp_path: Path) -> None:
    command = ("bash", "-c", "echo x >> ran; sleep 0.3")
    children = [claim(tmp_path, *command, wait=False) for _ in range(8)]
    codes = sorted(child.wait(timeout=30) for child in children)
    assert codes == [0, 4, 4, 4, 4, 4, 4, 4]
    assert (tmp_path / "ran").read_text() == "x\n"


def test_lock_lives_as_long_as_the_job(tmp_path: Path) -> None:
    child = claim(tmp_path, "sleep", "1.5", wait=False)
    lock = tmp_path / "a" / "t.0" / "lock"
    until((tmp_path / "a" / "t.0" / "group.json").exists)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert is_held(lock), "the job outlives the process that claimed"
    until(lambda: not is_held(lock))
    assert not (tmp_path / "a" / "t.0" / "exit.json").exists()


def test_asked_to_end_it_ends_the_whole_job(tmp_path: Path) -> None:
    child = claim(tmp_path, "bash", "-c", "sleep 60; true", wait=False)
    until((tmp_path / "a" / "t.0" / "group.json").exists)
    os.kill(child.pid, signal.SIGTERM)
    assert child.wait(timeout=20) == 143
    assert json.loads((tmp_path / "a" / "t.0" / "exit.json").read_text())["code"] == 143
    assert not is_held(tmp_path / "a" / "t.0" / "lock")
