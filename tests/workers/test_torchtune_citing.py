"""Chains of experiments: each starts from the checkpoint of the one before, with the real torchtune and inspect-ai.

One batch is the whole file, and the file is the validation split too. So the first loss of an experiment is that of
the weights it starts from, which is the validation loss of the checkpoint that it cites.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

import torchtune_case as case
from lab import cli, run, states

pytestmark = pytest.mark.train

ONE_BATCH = {
    "data": [case.head()["data"][0], {"split": "validation", "path": "data/train.jsonl"}],
    "variables": {},
    "budget": {"hours": 1},
}
LORA = {"epochs": 1, "batch_size": 16, "lora_rank": 8, "lr": 1e-2}
FULL = {"epochs": 1, "batch_size": 16, "lr": 1e-4}


def experiment(folder: Path, **changes: Any) -> Path:
    """Design and scaffold an experiment of one run in `folder`."""
    (folder / "data").mkdir(parents=True)
    rows = case.words("train", 16)
    (folder / "data" / "train.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    design = folder / "design.yaml"
    design.write_text(yaml.safe_dump(case.head(**{"name": folder.name, **ONE_BATCH, **changes})))
    cli("design-experiment", folder, "--from", design)
    cli("scaffold-experiment", folder)
    return folder


def trained(folder: Path) -> Path:
    return next(path.parent for path in folder.glob("*/finetune.yaml"))


def first_loss(folder: Path) -> float:
    return float(json.loads((trained(folder) / "metrics.jsonl").read_text().splitlines()[0])["loss"])


def validated(folder: Path) -> float:
    return float(json.loads((trained(folder) / "epoch_0" / "verified.json").read_text())["validation_loss"])


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Run four experiments: LoRA on the model, LoRA on that, full on that, LoRA on that."""
    top = tmp_path_factory.mktemp("chain")
    evaluated = {
        "evaluations": [
            {
                "name": "cap",
                "task": str(case.ROOT / "examples" / "capitalization" / "capitalization.py"),
                "split": "train",
                "limit": 4,
            }
        ],
        "runs": [{"name": "control", "kind": "control"}],
    }
    steps: list[dict[str, Any]] = [
        {"controls": LORA},
        {"controls": LORA, "runs": evaluated["runs"]},
        {"controls": FULL, "method": {"update": "full"}, **evaluated},
        {"controls": LORA},
    ]
    made: dict[str, Path] = {}
    before: Path | None = None
    for number, changes in enumerate(steps):
        if before is not None:
            changes["model"] = f"../{before.name}/{trained(before).name}@0"
        before = made[f"e{number}"] = experiment(top / f"e{number}", **changes)
        run(before)
    return made


@pytest.mark.parametrize(("citing", "cited"), [("e1", "e0"), ("e2", "e1"), ("e3", "e2")])
def test_training_starts_where_the_cited_run_ended(chain: Mapping[str, Path], citing: str, cited: str) -> None:
    assert first_loss(chain[citing]) == pytest.approx(validated(chain[cited]), rel=1e-4)


def test_a_cited_model_is_evaluated_as_the_control(chain: Mapping[str, Path]) -> None:
    assert states(chain["e2"])["eval/control/base/cap"] == "done"


def test_the_control_answers_as_what_the_runs_started_from(chain: Mapping[str, Path]) -> None:
    assert cli("sample", f"{chain['e1']}/control", "hello").stdout.strip()


def test_a_cited_adapter_is_merged_once_and_a_full_checkpoint_is_read_where_it_lies(chain: Mapping[str, Path]) -> None:
    assert len(list((chain["e1"] / ".tuneloop" / "models").glob("*-e0"))) == 1
    assert not (chain["e3"] / ".tuneloop" / "models").exists()
    config = yaml.safe_load((trained(chain["e3"]) / "finetune.yaml").read_text())
    assert config["checkpointer"]["checkpoint_dir"] == str(trained(chain["e2"]) / "epoch_0")


def test_a_checkpoint_trained_anew_is_not_started_from(chain: Mapping[str, Path], tmp_path: Path) -> None:
    later = chain["e0"].parent / "later"
    name = trained(chain["e0"]).name
    later = experiment(later, controls=LORA, model=f"../e0/{name}@0")
    verified = trained(chain["e0"]) / "epoch_0" / "verified.json"
    text = verified.read_text()
    verified.write_text(json.dumps({**json.loads(text), "digest": "another"}))
    try:
        run(later, check=False)
    finally:
        verified.write_text(text)
    assert "the checkpoint to start from was trained anew" in cli("status", later).stdout
