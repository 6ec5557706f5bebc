"""What a job uses while it runs: the memory of all its processes, and its GPUs. Standard library only.

Looked at now and then by who waits for the job, and never waited for: a figure that is missing costs nobody
anything. Processes belong to a job by their environment, so that those of `srun` on this node count, too; what a
job of several nodes uses elsewhere does not.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MEMORY_S = 5.0  # between two looks: reading the pages of a process of 10 GB takes some 10 ms
GPU_S = 15.0
_PATIENCE_S = 10.0  # a driver that is in trouble answers nothing for ever
_MOST_FAILURES = 3
_QUERY = ("--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits")


class Meter:
    """Measures the job of one attempt. Times are of a clock that only goes on, in seconds."""

    def __init__(self, attempt: Path) -> None:
        self._mark = os.fsencode(f"TUNELOOP_ATTEMPT={attempt}")
        self._memory_due = 0.0
        self._memory_mb = 0.0
        self._gpus = Gpus(os.environ.get("CUDA_VISIBLE_DEVICES"))

    def look(self, now: float) -> None:
        """Take a sample of what is due."""
        if now >= self._memory_due:
            self._memory_due = now + MEMORY_S
            self._memory_mb = max(self._memory_mb, sum(_memory_kb(path) for path in self._processes()) / 1024)
        self._gpus.look(now)

    def end(self) -> None:
        """Leave nothing running."""
        self._gpus.end()

    def figures(self, largest_mb: float) -> dict[str, float | int]:
        """Return what was measured, for `usage.json`; `largest_mb` is the peak of the largest process.

        The kernel knows that peak exactly, and the sum was only looked at now and then: the larger one counts.
        """
        peak = round(max(largest_mb, self._memory_mb), 1)
        return {"peak_memory_mb": peak, "cpus": allotted_cpus(), **self._gpus.figures()}

    def _processes(self) -> Iterator[Path]:
        own = os.getuid()
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if process.stat().st_uid == own and self._mark in (process / "environ").read_bytes().split(b"\0"):
                    yield process


def _memory_kb(process: Path) -> int:
    """Return the memory of a process, of pages that several share its part: their sum is what the job takes."""
    with suppress(OSError):
        for line in (process / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def allotted_cpus() -> int:
    """Return the CPUs of this job: as its scheduler or runner tells, else those that it may use."""
    for name in ("SLURM_CPUS_ON_NODE", "TUNELOOP_CPUS"):
        text = os.environ.get(name, "")
        if text.isascii() and text.isdecimal() and int(text) > 0:
            return int(text)
    return len(os.sched_getaffinity(0))


class Gpus:
    """Asks nvidia-smi for the devices of a job, beside it: it may be missing, fail or hang."""

    def __init__(self, devices: str | None) -> None:
        self._devices = [name.strip() for name in (devices or "").split(",") if name.strip() not in ("", "-1")]
        self._asking: subprocess.Popen[bytes] | None = None
        self._due = self._asked = 0.0
        self._failures = 0
        self._use: list[float] = []
        self._memory_mb: list[float] = []

    def look(self, now: float) -> None:
        if self._asking is not None:
            self._hear(self._asking, now)
        elif self._devices and self._failures < _MOST_FAILURES and now >= self._due:
            self._ask(now)

    def end(self) -> None:
        """Stop asking; a question that is still open is dropped."""
        self._failures = _MOST_FAILURES
        if self._asking is not None:
            self._asking.kill()
            with suppress(subprocess.TimeoutExpired):
                self._asking.communicate(timeout=1.0)
            self._asking = None

    def figures(self) -> dict[str, float | int]:
        """Return the mean use of all devices as a share of time, and the memory of the fullest one at its peak."""
        found: dict[str, float | int] = {"gpus": len(self._devices)}
        if self._use:
            found["gpu_use"] = round(sum(self._use) / len(self._use), 3)
        if self._memory_mb:
            found["gpu_memory_mb"] = max(self._memory_mb)
        return found

    def _ask(self, now: float) -> None:
        self._asked, self._due = now, now + GPU_S
        command = ["nvidia-smi", *_QUERY, f"--id={','.join(self._devices)}"]
        try:
            self._asking = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        except OSError:
            self._failures = _MOST_FAILURES  # it is not there, and will not come

    def _hear(self, asking: subprocess.Popen[bytes], now: float) -> None:
        """Take in an answer that has come, and drop a question that got none."""
        assert asking.stdout is not None
        if asking.poll() is None and now - self._asked < _PATIENCE_S:
            return
        late = asking.poll() is None
        if late:
            asking.kill()
        # Without waiting: what it started itself may hold the other end open.
        os.set_blocking(asking.stdout.fileno(), False)
        text = asking.stdout.read() or b""
        asking.stdout.close()
        self._asking = None
        understood = not late and asking.returncode == 0 and self._take(text.decode(errors="replace"))
        self._failures = 0 if understood else self._failures + 1

    def _take(self, text: str) -> bool:
        """Take in what was printed, a line a device: `45, 1024`, in percent and MiB. `[N/A]` is no figure."""
        found = False
        for line in text.splitlines():
            for values, figure, whole in zip((self._use, self._memory_mb), line.split(","), (100, 1), strict=False):
                with suppress(ValueError):
                    values.append(float(figure) / whole)
                    found = True
        return found
