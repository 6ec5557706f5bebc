"""Locks that the kernel drops when their holder dies."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tuneloop.documents.errors import BusyError
from tuneloop.documents.locks import exclusive, is_held

_HOLD = """
import subprocess, sys, time
from pathlib import Path
from tuneloop.documents.locks import exclusive, hold_for_life
path = Path(sys.argv[1])
if sys.argv[2] == "command":
    with exclusive(path, wait=5, busy="busy"):
        print("held", flush=True)
        time.sleep(60)
hold_for_life(path)
if sys.argv[2] == "parent":
    child = subprocess.Popen(["sleep", "60"], close_fds=False, stdout=subprocess.DEVNULL)
    print(child.pid, flush=True)
else:
    print("held", flush=True)
time.sleep(60)
"""


def start(path: Path, kind: str) -> tuple[subprocess.Popen[str], str]:
    holder = subprocess.Popen([sys.executable, "-c", _HOLD, str(path), kind], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    said = holder.stdout.readline().strip()
    holder.stdout.close()
    return holder, said


def kill(holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()


@pytest.mark.parametrize("kind", ["command", "job"])
def test_kernel_drops_the_lock_of_the_killed(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "lock"
    holder, _ = start(path, kind)
    assert is_held(path)
    kill(holder)
    assert not is_held(path)


def test_children_inherit_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder, child = start(path, "parent")
    kill(holder)
    assert is_held(path)
    os.kill(int(child), signal.SIGKILL)
    end = time.monotonic() + 5
    while is_held(path):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_held_lock_is_busy_with_its_words(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder, _ = start(path, "command")
    began = time.monotonic()
    with pytest.raises(BusyError) as caught, exclusive(path, wait=0.1, busy="the journal is held", hint="wait"):
        pass
    assert str(caught.value) == f"{path}: the journal is held\n  hint: wait"
    assert caught.value.exit_code == 4
    assert time.monotonic() - began < 2
    kill(holder)
    with exclusive(path, wait=0.1, busy="busy"):
        assert is_held(path)
    assert not is_held(path)


def test_asking_writes_nothing(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "lock")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "lock").write_text("")
    before = (tmp_path / "lock").stat()
    assert not is_held(tmp_path / "lock")
    assert (tmp_path / "lock").stat().st_mtime_ns == before.st_mtime_ns
