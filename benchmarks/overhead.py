"""What `run-experiment` adds to its scripts run by hand: both in turn on copies of one experiment, a job at a time."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.experiments import real_design, tuneloop

_ROUNDS = 2


def measure() -> Iterator[tuple[str, str, str]]:
    with real_design("lora_rank: [4]") as folder:
        (folder.parent / "tuneloop.yaml").write_text("clusters: {local: {slots: 1}}\n")
        hand, runner = [], []
        for number in range(_ROUNDS):
            hand.append(_by_hand(_copy(folder, f"hand{number}")))
            runner.append(_by_runner(_copy(folder, f"runner{number}")))
        yield "run-experiment against its scripts by hand", f"{min(runner) / min(hand) - 1:+.1%}", "< +3 %"


def _copy(folder: Path, name: str) -> Path:
    return Path(shutil.copytree(folder, folder.parent / name))


def _by_hand(folder: Path) -> float:
    scripts = [*folder.glob("*/finetune.slurm"), *folder.glob("*/eval/*.slurm"), folder / ".tuneloop" / "collect.slurm"]
    began = time.perf_counter()
    for script in scripts:
        subprocess.run(["bash", script], check=True)
    return time.perf_counter() - began


def _by_runner(folder: Path) -> float:
    plan = json.loads(tuneloop("run-experiment", folder, "--dry-run", "--json"))["plan"]
    began = time.perf_counter()
    tuneloop("run-experiment", folder, "--yes", plan, "--follow")
    return time.perf_counter() - began
