"""echo does what its README promises: it works, resumes, and misbehaves on request, by its scripts alone."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tuneloop.documents.yamltext import dump_yaml
from tuneloop.experiment.read import read_experiment
from tuneloop.experiment.work import Machine, Scaffolded
from tuneloop.workers import Order, load

TRAIN, EVALUATE = load("echo"), load("echo-eval")


def experiment(folder: Path, args: dict[str, Any] | None = None, **controls: Any) -> Order:
    """Write an experiment of one run and its control, scaffold it, and return its order."""
    (folder / "model").mkdir(parents=True)
    (folder / "model/config.json").write_text("{}")
    (folder / "train.jsonl").write_text('{"word": "a", "answer": "A"}\n')
    head = {
        "schema": "tuneloop.experiment/1",
        "name": "echoes",
        "question": "Does it echo?",
        "backend": "echo",
        "model": "model",
        "data": [{"split": "train", "path": "train.jsonl"}],
        "variables": {"lr": [0.1]},
        "controls": {"epochs": 3, "seconds": 0.1, **controls},
        "evaluations": [
            {"name": "cap", "backend": "echo-eval", "task": "any", "args": {"seconds": 0.1, **(args or {})}}
        ],
        "runs": [{"name": "control", "kind": "control"}],
    }
    (folder / "experiment_summary.md").write_text(f"---\n{dump_yaml(head)}---\n")
    found = read_experiment(folder)
    order = Order(str(folder), found.design, found.runs, Machine("local", 0, 1, sys.executable))
    trained = _write(folder, TRAIN.scaffold(order))
    order = Order(
        str(folder), found.design, found.runs, order.machine, {job.run: job for job in trained.jobs if job.run}
    )
    _write(folder, EVALUATE.scaffold(order))
    return order


def _write(folder: Path, scaffolded: Scaffolded) -> Scaffolded:
    assert scaffolded.faults == ()
    for file in scaffolded.files:
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text)
    return scaffolded


def start(script: Path) -> subprocess.Popen[bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "TUNELOOP_"))}
    return subprocess.Popen(["bash", script.name], cwd=script.parent, env=kept, stderr=subprocess.DEVNULL)


def run(script: Path) -> int:
    return start(script).wait(timeout=60)


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.glob("epoch_*/*"))}


def test_a_job_leaves_what_real_ones_leave(tmp_path: Path) -> None:
    order = experiment(tmp_path)
    assert run(tmp_path / "lr0.1/finetune.slurm") == 0
    assert run(tmp_path / "lr0.1/eval/cap_epoch2.slurm") == 0
    assert run(tmp_path / "control/eval/cap_base.slurm") == 0
    [attempt] = (tmp_path / "lr0.1/.attempts/train").iterdir()
    assert json.loads((attempt / "verified.json").read_text())["ok"]
    assert sorted(path.name for path in (tmp_path / "lr0.1").glob("epoch_*")) == ["epoch_0", "epoch_1", "epoch_2"]
    losses = TRAIN.rows(order)
    assert [row.step for row in losses] == list(range(1, 16))
    scores = EVALUATE.rows(order)
    means = {row.run: row.value for row in scores if row.sample is None}
    assert means["lr0.1"] > means["control"]  # type: ignore[operator]
    assert len([row for row in scores if row.sample is not None]) == 40


@pytest.mark.parametrize("misbehaviour, code", [({"fail": 7}, 7), ({"vanish": True}, -signal.SIGKILL)])
def test_a_second_attempt_goes_on(tmp_path: Path, misbehaviour: dict[str, Any], code: int) -> None:
    experiment(tmp_path / "whole")
    assert run(tmp_path / "whole/lr0.1/finetune.slurm") == 0
    experiment(tmp_path / "broken", fail_times=1, **misbehaviour)
    script = tmp_path / "broken/lr0.1/finetune.slurm"
    assert run(script) == code
    assert not (script.parent / "epoch_0").exists()
    assert run(script) == 0
    assert contents(script.parent) == contents(tmp_path / "whole/lr0.1")
    log = "".join(path.read_text() for path in script.parent.glob("slurm-*.out"))
    assert log.count("taken over") == 2
    assert len((script.parent / "metrics.jsonl").read_text().splitlines()) == 15


def test_a_vanished_attempt_tells_no_end(tmp_path: Path) -> None:
    experiment(tmp_path, vanish=True)
    run(tmp_path / "lr0.1/finetune.slurm")
    [attempt] = (tmp_path / "lr0.1/.attempts/train").iterdir()
    assert not (attempt / "exit.json").exists()
    assert (attempt / "epoch_1").is_dir()


def test_what_is_lost_is_not_verified(tmp_path: Path) -> None:
    experiment(tmp_path, args={"lose": True}, lose=True)
    assert run(tmp_path / "lr0.1/finetune.slurm") == 1
    assert run(tmp_path / "control/eval/cap_base.slurm") == 1
    verdicts = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("*/.attempts/*/*/verified.json"))]
    assert [verdict["reason"] for verdict in verdicts] == ["no log", "epoch_2 is missing"]


def test_a_hanging_job_ends_when_asked(tmp_path: Path) -> None:
    experiment(tmp_path, hang=True)
    job = start(tmp_path / "lr0.1/finetune.slurm")
    metrics = tmp_path / "lr0.1/.attempts/train"
    while not list(metrics.glob("*/epoch_1")):
        time.sleep(0.05)
    time.sleep(0.2)
    assert job.poll() is None
    job.terminate()
    assert job.wait(timeout=10) == 128 + signal.SIGTERM


def test_steps_need_nothing_heavy() -> None:
    code = "import sys, tuneloop_echo.steps; print([name for name in ('pydantic', 'jinja2') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
