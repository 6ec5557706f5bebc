"""The first act of every job script: claim an attempt, then run the script inside it.

`python -m tuneloop.jobs.claim --attempts DIR --log PATTERN --digest D -- bash SCRIPT`

The attempt's folder appears by one rename, with its lock already held and `start.json` in it; a second copy of
the same attempt finds the name taken and ends with exit code 4, as does a copy that a lost node starts when the job
has been restarted elsewhere (`experiment/fence.py`). The lock is inherited by every process of the
job, so it is free only when all of them are gone. Some tools start workers without it and in sessions of their own,
as torchrun does: those that the script leaves behind are adopted and ended, too. `exit.json` and `usage.json` are
written last; without them and with a free lock the attempt was killed. Starts in about 60 ms: nothing heavy is
imported.
"""

import argparse
import errno
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

from tuneloop.documents.errors import BusyError
from tuneloop.documents.files import create_json
from tuneloop.documents.locks import hold_for_life
from tuneloop.documents.logs import EventLog, timestamp_ms
from tuneloop.experiment.fence import entering
from tuneloop.experiment.standstill import TIME_LIMIT
from tuneloop.jobs.meter import Meter
from tuneloop.jobs.orphans import GRACE_S, adopt_orphans, end_the_rest

TAKEN = 4
UNWRITABLE = 2  # a folder that cannot be written
_SIGNAL = 128  # added to the number of the signal that ended a script
_NAMES = ("TUNELOOP_KEY", "TUNELOOP_LOG")  # what a cluster's wrapper calls the job, and its log


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    token = os.environ.get("TUNELOOP_TOKEN") or f"hand-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}"
    restart = int(os.environ.get("TUNELOOP_RESTART") or os.environ.get("SLURM_RESTART_COUNT") or 0)
    identity = os.environ.get("TUNELOOP_ID") or os.environ.get("SLURM_JOB_ID") or token
    start = {
        "token": token,
        "restart": restart,
        "id": identity,
        "digest": arguments.digest,
        "time": timestamp_ms(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }
    attempts = Path(arguments.attempts).resolve()
    try:
        attempt = claim(attempts, f"{token}.{restart}", start)
    except BusyError as error:
        sys.stderr.write(f"attempt {token}.{restart}: {error}\n")
        return TAKEN
    except OSError as error:
        sys.stderr.write(f"no attempt can be put on record in {attempts}: {error.strerror}\n")
        return UNWRITABLE
    if attempt is None:
        sys.stderr.write(f"attempt {token}.{restart} is already claimed\n")
        return TAKEN
    _redirect(Path(arguments.log.replace("{id}", identity)))
    _tell("running" if restart == 0 else f"running restart {restart}")
    code = run(attempt, arguments.command, arguments.digest)
    _tell(_outcome(attempt, code))
    return code


def claim(attempts: Path, name: str, start: dict[str, object]) -> Path | None:
    """Make the attempt's folder and hold its lock for the life of this process, or return None when it is taken.

    From now on it is the newest attempt at its job. Raises SupersededError where a later restart has begun, BusyError
    where another attempt keeps it from finding out.
    """
    attempts.mkdir(parents=True, exist_ok=True)
    beside = attempts / f".{name}.{os.getpid()}"
    beside.mkdir()
    hold_for_life(beside / "lock")
    (beside / "start.json").write_text(json.dumps(start))
    try:
        with entering(attempts, name):
            # A folder that holds something is never replaced by a rename.
            return beside.rename(attempts / name)
    except BusyError:
        shutil.rmtree(beside)
        raise
    except OSError as error:
        shutil.rmtree(beside, ignore_errors=True)  # it may have its name already
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            return None
        raise


def record_unclaimed(attempts: Path, start: dict[str, object], code: int) -> None:
    """Put an attempt on record whose script ended before it could claim; nothing where it did claim."""
    name = f"{start['token']}.{start['restart']}"
    if (attempts / name).exists():
        return
    beside = attempts / f".{name}.{os.getpid()}"
    beside.mkdir(parents=True)
    create_json(beside / "start.json", start)
    create_json(beside / "exit.json", {"code": code, "time": timestamp_ms(), "signal": None})
    try:
        beside.rename(attempts / name)
    except OSError:
        shutil.rmtree(beside)


def run(attempt: Path, command: Sequence[str], digest: str) -> int:
    """Run the command inside the attempt and write what became of it; return its exit code (128 + n for signal n)."""
    began = time.monotonic()
    environment = os.environ | {"TUNELOOP_ATTEMPT": str(attempt), "TUNELOOP_DIGEST": digest}
    # A job that this one starts must not speak in its name.
    environment = {name: value for name, value in environment.items() if name not in _NAMES}
    meter = Meter(attempt)
    asked, group = _forward_signals()
    adopt_orphans()
    # A group of its own: an asked-for end must reach the tool, which bash would make wait.
    child = subprocess.Popen(command, env=environment, process_group=0, close_fds=False)
    group.append(child.pid)
    create_json(attempt / "group.json", {"group": child.pid})
    if asked:
        _signal_group(child.pid, signal.SIGTERM)
    code = _wait(child, asked, meter)
    meter.end()
    end_the_rest(told=child.pid if asked else None)
    if code < 0:
        code = _SIGNAL - code
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    create_json(
        attempt / "usage.json",
        {
            "wall_s": round(time.monotonic() - began, 3),
            "cpu_s": round(used.ru_utime + used.ru_stime, 3),
            **meter.figures(largest_mb=used.ru_maxrss / 1024),  # Linux counts it in KiB
        },
    )
    create_json(attempt / "exit.json", {"code": code, "time": timestamp_ms(), "signal": asked[-1] if asked else None})
    return code


def _forward_signals() -> tuple[list[int], list[int]]:
    """Pass requests to end on to the whole job; return the lists of what was asked and of whom to tell."""
    asked: list[int] = []
    groups: list[int] = []

    def forward(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        for group in groups:
            _signal_group(group, signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, TIME_LIMIT):
        signal.signal(number, forward)
    return asked, groups


def _wait(child: subprocess.Popen[bytes], asked: list[int], meter: Meter) -> int:
    while not asked:
        try:
            return child.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            meter.look(time.monotonic())
    try:
        return child.wait(timeout=GRACE_S)
    except subprocess.TimeoutExpired:
        _signal_group(child.pid, signal.SIGKILL)
        return child.wait()


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


def _tell(text: str) -> None:
    """Add a line to the log of the job's worker, as the local runner does: on a cluster there is none."""
    key, log = (os.environ.get(name) for name in _NAMES)
    if key and log:
        with suppress(OSError):
            EventLog(Path(log).parent, Path(log).stem).event(f"{key} {text}")


def _outcome(attempt: Path, code: int) -> str:
    """Return how the script ended, in the words of the states; one that a signal ended may start again."""
    if code == 0:
        return "done"
    if code > _SIGNAL:
        return f"ended by signal {code - _SIGNAL}"
    reason = f"exit code {code}"
    with suppress(OSError, ValueError, KeyError):
        reason = json.loads((attempt / "verified.json").read_text())["reason"] or reason
    return f"failed {reason}"


def _redirect(log: Path) -> None:
    """Send everything the job prints to its log, which is appended to."""
    log.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tuneloop.jobs.claim", description=__doc__)
    parser.add_argument("--attempts", required=True, help="the folder of the job's attempts")
    parser.add_argument("--log", required=True, help="the job's log, with {id} for its id")
    parser.add_argument("--digest", required=True, help="of all that decides the result")
    parser.add_argument("command", nargs="+")
    return parser


if __name__ == "__main__":
    sys.exit(main())
