"""A hub id as `model`: what the local cache holds is used as a folder is, and nothing is downloaded."""

import os
import subprocess
from pathlib import Path

import huggingface_hub.constants
import pytest
import small_models
import torchtune_case as case
from inspect_support import make_experiment, order_of, run_script, verdict

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
    """The whole loop by its scripts, with a family that the demo does not have."""
    home = tmp_path / "home"
    small_models.cache(small_models.make("gemma", tmp_path / "model"), HUB_ID, home)
    folder = make_experiment(
        tmp_path / "small",
        model=HUB_ID,
        variables={"lora_rank": [4]},
        controls={"epochs": 1, "batch_size": 10},
        evaluations=[
            {"name": "cap", "task": "capitalization.py", "split": "test", "generation": {"max_tokens": 4}, "limit": 4}
        ],
    )
    said = {"HF_HOME": str(home), "HF_HUB_CACHE": str(home / "hub"), "OMP_NUM_THREADS": "1"}
    scaffolding = ["tuneloop", "scaffold-experiment", str(folder)]
    done = subprocess.run(scaffolding, env=os.environ | said, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (run,) = (path.parent for path in folder.glob("*/finetune.slurm"))
    for script, where in ((run / "finetune.slurm", run), (run / "eval/cap_epoch0.slurm", run / "eval")):
        done = run_script(script, **said)
        assert done.returncode == 0, "".join(path.read_text() for path in where.glob("slurm-*.out"))
    assert verdict(run)["reason"] == "4 samples, all scored"
    assert_one_bos(run / "eval/logs/cap_epoch0.eval", tmp_path / "model")


def assert_one_bos(log: Path, model: Path) -> None:
    """What was generated from has the very ids of the training's prompt: one token at the beginning, not two."""
    from inspect_ai.log import read_eval_log
    from test_torchtune_tokenizer import chat_tokenizer

    from tuneloop.workers.torchtune.components.tokenizer import Turn

    tokenizer = chat_tokenizer(model)
    samples = read_eval_log(str(log)).samples
    prompts = [
        tokenizer.prompt([Turn(message.role, message.text, True) for message in sample.messages[:-1]])
        for sample in samples
    ]
    assert {ids.count(tokenizer.tokenizer.token_to_id("<bos>")) for ids in prompts} == {1}
    # inspect counts the width of a batch, padding included.
    assert max(sample.output.usage.input_tokens for sample in samples) == max(map(len, prompts))
