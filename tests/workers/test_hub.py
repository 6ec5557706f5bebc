"""A hub id as `model`: what the local cache holds is used as a folder is, and nothing is downloaded."""

from pathlib import Path

import huggingface_hub.constants
import pytest
import small_models
from inspect_support import make_experiment, order_of
from loop_case import check_prompts, run_loop

import torchtune_case as case
from tuneloop.workers.hub import is_hub_id, model_folder
from tuneloop.workers.inspect import worker as inspect_worker
from tuneloop.workers.torchtune import worker

HUB_ID = "acme/small-gemma"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An HF_HOME of the test's own; huggingface_hub reads the variable when it is imported."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    return tmp_path / "home"


@pytest.mark.parametrize("text", ["acme/small", "a/b", "Acme-1.0/small_model.v2"])
def test_a_hub_id_is_two_plain_names(text: str) -> None:
    assert is_hub_id(text)


@pytest.mark.parametrize("text", ["small", "../small", "./a/b", "/a/b", "~/a", "a/b/c", "a/", "a b/c", "a/b@1x y"])
def test_a_path_is_not_taken_for_a_hub_id(text: str) -> None:
    assert not is_hub_id(text)


def test_a_cached_model_is_its_snapshot(home: Path, tmp_path: Path) -> None:
    assert model_folder(HUB_ID, tmp_path) == tmp_path / HUB_ID
    snapshot = small_models.cache(case.TINY, HUB_ID, home)
    assert model_folder(HUB_ID, tmp_path) == snapshot


def test_a_folder_comes_before_a_hub_id(home: Path, tmp_path: Path) -> None:
    small_models.cache(case.TINY, HUB_ID, home)
    (tmp_path / HUB_ID).mkdir(parents=True)
    assert model_folder(HUB_ID, tmp_path) == tmp_path / HUB_ID


def test_a_cached_model_is_known_by_its_content(home: Path, tmp_path: Path) -> None:
    snapshot = small_models.cache(case.TINY, HUB_ID, home)
    (named,) = worker.scaffold(case.order(tmp_path / "one", model=HUB_ID)).jobs
    (folder,) = worker.scaffold(case.order(tmp_path / "two")).jobs
    assert named.digest == folder.digest
    texts = {file.path: file.text for file in worker.scaffold(case.order(tmp_path / "one", model=HUB_ID)).files}
    assert f"checkpoint_dir: {snapshot}" in texts[f"{named.run}/finetune.yaml"]


def test_an_absent_model_is_told_with_the_line_that_fetches_it(home: Path, tmp_path: Path) -> None:
    (trained,) = worker.scaffold(case.order(tmp_path / "one", model=HUB_ID)).faults
    (evaluated,) = inspect_worker.scaffold(order_of(make_experiment(tmp_path / "two", model=HUB_ID))).faults
    assert trained == evaluated
    assert trained.message == f"no model folder `{HUB_ID}`, and none in the local Hugging Face cache"
    assert trained.hint is not None
    assert f"`tune download {HUB_ID} --output-dir DIR`" in trained.hint


@pytest.mark.parametrize("lost", ["tokenizer.json", "model.safetensors"])
def test_half_a_cached_model_is_refused(home: Path, tmp_path: Path, lost: str) -> None:
    (small_models.cache(case.TINY, HUB_ID, home) / lost).unlink()
    (fault,) = worker.scaffold(case.order(tmp_path / "one", model=HUB_ID)).faults
    assert fault.at == ("model",)


@pytest.mark.train
def test_a_cached_model_is_trained_and_evaluated(tmp_path: Path) -> None:
    """With a family that the demo does not have, and whose tokenizer begins every text with a token."""
    home, model = tmp_path / "home", small_models.make("gemma", tmp_path / "model")
    small_models.cache(model, HUB_ID, home)
    run = run_loop(tmp_path / "small", HUB_ID, HF_HOME=str(home), HF_HUB_CACHE=str(home / "hub"))
    check_prompts(run, model)
