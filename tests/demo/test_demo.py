"""The shipped experiment, with the real torchtune and the real inspect-ai."""

import csv
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kills import disturb_at_random, finish
from lab import (
    as_json,
    cli,
    command,
    kill,
    kill_session,
    live_attempts,
    plan_id,
    run,
    runner_pid,
    starts,
    states,
    until,
)

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.train

RUNS = ("rank4_lr3e-4", "rank4_lr3e-3", "rank32_lr3e-4", "rank32_lr3e-3")


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "analysis" / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def checkpoints(folder: Path) -> dict[str, Any]:
    found = {}
    for path in sorted(folder.glob("*/epoch_*/verified.json")):
        value = json.loads(path.read_text())
        found[path.parent.relative_to(folder).as_posix()] = (value["sha256"], value["validation_loss"])
    return found


def scores(folder: Path) -> list[tuple[str, ...]]:
    kept = ("run", "source", "epoch", "sample", "scorer", "value", "output")
    return sorted(tuple(row[key] for key in kept) for row in rows(folder) if row["sample"])


def losses(folder: Path) -> list[tuple[str, ...]]:
    return sorted((row["run"], row["step"], row["value"]) for row in rows(folder) if row["metric"] == "loss")


def test_at_least_three_runs_are_better(demo: Path) -> None:
    summary = (demo / "experiment_summary.md").read_text()
    verdicts = [line for line in summary.splitlines() if line.startswith("| rank")]
    assert sum("**better**" in line for line in verdicts) >= 3
    assert not any("worse" in line for line in verdicts)


def test_rank_and_learning_rate_matter(demo: Path) -> None:
    means = {
        (row["run"], row["epoch"]): float(row["value"])
        for row in rows(demo)
        if row["source"] == "capitalization" and row["metric"] == "accuracy" and row["scorer"] == "match"
    }
    assert means["rank32_lr3e-3", "1"] - means["rank4_lr3e-4", "1"] > 0.3
    assert means["rank32_lr3e-4", "1"] - means["rank4_lr3e-4", "1"] > 0.1


def test_every_task_scored_a_hundred_samples(demo: Path) -> None:
    counted: dict[tuple[str, str, str], int] = {}
    for row in rows(demo):
        if row["sample"] and row["scorer"] == "match":
            key = (row["run"], row["source"], row["epoch"])
            counted[key] = counted.get(key, 0) + 1
    assert len(counted) == 14
    assert set(counted.values()) == {100}


def test_layout_is_that_of_the_source_document(demo: Path) -> None:
    for name in ("design", "scaffold", "run", "analyze"):
        assert (demo / f"{name}-experiment.log").is_file()
    for name in ("scaffold-torchtune", "scaffold-inspect", "run-torchtune", "run-inspect"):
        assert (demo / f"{name}.log").is_file()
    for name in RUNS:
        for file in ("setup_finetune.yaml", "finetune.yaml", "finetune.slurm", "metrics.jsonl", "eval/logs"):
            assert (demo / name / file).exists(), f"{name}/{file}"
        assert (demo / name / "epoch_1" / "adapter_model.safetensors").is_file()
        assert (demo / name / "eval" / "capitalization_epoch1.slurm").is_file()
    assert (demo / "control" / "eval" / "capitalization_base.slurm").is_file()


def test_tune_takes_the_config_with_no_other_step(demo: Path) -> None:
    tune = Path(sys.executable).parent / "tune"
    done = subprocess.run(
        [tune, "validate", demo / RUNS[0] / "finetune.yaml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_metrics_are_one_whole_row_a_step(demo: Path) -> None:
    lines = [json.loads(line) for line in (demo / RUNS[0] / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, lines[-1]["steps"] + 1))
    assert {"loss", "lr", "tokens_per_second", "peak_memory_mb"} <= set(lines[0])
    assert lines[-1]["loss"] < lines[0]["loss"]


def test_generated_files_hold_no_path_of_a_preset(demo: Path) -> None:
    for name in RUNS:
        text = (demo / name / "finetune.yaml").read_text()
        outside = set(re.findall(r"(?<![\w.}])/[\w./-]+", text))
        assert outside, "the base model lies outside"
        assert all(path.startswith(str(ROOT / "examples" / "tiny-base")) for path in outside)
        assert "Qwen/" not in text


def test_report_stands_alone(demo: Path) -> None:
    html = (demo / "analysis" / "report.html").read_text()
    for outside in ('src="http', 'href="http', "<script", "@import"):
        assert outside not in html


def test_killed_three_times_it_ends_the_same(demo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    shutil.copytree(ROOT / "examples" / "capitalization", folder)
    cli("design-experiment", folder, "--from", folder / "design.yaml", "--model", ROOT / "examples" / "tiny-base")
    cli("scaffold-experiment", folder)
    plan = plan_id(folder)
    assert plan is not None
    with subprocess.Popen(command("run-experiment", folder, "--yes", plan, "--follow")) as follower:
        # In the second epoch of the first trainings: a whole epoch is there to resume from.
        until(lambda: bool(list(folder.glob("*/.attempts/train/*/recipe_state/recipe_state.pt"))), 600, "an epoch")
        follower.kill()
        kill_session(folder)
    until(lambda: live_attempts(folder) == [], what="the end of the session")

    def evaluating() -> list[Path]:
        begun = [path for path in live_attempts(folder) if (path / "group.json").is_file()]
        return [path for path in begun if path.match("rank*/.attempts/capitalization_*/*")]

    run(folder, "--detach")
    until(lambda: bool(evaluating()) and runner_pid(folder) is not None, 600, "an evaluation")
    kill(runner_pid(folder))
    kill(json.loads((evaluating()[0] / "group.json").read_text())["group"])

    run(folder, check=False)
    retry = as_json("retry", folder, "--failed", "--dry-run")
    if retry["jobs"]:
        cli("retry", folder, "--failed", "--yes", retry["plan"], "--follow")
    assert set(states(folder).values()) == {"done"}
    assert checkpoints(folder) == checkpoints(demo)
    assert scores(folder) == scores(demo)
    assert losses(folder) == losses(demo)
    jobs = {job: count for job, count in starts(folder).items() if not job.endswith("/collect")}
    assert sum(jobs.values()) <= len(jobs) + 3, "more starts than jobs killed"


@pytest.mark.soak
def test_killed_ten_times_at_random_it_ends_the_same(demo: Path, tmp_path: Path) -> None:
    seed = int(os.environ.get("TUNELOOP_SEED") or time.time())
    print(f"TUNELOOP_SEED={seed}")
    folder = tmp_path / "demo"
    shutil.copytree(ROOT / "examples" / "capitalization", folder)
    cli("design-experiment", folder, "--from", folder / "design.yaml", "--model", ROOT / "examples" / "tiny-base")
    cli("scaffold-experiment", folder)
    stream, hit = random.Random(seed), 0
    while hit < 10 and set(states(folder).values()) != {"done"}:
        hit += disturb_at_random(folder, stream, kills=1, longest=40)
    finish(folder)
    print(f"{hit} kills")
    assert checkpoints(folder) == checkpoints(demo)
    assert scores(folder) == scores(demo)
    assert losses(folder) == losses(demo)


@pytest.mark.soak
def test_another_seed_finds_the_same_runs_better(demo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    shutil.copytree(ROOT / "examples" / "capitalization", folder)
    design = folder / "design.yaml"
    design.write_text(design.read_text().replace("seeds: [1]", "seeds: [2]"))
    cli("design-experiment", folder, "--from", design, "--model", ROOT / "examples" / "tiny-base")
    cli("scaffold-experiment", folder)
    run(folder)
    assert better(folder) >= better(demo) - {"rank4_lr3e-4"}
    assert len(better(folder)) >= 3


def better(folder: Path) -> set[str]:
    summary = (folder / "experiment_summary.md").read_text()
    return {line.split("|")[1].strip() for line in summary.splitlines() if "**better**" in line}
