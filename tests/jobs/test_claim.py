"""Claiming an attempt: once, atomically, with a lock that lives as long as the job."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

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


def test_an_attempt_that_cannot_be_put_on_record_is_not_taken_for_another(tmp_path: Path) -> None:
    (tmp_path / "a.newest").mkdir()  # no file can be written there
    child = claim(tmp_path, "touch", "ran")
    assert child.returncode not in (0, 4)
    assert not (tmp_path / "ran").exists()


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


def usage(folder: Path) -> dict[str, float]:
    return json.loads((folder / "a" / "t.0" / "usage.json").read_text())  # type: ignore[no-any-return]


def nvidia_smi(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a driver's tool on the PATH, and give the job its devices."""
    (folder / "bin").mkdir()
    (folder / "bin" / "nvidia-smi").write_text(f'#!/bin/sh\necho "$*" >>{folder}/asked\n{script}\n')
    (folder / "bin" / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,3")


# Two processes, each with the same bytes twice: of its own and of a file that both have mapped.
TWO = """
import os, mmap, time
shared = mmap.mmap(-1, 40 << 20); shared.write(b"x" * (40 << 20))
os.fork()
own = b"x" * (40 << 20); shared.seek(0); shared.read(); time.sleep(2.5)
"""


def test_memory_is_that_of_all_processes_and_what_they_share_counts_once(tmp_path: Path) -> None:
    claim(tmp_path, sys.executable, "-c", TWO)
    assert 120 <= usage(tmp_path)["peak_memory_mb"] <= 160


def test_gpu_use_is_the_mean_and_gpu_memory_the_peak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(tmp_path, "echo '80, 1000'; echo '40, [N/A]'", monkeypatch)
    claim(tmp_path, "sleep", "2.5")
    used = usage(tmp_path)
    assert (used["gpus"], used["gpu_use"], used["gpu_memory_mb"]) == (2, 0.6, 1000.0)
    assert (tmp_path / "asked").read_text().splitlines() == [
        "--query-gpu=utilization.gpu,memory.used --format=csv,noheader,nounits --id=1,3"
    ]


TROUBLES = ("exec sleep 60", "sleep 60 & echo hm", "exit 9", "kill -9 $$", "yes | head -c 99999")


def test_no_trouble_of_the_driver_reaches_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = []
    for number, trouble in enumerate(TROUBLES):
        folder = tmp_path / str(number)
        folder.mkdir()
        with monkeypatch.context() as patch:
            nvidia_smi(folder, trouble, patch)
            jobs.append((folder, claim(folder, "bash", "-c", "sleep 2.2; exit 3", wait=False)))
    for folder, job in jobs:
        assert job.wait(timeout=20) == 3
        assert (folder / "asked").exists()
        used = usage(folder)
        assert used["gpus"] == 2
        assert "gpu_use" not in used


def test_a_job_without_gpus_asks_for_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(tmp_path, "echo '80, 1000'", monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("TUNELOOP_CPUS", "3")
    claim(tmp_path, "sleep", "1.3")
    used = usage(tmp_path)
    assert (used["gpus"], used["cpus"]) == (0, 3)
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize(
    "command, end",
    [
        ("true", "done"),
        ("exit 3", "failed exit code 3"),
        ("kill -9 $$", "ended by signal 9"),
        (
            """echo '{"ok": false, "reason": "the loss\\nis nan"}' >$TUNELOOP_ATTEMPT/verified.json; exit 1""",
            "failed the loss is nan",
        ),
    ],
)
def test_a_job_tells_its_beginning_and_end_where_it_is_asked_to(
    tmp_path: Path, command: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNELOOP_KEY", "train/a")
    monkeypatch.setenv("TUNELOOP_LOG", str(tmp_path / "run-echo.log"))
    monkeypatch.setenv("TUNELOOP_RESTART", "1")
    claim(tmp_path, "bash", "-c", f'test -z "$TUNELOOP_KEY$TUNELOOP_LOG" || exit 9; {command}')
    lines = [line.split(" ", 1)[1] for line in (tmp_path / "run-echo.log").read_text().splitlines()]
    assert lines == ["run-echo train/a running restart 1", f"run-echo train/a {end}"]


def test_a_log_that_cannot_be_written_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNELOOP_KEY", "train/a")
    monkeypatch.setenv("TUNELOOP_LOG", str(tmp_path / "nowhere" / "run-echo.log"))
    assert claim(tmp_path, "true").returncode == 0


def test_a_restart_that_comes_late_leaves_the_place_to_its_successor(tmp_path: Path) -> None:
    for restart, code in (("2", 0), ("1", 4), ("3", 0)):
        argv = [sys.executable, "-m", "tuneloop.jobs.claim", "--attempts", "a", "--log", "log", "--digest", "d"]
        environment = os.environ | {"TUNELOOP_TOKEN": "t", "TUNELOOP_ID": "t_0", "TUNELOOP_RESTART": restart}
        command = ["touch", f"ran-{restart}"]
        done = subprocess.run([*argv, "--", *command], cwd=tmp_path, env=environment, capture_output=True, check=False)
        assert done.returncode == code, done.stderr
        assert b"Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.glob("ran-*")) == ["ran-2", "ran-3"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["t.2", "t.3"]
