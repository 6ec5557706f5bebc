"""Reward models: torchtune's side computes what transformers does, and what it saves is read again."""

import json
from pathlib import Path

import pytest
import small_models
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

import torchtune_case as case
from tuneloop.workers.torchtune.components.classifier import ClassifierCheckpointer, classifier
from tuneloop.workers.torchtune.families import read_model


def reward_folder(name: str, folder: Path) -> Path:
    """Make a random classifier of a family, with every weight random."""
    small_models.make(name, folder)
    config = AutoConfig.from_pretrained(folder, num_labels=1)
    torch.manual_seed(1)
    AutoModelForSequenceClassification.from_pretrained(folder, config=config).save_pretrained(folder)
    return folder


def scores(folder: Path, ids: torch.Tensor) -> torch.Tensor:
    """Return transformers' score of each text (batch)."""
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        found: torch.Tensor = model(ids).logits.squeeze(-1)
    return found


def checkpointer(folder: Path, output: Path, model_type: str = "QWEN2") -> ClassifierCheckpointer:
    return ClassifierCheckpointer(
        checkpoint_dir=str(folder),
        checkpoint_files=["model.safetensors"],
        model_type=model_type,
        output_dir=str(output),
    )


@pytest.mark.train
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["qwen2", "llama2", "llama3", "llama3_2", "mistral"])
def test_a_classifier_scores_as_in_transformers_and_survives_saving(tmp_path: Path, name: str) -> None:
    folder = reward_folder(name, tmp_path / "reward")
    family = read_model(folder).family
    model = classifier(family.builder, **family.dimensions).eval()
    source = checkpointer(folder, tmp_path / "output", family.model_type)
    model.load_state_dict(source.load_checkpoint()["model"])
    ids = torch.randint(1, 250, (3, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours = model(ids)[:, -1, 0]
    assert ours.tolist() == pytest.approx(scores(folder, ids).tolist(), rel=1e-4, abs=1e-5)

    source.save_checkpoint({"model": model.state_dict()}, epoch=0)
    saved = tmp_path / "output" / "epoch_0"
    assert json.loads((saved / "config.json").read_text())["architectures"][0].endswith("ForSequenceClassification")
    assert scores(saved, ids).tolist() == pytest.approx(ours.tolist(), rel=1e-4, abs=1e-5)
    again = checkpointer(saved, tmp_path / "again", family.model_type).load_checkpoint()["model"]
    assert all(torch.equal(again[key], value) for key, value in model.state_dict().items())


def test_a_language_model_is_no_classifier(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no score\.weight"):
        checkpointer(case.TINY, tmp_path / "output").load_checkpoint()
