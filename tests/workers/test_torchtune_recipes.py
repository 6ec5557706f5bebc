"""Recipes: each one trains the tiny model with the config that a design of its kind is scaffolded into."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torchtune_case as case

from tuneloop.documents.yamltext import load_yaml

BATCHES = {"epochs": 1, "batch_size": 4}
PAIRS: dict[str, Any] = {
    "split": "train",
    "path": "data/pairs.jsonl",
    "format": "preference",
    "columns": {"input": "word", "chosen": "capitalized", "rejected": "word"},
    "prompt": "capitalize: {input}",
}
# What a design says, and the recipe that follows from it.
TRAINED: dict[str, dict[str, Any]] = {
    "lora_finetune_single_device": {"method": {"update": "lora"}},
    "full_finetune_single_device": {"method": {"update": "full"}},
    "lora_dpo_single_device": {"method": {"objective": "preference"}, "data": [PAIRS]},
    "ppo_full_finetune_single_device": {
        "method": {"objective": "rl", "update": "full", "reward_model": "../reward"},
        "controls": BATCHES | {"max_generated_tokens": 8, "ppo_batch_size": 2, "ppo_epochs": 2},
    },
    "knowledge_distillation_single_device": {"method": {"objective": "distillation", "teacher": str(case.TINY)}},
}


def prepared(folder: Path, **changes: Any) -> Path:
    """Scaffold a design of one run and return the run's folder."""
    asked = case.order(folder / "experiment", **{"controls": BATCHES, "variables": {}} | changes)
    pairs = [row for row in case.words("train", 16) if row["word"] != row["capitalized"]]
    (asked.path / "data" / "pairs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in pairs))
    case.scaffolded(asked)
    return asked.path / "train"


def tune(run: Path, *before: str) -> list[dict[str, Any]]:
    """Train with the config as it was written, and return the logged steps."""
    recipe = load_yaml((run / "setup_finetune.yaml").read_text())["recipe"]
    argv = [str(case.BIN / "tune"), "run", *before, recipe, "--config", "finetune.yaml"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(argv, cwd=run, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in (run / "output" / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def reward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return case.reward_folder(tmp_path_factory.mktemp("models") / "reward")


@pytest.mark.train
@pytest.mark.parametrize("recipe", TRAINED)
def test_a_recipe_trains_the_tiny_model(tmp_path: Path, reward: Path, recipe: str) -> None:
    (tmp_path / "reward").symlink_to(reward)
    run = prepared(tmp_path, **TRAINED[recipe])
    setup = load_yaml((run / "setup_finetune.yaml").read_text())
    assert setup["recipe"] == recipe
    steps = tune(run)
    assert steps[-1]["step"] == setup["steps"]
    assert all(line["loss"] is not None for line in steps)
    assert (run / "output" / "epoch_0").is_dir()
