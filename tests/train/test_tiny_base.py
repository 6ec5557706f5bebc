"""The tiny base model and the capitalization data are what their scripts make."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
BASE = EXAMPLES / "tiny-base"
CAPITALIZATION = EXAMPLES / "capitalization"

# Seed 1, batches of 16, 20 steps. The tolerance allows for another thread count or processor.
STORED_LOSSES = {1: 5.758, 5: 4.247, 10: 2.992, 15: 2.495, 20: 2.549}
TOLERANCE = 0.02


def load_script(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def make() -> ModuleType:
    pytest.importorskip("torchtune")
    return load_script(BASE / "make.py")


@pytest.fixture(scope="module")
def for_torchtune(make: ModuleType) -> Any:
    return make.qwen2_5_tokenizer(
        path=str(BASE / "vocab.json"),
        merges_file=str(BASE / "merges.txt"),
        special_tokens_path=str(BASE / "special_tokens.json"),
    )


@pytest.fixture(scope="module")
def for_transformers(make: ModuleType) -> Any:
    return make.AutoTokenizer.from_pretrained(BASE)


@pytest.mark.train
def test_training_repeats_stored_losses(make: ModuleType) -> None:
    losses = list(make.train(make.new_model(seed=1), steps=20, seed=1, batch_size=16))
    measured = {step: losses[step - 1] for step in STORED_LOSSES}
    assert measured == pytest.approx(STORED_LOSSES, abs=TOLERANCE)


def test_shipped_files_match_the_script(make: ModuleType, tmp_path: Path) -> None:
    make.write_tokenizer(tmp_path)
    make.check_tokenizers(tmp_path)
    make.write_model(make.new_model(seed=1), tmp_path)
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {path.name for path in BASE.iterdir() if path.is_file()} - {"make.py", "README.md"}
    for name in sorted(written - {"model.safetensors"}):
        assert (tmp_path / name).read_bytes() == (BASE / name).read_bytes(), name
    # Untrained and trained weights differ in value only.
    assert (tmp_path / "model.safetensors").stat().st_size == (BASE / "model.safetensors").stat().st_size


def test_weights_stay_under_four_megabytes() -> None:
    assert (BASE / "model.safetensors").stat().st_size < 4_000_000


@pytest.mark.parametrize(
    "text",
    [
        "capitalize: wOrd",
        " two  spaces\n\nand\ttabs ",
        "naïve 東京 🙂 1234, it's",
        "cafe\u0301",  # both sides compose the accent
        "<|im_start|>user\nfirst: a<|im_end|>\n<tool_call>",
    ],
)
def test_tokenizers_give_equal_ids(text: str, for_torchtune: Any, for_transformers: Any) -> None:
    ids = for_transformers.encode(text, add_special_tokens=False)
    assert ids == for_torchtune.encode(text, add_bos=False, add_eos=False)
    assert len(ids) > 0


@pytest.mark.parametrize("system", [None, "Answer with one word."])
def test_chat_prompts_are_equal(system: str | None, for_torchtune: Any, for_transformers: Any) -> None:
    from torchtune.data import Message

    turns = [{"role": "user", "content": "capitalize: wOrd"}]
    if system is not None:
        turns.insert(0, {"role": "system", "content": system})
    rendered = for_transformers.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    prompt = for_transformers.encode(rendered, add_special_tokens=False)

    chat = [Message(role=turn["role"], content=turn["content"], masked=True) for turn in turns]
    chat.append(Message(role="assistant", content="Word"))
    ids, mask = for_torchtune.tokenize_messages(chat)
    assert ids[: len(prompt)] == prompt
    assert for_torchtune.decode(ids[len(prompt) :]) == "Word<|im_end|>"
    assert mask[-1] is False  # the end-of-turn token is learned


def test_shipped_data_match_the_script() -> None:
    make_data = load_script(CAPITALIZATION / "make_data.py")
    splits = make_data.make_splits(make_data.SEED)
    assert {f"{name}.jsonl" for name in splits} == {path.name for path in (CAPITALIZATION / "data").iterdir()}
    for name, words in splits.items():
        shipped = (CAPITALIZATION / "data" / f"{name}.jsonl").read_bytes()
        assert make_data.as_jsonl(words).encode() == shipped, name


def test_splits_share_no_word() -> None:
    words: list[str] = []
    for path in sorted((CAPITALIZATION / "data").glob("*.jsonl")):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        assert len(rows) >= 100
        assert all(row["capitalized"] == row["word"].capitalize() != row["word"] for row in rows)
        words += [row["word"].lower() for row in rows]
    assert len(words) == len(set(words))
