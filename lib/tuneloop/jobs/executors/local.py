"""The local executor: one detached runner process per experiment executes the scripts.

Handing over is writing `.tuneloop/submissions/<token>.json`; the runner (`jobs/runner.py`) takes it from there.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tuneloop.documents.config import Profile
from tuneloop.documents.files import write_json
from tuneloop.documents.locks import is_held
from tuneloop.experiment.layout import Layout
from tuneloop.experiment.work import Token
from tuneloop.jobs.batches import Batch, Sizes
from tuneloop.jobs.executors import Answer, Native, Order
from tuneloop.jobs.facts import Attempt
from tuneloop.jobs.state import JobStatus

_MOST_SLOTS = 4  # jobs at once without a GPU: more of them fight for memory bandwidth


class Local:
    sizes = Sizes(100_000, 100_000)
    most_jobs: int | None = None

    def __init__(self, layout: Layout, cluster: str, profile: Profile) -> None:
        self.layout, self.cluster, self.profile = layout, cluster, profile

    def prepare(self) -> None:
        """Do nothing: jobs run where the experiment lies."""

    def submit(self, batch: Batch, after: Sequence[Order]) -> Native:  # noqa: ARG002
        """Put the batch where the runner finds it, which reads by itself what a job waits for."""
        value = {"token": batch.token, "keys": batch.keys, "scripts": batch.scripts}
        write_json(self.layout.submissions / f"{batch.token}.json", value)
        return Native(self.cluster, batch.token)

    def find(self, token: Token) -> Native | None:
        known = (self.layout.submissions / f"{token}.json").is_file()
        return Native(self.cluster, token) if known else None

    settle = find  # whoever died before the file was there will not write it any more

    def observe(self, jobs: Mapping[Native, str]) -> Mapping[Native, Answer]:  # noqa: ARG002
        """Return nothing: here a held lock says what lives."""
        return {}

    def renew(self) -> None:
        """Do nothing: what lives here is looked at each time."""

    def news(self) -> None:
        """Return nothing: nobody is asked."""

    def withdraw(self, jobs: Sequence[Native]) -> None:
        """Do nothing: the runner starts what was handed over last."""

    def in_queue(self) -> int:
        return 0  # nobody counts them here

    def alive(self) -> bool:
        return is_held(self.layout.runner_lock)

    def start(self) -> None:
        """Start a runner that outlives its caller; where one holds the lock already, the new one ends."""
        runner = [sys.executable, "-m", "tuneloop.jobs.runner", str(self.layout.folder), str(slots(self.profile))]
        self.layout.internal.mkdir(parents=True, exist_ok=True)
        with self.layout.runner_log.open("ab") as log:
            subprocess.run(
                # The shell ends at once and leaves the runner without a parent. Whoever stops a command may stop its
                # children with it, in whatever session they are: Claude Code does so with a shell call.
                ["sh", "-c", '"$@" &', "sh", *runner],
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=clean_environment(),
            )

    def cancel(self, jobs: Sequence[JobStatus]) -> None:
        for attempt in (item for job in jobs for item in job.attempts if item.alive):
            if is_held(attempt.path / "lock"):
                _ask_to_end(attempt)


def _ask_to_end(attempt: Attempt) -> None:
    """Ask the process that claimed; where it was killed and its job lives on, ask the job."""
    with suppress(ProcessLookupError):
        # A process id alone proves nothing: it may be somebody else's by now.
        if b"tuneloop.jobs.claim" in _command_line(attempt.pid):
            os.kill(attempt.pid, signal.SIGTERM)
        elif attempt.group is not None:
            os.killpg(attempt.group, signal.SIGTERM)


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def slots(profile: Profile) -> int:
    """Return how many jobs run at once: as configured, else one per GPU, else one per core up to 4."""
    return profile.slots or gpu_count() or min(_MOST_SLOTS, core_count())


def cpus_per_job(profile: Profile) -> int:
    return max(1, core_count() // slots(profile))


def core_count() -> int:
    return len(os.sched_getaffinity(0))


def gpu_count() -> int:
    """Return the number of CUDA devices, asking the driver's own tool: importing torch takes seconds."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([item for item in visible.split(",") if item.strip() and item.strip() != "-1"])
    if shutil.which("nvidia-smi") is None:
        return 0
    done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return sum(line.startswith("GPU ") for line in done.stdout.splitlines()) if done.returncode == 0 else 0


def clean_environment() -> dict[str, str]:
    """Return the environment without what belongs to one attempt: a job must not inherit another's claim."""
    parts = ("ATTEMPT", "CPUS", "DIGEST", "ID", "KEY", "LOG", "RESTART", "TOKEN")
    ours = {f"TUNELOOP_{part}" for part in parts}
    return {name: value for name, value in os.environ.items() if name not in ours}
