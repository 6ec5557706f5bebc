"""One design, every family: it trains and is verified unchanged, whatever `model` names."""

import json
from pathlib import Path

import pytest
import small_models
from loop_case import check_prompts, run_loop

import torchtune_case as case

pytestmark = pytest.mark.train

# One batch is the whole file, and the file is the validation split too: the loss that torchtune logs at step 2 is
# that of the weights after epoch 0, which verify must find with transformers and peft.
DESIGN = {
    "data": [case.head()["data"][0], {"split": "validation", "path": "data/train.jsonl"}],
    "controls": {"epochs": 2, "batch_size": 16},
    "variables": {"lr": [1e-3]},
}
# Qwen2 is trained in test_torchtune_training.py.
FAMILIES = ("gemma", "gemma2", "llama2", "llama3_2", "mistral", "phi3")


@pytest.mark.parametrize("update", ["lora", "full"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_design_trains_every_family(family: str, update: str, tmp_path: Path) -> None:
    model = small_models.make(family, tmp_path / "model")
    asked = case.order(tmp_path / "experiment", **DESIGN, model=str(model), method={"update": update})
    script = case.script(asked, update=update)
    script.all()
    losses = [line["loss"] for line in script.metrics()]
    verified = [epoch["validation_loss"] for epoch in script.verdict()["facts"]["epochs"]]
    assert verified[0] == pytest.approx(losses[1], rel=1e-5)
    assert verified[0] < losses[0]
    assert verified[1] < verified[0]


@pytest.mark.soak
@pytest.mark.parametrize("update", ["lora", "full"])
@pytest.mark.parametrize("family", sorted(small_models.SMALL))
def test_the_same_design_is_evaluated_for_every_family(family: str, update: str, tmp_path: Path) -> None:
    """The parity table of docs/families.md: run with `-s`, each test prints its line."""
    model = small_models.make(family, tmp_path / "model")
    run = run_loop(tmp_path / "small", str(model), update)
    check_prompts(run, model)
    losses = [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert losses[1] < losses[0]
    print(f"\n| {family} | {update} | {losses[0]:.4f} | {losses[1]:.4f} | 4 of 4 |")
