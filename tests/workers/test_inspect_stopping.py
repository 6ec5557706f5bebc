"""Where answers end: the token that a template writes behind an answer, and whether a model stops there by itself."""

import json
import shutil
from pathlib import Path

import pytest

import torchtune_case as case
from tuneloop.workers.inspect.stopping import end_of_turn, missing_stop
from tuneloop.workers.torchtune.finishing import finish, stop_ids

TEMPLATES = Path(case.ROOT) / "lib" / "tuneloop" / "workers" / "torchtune" / "templates"
SPECIAL = ["<|im_end|>", "<|eot_id|>", "</s>", "<end_of_turn>", "<|end|>", "<|endoftext|>", "<|end_of_text|>"]
ENDS = {
    "chatml": "<|im_end|>",
    "gemma": "<end_of_turn>",
    "llama2": "</s>",
    "llama3": "<|eot_id|>",
    "mistral": "</s>",
    "mistral_v3": "</s>",
    "phi3": "<|end|>",
}


def test_every_template_of_ours_is_listed() -> None:
    assert {path.stem for path in TEMPLATES.glob("*.jinja")} == set(ENDS)


@pytest.mark.parametrize("name, token", ENDS.items())
def test_the_end_of_a_turn_is_found_in_the_template(name: str, token: str) -> None:
    assert end_of_turn((TEMPLATES / f"{name}.jinja").read_text(), SPECIAL) == token


def test_a_template_without_an_end_has_none() -> None:
    assert end_of_turn("{% for m in messages %}{{ m['content'] }}{% endfor %}", SPECIAL) is None


def base_model(folder: Path) -> Path:
    """Make the tiny model as a base model comes: generating ends with the text, not with a turn."""
    shutil.copytree(case.TINY, folder)
    config = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**config, "eos_token_id": 256}))
    return folder


def test_only_a_model_that_does_not_stop_is_told_to(tmp_path: Path) -> None:
    template = (TEMPLATES / "chatml.jinja").read_text()
    base = base_model(tmp_path / "base")
    assert missing_stop(template, case.TINY, case.TINY) is None
    assert missing_stop(template, case.TINY, base) == "<|im_end|>"
    adapter = tmp_path / "run" / "epoch_0"
    adapter.mkdir(parents=True)
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "../base"}))
    assert missing_stop(template, case.TINY, adapter) == "<|im_end|>"


@pytest.mark.train
def test_a_trained_base_model_ends_its_turns(tmp_path: Path) -> None:
    """Its checkpoint stops by itself where whole, and is told to by the evaluation where it is an adapter."""
    base = base_model(tmp_path / "base")
    asked = case.order(tmp_path / "experiment", model=str(base), controls={"epochs": 1, "batch_size": 8})
    script = case.script(asked)
    script.all()
    assert stop_ids(script.run / "epoch_0") == [256, 258]
    before = (script.run / "epoch_0" / "generation_config.json").read_bytes()
    from tuneloop.workers.torchtune.attempts import read_setup

    finish(read_setup(script.run), script.run / "epoch_0")
    assert (script.run / "epoch_0" / "generation_config.json").read_bytes() == before
