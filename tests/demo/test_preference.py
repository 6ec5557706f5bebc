"""The preference example: supervised training, then DPO from its checkpoint, handed over while it still runs."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lab import cli, run, states

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def scaffolded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "preference"
    shutil.copytree(EXAMPLES / "preference", folder)
    cli("design-experiment", folder / "sft", "--from", folder / "sft.yaml", "--model", EXAMPLES / "tiny-base")
    cli("scaffold-experiment", folder / "sft")
    cli("design-experiment", folder / "dpo", "--from", folder / "dpo.yaml")
    cli("scaffold-experiment", folder / "dpo")
    return folder


@pytest.fixture(scope="module")
def preference(scaffolded: Path) -> Path:
    run(scaffolded / "sft", "--detach")
    run(scaffolded / "dpo", "--detach")
    assert states(scaffolded / "dpo")["train/lr3e-4"] == "waiting"
    cli("wait", scaffolded / "dpo", "--timeout", "3600")
    return scaffolded


@pytest.mark.slow
def test_preferences_are_refused_before_what_they_start_from_is_asked_for(scaffolded: Path) -> None:
    done = cli("run-experiment", scaffolded / "dpo", "--dry-run", check=False)
    assert done.returncode == 2
    assert "train is planned, and jobs here need it" in done.stderr


def scores(experiment: Path) -> dict[str, float]:
    """Return the share of exact answers of each run, from the table that a person opens."""
    with (experiment / "analysis" / "results.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "accuracy" and row["scorer"] == "match"]
    return {row["run"]: float(row["value"]) for row in rows}


@pytest.mark.soak
def test_two_styles_become_one(preference: Path) -> None:
    before, after = scores(preference / "sft"), scores(preference / "dpo")
    assert 0.2 < before["train"] < 0.8
    assert after["control"] == before["train"], "the checkpoint that is cited is the control"
    assert after["lr3e-4"] > 0.85
    assert after["lr1e-3"] < before["train"], "the high rate overshoots"


@pytest.mark.soak
def test_the_report_says_better_and_worse(preference: Path) -> None:
    lines = (preference / "dpo" / "analysis" / "report.md").read_text().splitlines()
    table = {line.split(" | ")[0].strip("| "): line for line in lines if line.startswith("| lr")}
    assert "**better**" in table["lr3e-4"]
    assert "**worse**" in table["lr1e-3"]


@pytest.mark.soak
def test_preferences_have_a_validation_loss(preference: Path) -> None:
    facts = json.loads((preference / "dpo" / "lr3e-4" / "epoch_0" / "verified.json").read_text())
    assert facts["validation_loss"] < 0.3
    assert facts["validation_accuracy"] > 0.95


def test_the_data_are_made_again_byte_for_byte(tmp_path: Path) -> None:
    subprocess.run([sys.executable, EXAMPLES / "preference" / "make_data.py", "--out", tmp_path], check=True)
    for path in sorted((EXAMPLES / "preference" / "data").iterdir()):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
