"""One design, every family: it trains and is verified unchanged, whatever `model` names."""

from pathlib import Path

import pytest
import small_models
import torchtune_case as case

pytestmark = pytest.mark.train

# One batch is the whole file, and the file is the validation split too: the loss that torchtune logs at step 2 is
# that of the weights after epoch 0, which verify must find with transformers and peft.
DESIGN = {
    "data": [case.head()["data"][0], {"split": "validation", "path": "data/train.jsonl"}],
    "controls": {"epochs": 2, "batch_size": 16},
    "variables": {"lr": [1e-3]},
}
# Qwen2 and Llama 3.2 are trained in test_torchtune_training.py.
FAMILIES = ("gemma", "gemma2", "llama2", "mistral", "phi3")


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
