"""CPU seconds of the commands that people and hooks type all day: the best of seven, since noise only adds."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.experiments import ROOT

Line = tuple[str, str, str]


def cpu_seconds(*arguments: str) -> float:
    """Return user and system seconds of one `tuneloop` command and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    argv = [str(Path(sys.executable).parent / "tuneloop"), *arguments]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure() -> Iterator[Line]:
    yield "tuneloop --help, CPU", f"{min(cpu_seconds('--help') for _ in range(7)):.3f} s", "< 0.15 s"
    demo = str(ROOT / "runs" / "demo")  # finished: `make bench` runs it first
    yield "tuneloop status on the demo, CPU", f"{min(cpu_seconds('status', demo) for _ in range(7)):.3f} s", "< 0.3 s"
