"""The tokenizer component: ids are transformers' own, and the end-of-turn token is trained."""

import json
from pathlib import Path
from typing import Any

import pytest
from torchtune.data import Message
from torchtune.models.qwen2_5 import qwen2_5_tokenizer

import torchtune_case as case
from tuneloop.workers.torchtune.components.dataset import sft_dataset
from tuneloop.workers.torchtune.components.tokenizer import Turn
from tuneloop.workers.torchtune.encoding import IGNORED
from tuneloop.workers.torchtune.families import read_model

MESSAGES = [
    Message(role="system", content="You answer in capitals.", masked=True),
    Message(role="user", content="capitalize: wOrd", masked=True),
    Message(role="assistant", content="Word", masked=False),
    Message(role="user", content="naïve 東京 <b>", masked=True),
    Message(role="assistant", content="Naïve", masked=False),
]
TURNS = [Turn(item.role, item.text_content, item.masked) for item in MESSAGES]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return case.llama_folder(tmp_path_factory.mktemp("llama"))


def torchtunes_own(max_seq_len: int | None):
    return qwen2_5_tokenizer(
        path=str(case.TINY / "vocab.json"),
        merges_file=str(case.TINY / "merges.txt"),
        special_tokens_path=str(case.TINY / "special_tokens.json"),
        max_seq_len=max_seq_len,
    )


def test_ids_and_mask_equal_torchtunes_without_a_limit() -> None:
    assert case.tokenizer().tokenize_messages(MESSAGES) == torchtunes_own(None).tokenize_messages(MESSAGES)


def test_the_end_of_turn_is_trained_under_a_limit() -> None:
    _, theirs = torchtunes_own(400).tokenize_messages(MESSAGES)
    assert theirs[-1] is True  # torchtune#2792; when this fails, it has been mended
    tokenizer = case.tokenizer(max_seq_len=400)
    tokens, mask = tokenizer.tokenize_messages(MESSAGES)
    assert (tokens[-1], mask[-1]) == (tokenizer.eos_id, False)


def test_a_cut_sample_is_not_taught_to_stop() -> None:
    whole, mask = case.tokenizer().tokenize(TURNS)
    for limit in (40, len(whole) - 1):
        assert case.tokenizer(max_seq_len=limit).tokenize(TURNS) == (whole[:limit], mask[:limit])


def test_a_sample_of_just_the_limit_is_whole() -> None:
    whole = case.tokenizer().tokenize(TURNS)
    assert case.tokenizer(max_seq_len=len(whole[0])).tokenize(TURNS) == whole


def test_llama_trains_its_end_of_turn(llama: Path) -> None:
    tokenizer = case.tokenizer(llama, max_seq_len=400)
    tokens, mask = tokenizer.tokenize(TURNS)
    assert tokens[0] == tokenizer.tokenizer.token_to_id("<|begin_of_text|>")
    assert (tokens[-1], mask[-1]) == (tokenizer.tokenizer.token_to_id("<|eot_id|>"), False)


@pytest.mark.parametrize("family", ["qwen2", "llama"])
def test_prompt_ids_equal_transformers(family: str, llama: Path) -> None:
    from transformers import AutoTokenizer

    folder = case.TINY if family == "qwen2" else llama
    theirs = AutoTokenizer.from_pretrained(folder)
    theirs.chat_template = read_model(folder).family.template
    said = [{"role": turn.role, "content": turn.text} for turn in TURNS[:-1]]
    wanted = theirs.apply_chat_template(said, add_generation_prompt=True, return_dict=False)
    assert case.tokenizer(folder).prompt(TURNS[:-1]) == list(wanted)
    assert case.tokenizer(folder).tokenize(TURNS)[0][: len(wanted)] == list(wanted)


def words(folder: Path, **said: Any) -> dict[str, Any]:
    """Return the training file of a case as a source."""
    path, columns = str(folder / "data" / "train.jsonl"), {"input": "word", "output": "capitalized"}
    return {"source": path, "format": "instruct", "columns": columns, **said}


def test_packing_keeps_every_end_of_turn(tmp_path: Path) -> None:
    case.order(tmp_path, samples=8)
    tokenizer = case.tokenizer(max_seq_len=128)
    packs = sft_dataset(
        tokenizer,
        sources=[words(tmp_path, prompt="capitalize: {input}")],
        packed=True,
    )
    labels = [label for pack in packs for label in pack["labels"].tolist()]
    assert sum(label == tokenizer.eos_id for label in labels) == 8


def test_a_seed_decides_the_order_of_samples(tmp_path: Path) -> None:
    case.order(tmp_path)
    said = [words(tmp_path)]
    orders = [list(sft_dataset(case.tokenizer(), sources=said, seed=seed)) for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(map(str, orders[0])) == sorted(map(str, orders[2]))


def test_inputs_are_trained_only_when_asked(tmp_path: Path) -> None:
    case.order(tmp_path, samples=1)
    said = [words(tmp_path, system="Be brief.")]
    few, more = (
        sum(
            label != IGNORED for label in sft_dataset(case.tokenizer(), train_on_input=asked, sources=said)[0]["labels"]
        )
        for asked in (False, True)
    )
    assert few < more < len(sft_dataset(case.tokenizer(), sources=said)[0]["tokens"])


def test_chats_are_read_turn_by_turn(tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "B"}]
    path.write_text(json.dumps({"messages": messages * 2}) + "\n")
    labels = sft_dataset(case.tokenizer(), sources=[{"source": str(path), "format": "chat"}])[0]["labels"]
    assert labels.count(case.tokenizer().eos_id) == 2
