"""A real SLURM for tests: brought up and taken down by `scripts/slurm-dev-cluster`, and asked by its own commands.

A place is a folder and a hundred ports. It is claimed by a lock that the test process holds, so clusters of
several workers and sessions never meet, and what a killed session left behind is ended by the next.
"""

import fcntl
import json
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import pytest

from lab import until
from places import missing

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "slurm-dev-cluster"
_FIRST_PORT, _PORTS, _PLACES = 20000, 100, 100  # all below the ports that Linux gives to clients
_SEPARATOR = "\x1f"


class Row(NamedTuple):
    """One life of a job as accounting has it; a requeued job has several. Times are Unix seconds, 0 for none.

    Not every life has begun: `started` says whether a script was started, which the time of the start does not.
    """

    job: str
    state: str
    exit_code: str
    start: int
    end: int
    comment: str
    started: bool


def may_limit_memory() -> bool:
    """Tell whether this machine can end a job that uses too much memory: by control groups of version 1."""
    return all(os.access(f"/sys/fs/cgroup/{name}/tasks", os.W_OK) for name in ("memory", "freezer"))


def script(*arguments: str | Path, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the script; with `check` a bad exit code fails the test with what it said."""
    done = subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, check=False, **options)
    assert not check or done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done


class Place:
    """A folder and a base port that are this process's until it ends."""

    def __init__(self) -> None:
        root = Path(tempfile.gettempdir(), f"tuneloop-slurm-tests-{os.getuid()}")
        root.mkdir(mode=0o700, exist_ok=True)
        for number in range(_PLACES):
            self.folder, self.port = root / str(number), _FIRST_PORT + number * _PORTS
            self._lock: IO[str] = (root / f"{number}.lock").open("w")
            if self._claimed():
                return
            self._lock.close()
        raise AssertionError(f"no free place for a cluster below {root}")

    def _claimed(self) -> bool:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if self.folder.exists():  # a session was killed before it could do this
            script("down", "--purge", "--folder", self.folder)
        return all(_free(port) for port in range(self.port, self.port + 20))

    def free(self) -> None:
        self._lock.close()


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class DevCluster:
    """A cluster that runs, and ways to ask it and to hurt it."""

    def __init__(self, place: Place, *options: str) -> None:
        self.place = place
        self.folder = place.folder
        self._options = options
        self.up()

    @property
    def limits_memory(self) -> bool:
        """Tell whether a job that uses more memory than it asked for is ended."""
        return bool(self.status()["settings"]["memory_limits"])

    @property
    def env(self) -> dict[str, str]:
        """What a command needs in its environment to talk to this cluster."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Let commands that are told nothing talk to this cluster."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.env.items():
                patch.setenv(name, value)
            yield

    def up(self) -> None:
        """Start whatever does not run; nodes that were set down serve again."""
        done = script("up", "--folder", self.folder, "--port", str(self.place.port), *self._options, check=False)
        if done.returncode == 3:
            missing("slurm", done.stderr.strip())
        assert done.returncode == 0, done.stderr

    def status(self) -> dict[str, Any]:
        return json.loads(script("status", "--json", "--folder", self.folder, check=False).stdout)

    def call(self, *argv: str | Path, check: bool = True, env: Mapping[str, str] | None = None) -> str:
        """Run a command against the cluster and return what it printed."""
        surroundings = os.environ | self.env | (env or {})
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env=surroundings)
        assert not check or done.returncode == 0, f"{argv} exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def sbatch(self, *options: str | Path, wrap: str | None = None) -> str:
        """Submit a script, named last, or the line `wrap`, whose output then goes nowhere; return the job's id."""
        line = [] if wrap is None else ["--output=/dev/null", f"--wrap={wrap}"]
        return self.call("sbatch", "--parsable", *options, *line).strip()

    def queue(self, *options: str) -> dict[str, tuple[str, str]]:
        """Return state and reason by job id, one entry an array task, of all that squeue remembers."""
        lines = self.call("squeue", "-h", "-r", "-t", "all", "-o", "%i|%T|%r", *options).splitlines()
        fields = (line.split("|", 2) for line in lines)
        return {job: (state, reason) for job, state, reason in fields}

    def state(self, job: str) -> str:
        return self.queue().get(job, ("", ""))[0]

    def wait_state(self, job: str, *states: str, seconds: float = 60) -> None:
        until(lambda: self.state(job) in states, seconds, f"job {job} in {states}")

    def wait_idle(self, seconds: float = 60) -> None:
        """Wait until no job is left that goes, waits or ends."""
        until(lambda: not self.call("squeue", "-h").strip(), seconds, "an empty queue")

    def cancel_all(self) -> None:
        """Cancel every job and wait until none is left."""
        jobs = self.call("squeue", "-h", "-o", "%A").split()
        if jobs:
            self.call("scancel", "-Q", *set(jobs))
        self.wait_idle()

    def restore(self) -> None:
        """Make good what a test did: all daemons and nodes serve, no job is left."""
        self.up()
        self.cancel_all()

    def stop(self, daemon: str, *, kill: bool = False) -> None:
        script("stop", daemon, *(["--kill"] if kill else []), "--folder", self.folder)

    def start(self, daemon: str) -> None:
        script("start", daemon, "--folder", self.folder)

    @contextmanager
    def stopped(self, daemon: str, *, kill: bool = False) -> Iterator[None]:
        """Do without a daemon for a while."""
        self.stop(daemon, kill=kill)
        try:
            yield
        finally:
            self.start(daemon)

    def node_down(self, node: str) -> None:
        """Lose a node now: its slurmd is killed and SLURM told; what its jobs had started goes on."""
        self.stop(f"slurmd:{node}", kill=True)
        self.call("scontrol", "update", f"nodename={node}", "state=down", "reason=test")

    def node_up(self, node: str) -> None:
        self.start(f"slurmd:{node}")
        until(lambda: self.node_state(node) == "idle", 60, f"node {node} to serve")

    def node_state(self, node: str) -> str:
        return self.call("sinfo", "-h", "-N", "-n", node, "-p", "main", "-o", "%t").strip()

    def accounting_rows(self, comment: str) -> list[Row]:
        """Return every life of the jobs with this comment. Rows come late: 1 s as a rule, 7 s after a cluster's start."""
        return [row for row in self._rows() if row.comment == comment]

    def wait_accounted(self, comment: str, rows: int = 1, seconds: float = 60) -> list[Row]:
        """Wait until at least so many lives of the comment's jobs have ended in accounting, and return all."""

        def ended() -> bool:
            return sum(row.end > 0 for row in self.accounting_rows(comment)) >= rows

        until(ended, seconds, f"{rows} ended rows of {comment}")
        return self.accounting_rows(comment)

    def starts(self, comment: str) -> int:
        """Return how many times SLURM started a script of the jobs with this comment."""
        return sum(row.started for row in self.accounting_rows(comment))

    def _rows(self) -> list[Row]:
        fields = "JobID,State,ExitCode,Start,End,Comment"
        form = ["-a", "-n", "-D", "-S", "now-1day", "-P", f"--delimiter={_SEPARATOR}", "-o", fields]
        rows: list[Row] = []
        for line in self.call("sacct", *form, env={"SLURM_TIME_FORMAT": "%s"}).splitlines():
            job, state, code, start, end, comment = line.split(_SEPARATOR)
            if "." not in job:
                rows.append(Row(job, state, code, _seconds(start), _seconds(end), comment, started=False))
            elif job.endswith(".batch"):  # the steps of a life follow it
                rows[-1] = rows[-1]._replace(started=True)
        return rows


def _seconds(text: str) -> int:
    return int(text) if text.isdigit() else 0
