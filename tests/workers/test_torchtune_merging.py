"""Merged folders: the same model as base and adapter together, whole or not there, and nobody else's."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from places import content
from torchtune_case import TINY, copy_of, random_adapter
from tuneloop.documents.errors import FailedError, InputError
from tuneloop.workers.models import MARK
from tuneloop.workers.torchtune.merging import merge

# peft asks transformers in words that transformers 5 deprecates.
pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore::FutureWarning:transformers")]

WORDS = "capitalize: one"
_MERGER = "import sys; from pathlib import Path; from tuneloop.workers.torchtune.merging import merge; "
_MERGER += "print('begun', flush=True); merge(*map(Path, sys.argv[1:]))"


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = random_adapter(tmp_path_factory.mktemp("adapter") / "epoch_0")
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}")
    return folder


def logits(model: Any, tokenizer: Any) -> Any:
    import torch

    with torch.no_grad():
        return model(**tokenizer(WORDS, return_tensors="pt", return_token_type_ids=False)).logits


def loaded(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return (
        AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval(),
        AutoTokenizer.from_pretrained(folder, local_files_only=True),
    )


def test_the_merged_model_is_base_and_adapter_together(adapter: Path, tmp_path: Path) -> None:
    import torch
    from peft import PeftModel

    target = tmp_path / "out" / "merged"
    merge(adapter, TINY, target)
    model, tokenizer = loaded(target)
    base, _ = loaded(TINY)
    alone = logits(base, tokenizer)
    together = logits(PeftModel.from_pretrained(base, str(adapter)).eval(), tokenizer)
    merged = logits(model, tokenizer)
    assert torch.allclose(merged, together, atol=1e-4)
    assert not torch.allclose(merged, alone, atol=1e-1)
    assert tokenizer.chat_template == "{{ messages[0].content }}"
    assert not list(target.glob("adapter*"))
    assert [path.name for path in target.parent.iterdir()] == ["merged"]


def test_the_precision_is_the_one_asked_for(adapter: Path, tmp_path: Path) -> None:
    import torch

    merge(adapter, TINY, tmp_path / "merged", "bf16")
    model, _ = loaded(tmp_path / "merged")
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}


def test_full_weights_are_copied_with_what_is_needed_to_load_them(tmp_path: Path) -> None:
    checkpoint = copy_of(TINY, tmp_path / "epoch_1")
    (checkpoint / "verified.json").write_text("{}")
    merge(checkpoint, TINY, tmp_path / "merged")
    assert (tmp_path / "merged" / "model.safetensors").read_bytes() == (TINY / "model.safetensors").read_bytes()
    model, tokenizer = loaded(tmp_path / "merged")
    assert logits(model, tokenizer).shape[-1] == 320
    assert not (tmp_path / "merged" / "verified.json").exists()


def test_made_again_from_the_same_it_is_left_alone(adapter: Path, tmp_path: Path) -> None:
    target = tmp_path / "merged"
    merge(adapter, TINY, target, files={"README.md": "one"})
    before = target.stat().st_ino
    merge(adapter, TINY, target, files={"README.md": "one"})
    assert target.stat().st_ino == before
    merge(adapter, TINY, target, files={"README.md": "two"})
    assert (target / "README.md").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["merged"]


def test_another_merge_and_a_persons_files_are_not_replaced(adapter: Path, tmp_path: Path) -> None:
    target = tmp_path / "merged"
    assert merge(adapter, TINY, target)
    with pytest.raises(InputError, match="an export of something else is here already"):
        merge(adapter, TINY, target, "bf16", replace=False)
    (target / "notes.txt").write_text("mine")
    assert not merge(adapter, TINY, target)
    before = content(tmp_path)
    with pytest.raises(InputError, match=r"`notes\.txt` was added"):
        merge(adapter, TINY, target, "bf16")
    assert content(tmp_path) == before


def test_what_was_lost_of_it_is_made_again(adapter: Path, tmp_path: Path) -> None:
    target = tmp_path / "merged"
    merge(adapter, TINY, target)
    (target / "config.json").unlink()
    assert merge(adapter, TINY, target, replace=False)
    assert (target / "config.json").is_file()


def test_a_folder_of_others_is_left_alone(adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    before = content(tmp_path)
    with pytest.raises(InputError, match="something else is here already"):
        merge(adapter, TINY, tmp_path / "mine")
    assert content(tmp_path) == before


def test_an_adapter_that_does_not_load_leaves_nothing(adapter: Path, tmp_path: Path) -> None:
    broken = copy_of(adapter, tmp_path / "broken")
    weights = broken / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(FailedError, match="does not load"):
        merge(broken, TINY, tmp_path / "merged")
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]


def test_killed_anywhere_it_leaves_no_half_folder_and_can_be_repeated(adapter: Path, tmp_path: Path) -> None:
    """The kill comes while the folder is being filled: it has appeared, and has not been renamed."""
    target = tmp_path / "merged"
    argv = [sys.executable, "-c", _MERGER, str(adapter), str(TINY), str(target)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        while not list(tmp_path.glob(".merged.new.*")) and process.poll() is None:
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
    assert list(tmp_path.glob(".merged.new.*"))
    assert not target.exists()
    merge(adapter, TINY, target)
    assert [path.name for path in tmp_path.iterdir()] == ["merged"]
    assert (target / MARK).is_file()
