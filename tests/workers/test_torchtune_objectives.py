"""Every objective by its numbers: the losses of its first steps, a resumed run, and what verify finds."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import torchtune_case as case
from tuneloop.documents.yamltext import load_yaml

pytestmark = pytest.mark.train

PAIRS: dict[str, Any] = {
    "path": "data/pairs.jsonl",
    "format": "preference",
    "columns": {"input": "word", "chosen": "capitalized", "rejected": "word"},
    "prompt": "capitalize: {input}",
}
ADAPTER = {"epochs": 2, "batch_size": 8, "gradient_accumulation": 2, "warmup_steps": 3, "lora_rank": 8}
# What a design says, by a short name. Two steps an epoch and more, so that a run can be killed in the second one.
DESIGNS: dict[str, dict[str, Any]] = {
    "dpo": {
        "method": {"objective": "preference"},
        "data": [{"split": "train", **PAIRS}, {"split": "validation", **PAIRS}],
        "controls": ADAPTER,
        "variables": {"lr": [1e-3]},
    },
    "distillation": {
        "method": {"objective": "distillation", "teacher": str(case.TINY)},
        "controls": ADAPTER,
        "variables": {"lr": [1e-3]},
    },
    "ppo": {
        "method": {"objective": "rl", "update": "full", "reward_model": "../reward"},
        "controls": {
            "epochs": 2,
            "batch_size": 16,
            "max_generated_tokens": 8,
            "ppo_batch_size": 8,
            "forward_batch_size": 16,
            "ppo_epochs": 2,
        },
        "variables": {"lr": [1e-4]},
    },
    "dora": {"method": {"update": "dora"}, "controls": ADAPTER, "variables": {"lr": [1e-3]}},
    "qlora": {
        "method": {"update": "qlora"},
        "model": "../wide",
        "controls": ADAPTER | {"dtype": "fp32"},
        "variables": {"lr": [1e-3]},
    },
    "lora on two processes": {"controls": ADAPTER | {"devices": 2, "batch_size": 4}, "variables": {"lr": [1e-3]}},
}
# Made with torch 2.13.0 and torchtune 0.6.1 on a CPU.
STORED = {
    "dpo": [0.69315, 0.69315, 0.69550, 0.62963],
    "distillation": [1.37374, 1.43475, 1.33131],
    "ppo": [0.02725, 0.40842, 0.01285, -0.10082],
    "dora": [2.67863, 2.80705, 2.57873],
    "qlora": [5.91551, 5.92214, 5.84150],
    "lora on two processes": [2.67863, 2.80705, 2.59336],
}


def script(folder: Path, name: str, models: Path) -> case.Script:
    for model in models.iterdir():
        (folder / model.name).symlink_to(model)
    asked = case.order(folder / "experiment", samples=48, **DESIGNS[name])
    pairs = [row for row in case.words("train", 48) if row["word"] != row["capitalized"]]
    (asked.path / "data" / "pairs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in pairs))
    job = case.scaffolded(asked).jobs[0]
    setup = load_yaml((asked.path / str(job.run) / "setup_finetune.yaml").read_text())
    made = case.Script(asked, job, setup["recipe"])
    if setup["devices"] > 1:
        # torchtune wants GPUs for several processes; a program of the tests lets it run over gloo.
        program = case.over_gloo(made.run, setup["recipe"])
        made.launch = ["--nnodes", "1", "--nproc_per_node", str(setup["devices"]), program]
    return made


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the models that designs name: to be pleased, and to be quantized."""
    folder = tmp_path_factory.mktemp("models")
    case.reward_folder(folder / "reward")
    case.wide_folder(folder / "wide")
    return folder


@pytest.fixture(scope="module", params=DESIGNS)
def straight(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, models: Path) -> Any:
    """Return the name of a design and its script, run from beginning to end."""
    done = script(tmp_path_factory.mktemp("straight"), request.param, models)
    done.all()
    return request.param, done


def test_first_losses_are_the_stored_ones(straight: tuple[str, case.Script]) -> None:
    name, done = straight
    losses = [line["loss"] for line in done.metrics()]
    assert losses[: len(STORED[name])] == pytest.approx(STORED[name], rel=2e-3, abs=1e-4)


def test_every_epoch_is_verified(straight: tuple[str, case.Script]) -> None:
    name, done = straight
    verdict = done.verdict()
    assert verdict["ok"]
    losses = [epoch["validation_loss"] for epoch in verdict["facts"]["epochs"]]
    assert len(losses) == 2
    if name == "ppo":
        assert losses == [None, None]
    else:
        assert all(math.isfinite(loss) for loss in losses)


@pytest.mark.parametrize("straight", ["dpo"], indirect=True)
def test_preferences_are_validated_by_their_own_loss(straight: tuple[str, case.Script]) -> None:
    _, done = straight
    first, last = (json.loads((done.run / f"epoch_{epoch}" / "verified.json").read_text()) for epoch in (0, 1))
    assert last["validation_loss"] < first["validation_loss"] < math.log(2)  # ln 2 is the loss of the reference itself
    assert last["validation_accuracy"] > 0.5
    assert last["validation_tokens"] > 0


def test_a_resumed_run_equals_an_uninterrupted_one(
    straight: tuple[str, case.Script], tmp_path: Path, models: Path
) -> None:
    name, done = straight
    killed = script(tmp_path, name, models)
    killed.claim()
    killed.step("prepare")
    steps = int(load_yaml((killed.run / "setup_finetune.yaml").read_text())["steps_per_epoch"])
    killed.tune_until(step=steps + 1)  # in the second epoch
    killed.all()
    assert "resume_from_checkpoint=True" in (killed.attempt / "overrides").read_text()
    for key in ("step", "loss"):
        assert [line[key] for line in killed.metrics()] == [line[key] for line in done.metrics()]
    for epoch in (0, 1):
        ours, theirs = (weights(item.run / f"epoch_{epoch}") for item in (killed, done))
        assert ours.keys() == theirs.keys()
        assert all((ours[key] == theirs[key]).all() for key in ours)


def weights(folder: Path) -> dict[str, Any]:
    path = folder / "adapter_model.safetensors"
    return dict(load_file(path if path.is_file() else folder / "model-00001-of-00001.safetensors"))
