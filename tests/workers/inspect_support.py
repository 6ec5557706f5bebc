"""What the tests of the inspect worker share: a small experiment on disk, its order, and a step run by hand."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tuneloop.documents.yamltext import dump_yaml
from tuneloop.experiment.read import read_experiment
from tuneloop.experiment.work import JobKey, JobSpec, Machine, Scaffolded, Shape
from tuneloop.workers import Order

EXAMPLES = Path(__file__).parents[2] / "examples"
BASE = EXAMPLES / "tiny-base"

HEAD: dict[str, Any] = {
    "schema": "tuneloop.experiment/1",
    "name": "small",
    "question": "Does a higher rank help?",
    "model": str(BASE),
    "data": [
        {
            "split": "train",
            "path": "data/train.jsonl",
            "columns": {"input": "word", "output": "capitalized"},
            "prompt": "capitalize: {input}",
        },
        {"split": "test", "path": "data/test.jsonl"},
    ],
    "variables": {"lora_rank": [4, 8]},
    "controls": {"epochs": 2},
    "evaluations": [
        {"name": "cap", "task": "capitalization.py", "split": "test", "generation": {"max_tokens": 8}, "limit": 10}
    ],
    "runs": [{"name": "control", "kind": "control"}],
}


def make_experiment(folder: Path, **changes: Any) -> Path:
    """Write an experiment with the design `HEAD`, its keys replaced by `changes`."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for name in ("train", "test"):
        lines = (EXAMPLES / f"capitalization/data/{name}.jsonl").read_text().splitlines()[:20]
        (folder / f"data/{name}.jsonl").write_text("\n".join(lines) + "\n")
    shutil.copy(EXAMPLES / "capitalization/capitalization.py", folder)
    (folder / "experiment_summary.md").write_text(f"---\n{dump_yaml(HEAD | changes)}---\n")
    return folder


def order_of(folder: Path, *, gpus: int = 0) -> Order:
    experiment = read_experiment(folder)
    trained = {run.name: training_job(run.name) for run in experiment.runs if run.kind == "train"}
    machine = Machine("local", gpus, 2, sys.executable)
    return Order(str(folder.resolve()), experiment.design, experiment.runs, machine, trained)


def training_job(run: str, digest: str | None = None) -> JobSpec:
    shape = Shape("local")
    made = tuple(f"checkpoint:{run}/e{epoch}" for epoch in range(2))
    script, attempts, log = f"{run}/finetune.slurm", f"{run}/.attempts/train", f"{run}/slurm-*.out"
    key = JobKey(f"train/{run}")
    return JobSpec(key, "torchtune", run, script, attempts, (), made, digest or f"of-{run}", shape, True, 10.0, log)


def write(folder: Path, scaffolded: Scaffolded) -> None:
    assert scaffolded.faults == ()
    for file in scaffolded.files:
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text)


def run_script(script: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a job's script with bash from its own folder, as a person would."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "TUNELOOP_"))}
    return subprocess.run(
        ["bash", script.name], cwd=script.parent, env=kept | environment, capture_output=True, text=True, check=False
    )


def step(run: Path, attempt: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one step of a script in the run's folder, inside an attempt."""
    attempt.mkdir(parents=True, exist_ok=True)
    return subprocess.run(
        [sys.executable, "-m", "tuneloop.workers.inspect", *arguments],
        cwd=run,
        env=os.environ | {"TUNELOOP_ATTEMPT": str(attempt)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def verdict(run: Path) -> dict[str, Any]:
    """Return the verdict of the newest attempt at any job of the run."""
    found = sorted(run.glob(".attempts/*/*/verified.json"), key=lambda path: path.stat().st_mtime_ns)
    result: dict[str, Any] = json.loads(found[-1].read_text())
    return result
