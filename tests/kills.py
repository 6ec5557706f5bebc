"""Killing processes of a pass: one victim at once, random ones at random times, or a command at a journal event."""

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from lab import as_json, cli, command, kill, kill_session, live_attempts, plan_id, run, runner_pid, states

VICTIMS = ["follower", "runner", "session", "job"]
# The command under test imports this at start: it dies at the n-th journal event, before or after writing it.
_SITE = """
import os, signal, sys
if "KILL_AT" in os.environ and "-m" in sys.orig_argv and "tuneloop" in sys.orig_argv:
    from tuneloop.jobs import journal
    write, count = journal.Writer.append, [0]
    number, when = os.environ["KILL_AT"].split()
    def append(self, kind, **data):
        count[0] += 1
        if count[0] == int(number) and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        write(self, kind, **data)
        if count[0] == int(number) and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
    journal.Writer.append = append
"""


def dying(folder: Path, point: str) -> dict[str, str]:
    """Return an environment in which a command dies at a journal event, such as `1 before`; it is made in `folder`."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_SITE)
    return {"KILL_AT": point, "PYTHONPATH": str(folder)}


def kill_job(folder: Path) -> None:
    start = json.loads((live_attempts(folder)[0] / "start.json").read_text())
    kill(start["pid"])


def disturb(folder: Path, victim: str, follower: subprocess.Popen[bytes]) -> None:
    if victim == "follower":
        follower.kill()
    elif victim == "runner":
        kill(runner_pid(folder))
    elif victim == "session":
        kill_session(folder)
    else:
        kill_job(folder)


def disturb_at_random(folder: Path, stream: random.Random, kills: int, longest: float) -> int:
    """Kill random processes of a pass at random times, starting it again after each; return how many were hit."""
    hit = 0
    for _ in range(kills):
        again = plan_id(folder)
        retry = as_json("retry", folder, "--failed", "--dry-run") if again is None else None
        if retry is not None and retry["jobs"]:
            argv = command("retry", folder, "--failed", "--yes", retry["plan"], "--follow")
        else:
            argv = command("run-experiment", folder, *(["--yes", again] if again else []), "--follow")
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as follower:
            time.sleep(stream.uniform(0, longest))
            hit += _disturbed(folder, stream.choice([*VICTIMS, "group"]), follower, stream)
            follower.kill()
    return hit


def _disturbed(folder: Path, victim: str, follower: subprocess.Popen[bytes], stream: random.Random) -> bool:
    """Kill the victim if it lives at this moment; nothing waits for it to."""
    if victim in ("runner", "session") and runner_pid(folder) is None:
        return False
    if victim in ("job", "group"):
        name, key = ("start.json", "pid") if victim == "job" else ("group.json", "group")
        found = [path / name for path in live_attempts(folder) if (path / name).is_file()]
        if not found:
            return False
        with contextlib.suppress(ProcessLookupError):
            # Of a group only the leader: what it started is left to the attempt's lock.
            os.kill(json.loads(stream.choice(found).read_text())[key], signal.SIGKILL)
        return True
    with contextlib.suppress(AssertionError):  # it ended in between
        disturb(folder, victim, follower)
    return True


def finish(folder: Path) -> None:
    """Let the jobs that are left end, whatever was killed."""
    for _ in range(20):
        run(folder, check=False)
        retry = as_json("retry", folder, "--failed", "--dry-run")
        if retry["jobs"]:
            cli("retry", folder, "--failed", "--yes", retry["plan"], "--follow", check=False)
        if set(states(folder).values()) == {"done"}:
            return
    pytest.fail(f"not done: {states(folder)}")
