"""Formats, weights and packs: what a file's samples become, checked with torchtune's own collating and packing."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import small_models
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from torchtune.data import padded_collate, padded_collate_dpo, padded_collate_packed, padded_collate_sft
from torchtune.datasets import PackedDataset

import torchtune_case as case
from tuneloop.documents.errors import InputError
from tuneloop.documents.records import read_records
from tuneloop.experiment.formats import FORMATS, Format, formats_for
from tuneloop.workers.adapters import hide_old_torchao
from tuneloop.workers.torchtune.auditing import Split, Validation, _batches, _fault, validated
from tuneloop.workers.torchtune.components.dataset import (
    preference_dataset,
    prompt_dataset,
    sft_dataset,
    text_dataset,
)
from tuneloop.workers.torchtune.components.tokenizer import ChatTokenizer
from tuneloop.workers.torchtune.data import read_samples, reading, turns
from tuneloop.workers.torchtune.encoding import IGNORED, Kind, end_of_text
from tuneloop.workers.torchtune.families import read_model
from tuneloop.workers.torchtune.mixing import epoch_of, packs, share

CHAT = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
SHARED = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]


def source(folder: Path, rows: list[Any], kind: str, name: str = "data.jsonl", **said: Any) -> dict[str, Any]:
    """Write rows to a file and return it as a source of a dataset."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    if path.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return {"source": str(path), "format": kind, **said}


def faults(folder: Path, rows: list[Any], kind: str, **said: Any) -> list[str]:
    path = Path(source(folder, rows, kind)["source"])
    with pytest.raises(InputError) as caught:
        read_samples(path, reading(kind, **said))
    assert all(item.hint and item.source == path and item.line for item in caught.value.problems)
    return [item.message for item in caught.value.problems]


def trained(item: dict[str, list[int]], ids: str = "tokens", labels: str = "labels") -> str:
    """Return the text that is trained of an item."""
    kept = [token for token, label in zip(item[ids], item[labels], strict=True) if label != IGNORED]
    return case.tokenizer().decode(kept, skip_special_tokens=False)


def read(item: dict[str, list[int]], ids: str = "tokens") -> str:
    return case.tokenizer().decode(item[ids], skip_special_tokens=False)


# Formats


def test_the_formats_are_those_of_the_schema() -> None:
    assert set(FORMATS) == set(Format.__args__)
    assert formats_for("sft") == ["instruct", "chat", "text"]
    assert formats_for("preference") == ["preference"]
    assert formats_for("rl") == ["instruct", "chat"]
    assert formats_for("distillation") == ["instruct", "chat", "text"]


@pytest.mark.parametrize("name", list(FORMATS))
def test_the_example_of_a_format_is_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(FORMATS[name].example + "\n")
    assert read_samples(path, reading(name)) == [json.loads(FORMATS[name].example)]


def test_both_ways_to_write_a_chat_are_one(tmp_path: Path) -> None:
    shared = [{"from": "system", "value": "s"}, {"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
    openai = [{"role": "system", "content": "s"}, *CHAT]
    one, other = ({"messages": said} for said in (openai, shared))
    assert turns(one, reading("chat")) == turns(other, reading("chat"))
    named = source(tmp_path, [{"conversations": shared}], "chat", columns={"messages": "conversations"})
    items = [
        sft_dataset(case.tokenizer(), sources=[item])[0] for item in (source(tmp_path, [one], "chat", "b.jsonl"), named)
    ]
    assert items[0] == items[1]


def test_chats_of_parquet_and_csv_are_those_of_jsonl(tmp_path: Path) -> None:
    rows = [{"messages": CHAT}]
    (tmp_path / "data.csv").write_text('messages\n"' + json.dumps(CHAT).replace('"', '""') + '"\n')
    found = [
        sft_dataset(case.tokenizer(), sources=[item])[0]
        for item in (
            source(tmp_path, rows, "chat"),
            source(tmp_path, rows, "chat", "data.parquet"),
            {"source": str(tmp_path / "data.csv"), "format": "chat"},
        )
    ]
    assert found[0] == found[1] == found[2]


def test_a_prompt_and_a_system_turn_belong_to_their_file(tmp_path: Path) -> None:
    plain = source(tmp_path, [{"input": "x {input}", "output": "y"}], "instruct")
    dressed = source(tmp_path, [{"q": "x", "a": "z"}], "instruct", "b.jsonl", columns={"input": "q", "output": "a"})
    dressed |= {"prompt": "do {input}!", "system": "Be brief."}
    texts = sorted(read(item) for item in sft_dataset(case.tokenizer(), sources=[plain, dressed]))
    assert "Be brief." in texts[0]
    assert "do x!" in texts[0]
    assert "\nx {input}<" in texts[1]


@pytest.mark.parametrize(
    ("kind", "row", "message"),
    [
        ("instruct", {"input": "a", "outptu": "b"}, "no column `output`"),
        ("instruct", {"input": 3, "output": "b"}, "column `input` is not text, it is a number"),
        ("instruct", {"input": None, "output": "b"}, "column `input` is not text, it is null"),
        ("instruct", 3, "expected an object with columns, found a number"),
        ("chat", {"messages": "a"}, "column `messages`: expected a list of messages"),
        ("chat", {"messages": []}, "column `messages`: expected a list of messages"),
        ("chat", {"messages": [1]}, "column `messages`: a message needs `role` and a text `content`"),
        ("chat", {"messages": CHAT[:1]}, "column `messages`: the last message is not the assistant's"),
        (
            "chat",
            {"messages": [{"role": "tool", "content": "a"}]},
            "column `messages`: unknown role 'tool'; known: system, user, assistant",
        ),
        ("text", {"text": " \n"}, "column `text` is empty"),
        ("text", {"text": ["a"]}, "column `text` is not text, it is a list"),
        ("preference", {"input": "a", "chosen": "b"}, "no column `rejected`"),
        (
            "preference",
            {"chosen": "b", "rejected": "c"},
            "column `chosen` is an answer to nothing: there is no column `input`",
        ),
        (
            "preference",
            {"input": "a", "chosen": 1, "rejected": "c"},
            "column `chosen` is neither text nor a list of messages, it is a number",
        ),
        (
            "preference",
            {"chosen": CHAT, "rejected": [{"role": "user", "content": "other"}, CHAT[1]]},
            "the chosen and the rejected conversation begin differently",
        ),
        ("preference", {"input": "a", "chosen": "b", "rejected": "b"}, "chosen and rejected are the same"),
        (
            "preference",
            {"chosen": CHAT, "rejected": [*CHAT, *CHAT]},
            "one conversation goes on where the other one ends",
        ),
        (
            "preference",
            {"chosen": CHAT, "rejected": SHARED},
            "column `rejected`: the last message is not the assistant's",
        ),
    ],
)
def test_a_bad_sample_is_told(tmp_path: Path, kind: str, row: Any, message: str) -> None:
    assert faults(tmp_path, [row], kind) == [message]


@pytest.mark.parametrize(
    "cell, fault",
    [
        ("[1", "not JSON: Expecting ',' delimiter"),
        ('[{"role": "user", "content": "a", "weight": NaN}]', "not JSON: NaN is not a number"),
        ('[{"role": "user", "content": "a", "role": "assistant"}]', "the key `role` stands twice in an object"),
        (r'[{"role": "assistant", "content": "\ud800"}]', "'\\ud800' is half of a letter"),
        ("[" * 100_000, "lists or objects nested too deeply"),
    ],
)
def test_json_in_a_cell_is_read_as_a_file_of_it_is(tmp_path: Path, cell: str, fault: str) -> None:
    """A cell of CSV holds a list of messages as text; of a file with the same words the reader says the same."""
    told = faults(tmp_path, [{"messages": cell}], "chat")
    assert told == [f"column `messages`: the list of messages cannot be read: {fault}"]
    (tmp_path / "same.json").write_text(cell)
    with pytest.raises(InputError) as caught:
        read_records(tmp_path / "same.json")
    assert [item.message for item in caught.value.problems] == [fault]


def test_the_nearest_column_is_offered(tmp_path: Path) -> None:
    path = Path(source(tmp_path, [{"input": "a", "outptu": "b"}], "instruct")["source"])
    with pytest.raises(InputError, match=r"did you mean `outptu`\? set `columns: {output: outptu}`"):
        read_samples(path, reading("instruct"))


def test_a_row_of_parquet_has_its_number(tmp_path: Path) -> None:
    rows = [{"text": "a"}, {"text": None}]
    path = Path(source(tmp_path, rows, "text", "data.parquet")["source"])
    with pytest.raises(InputError) as caught:
        read_samples(path, reading("text"))
    assert [item.message for item in caught.value.problems] == ["row 2: column `text` is not text, it is null"]


# What is trained


def test_the_whole_text_is_trained_and_ends(tmp_path: Path) -> None:
    said = source(tmp_path, [{"text": "One.\nTwo."}], "text")
    item = text_dataset(case.tokenizer(), sources=[said])[0]
    assert read(item) == "One.\nTwo.<|endoftext|>"
    assert trained(item) == "ne.\nTwo.<|endoftext|>"  # nothing comes before the first token to predict it from
    batch = padded_collate_sft([item, item])
    assert batch["labels"].shape == batch["tokens"].shape


def test_a_text_of_llama_begins_and_ends_as_its_tokenizer_says(tmp_path: Path) -> None:
    folder = case.llama_folder(tmp_path / "llama")
    used = case.tokenizer(folder)
    tokens = text_dataset(used, sources=[source(tmp_path, [{"text": "ab"}], "text")])[0]["tokens"]
    assert tokens[-1] == end_of_text(used) == used.tokenizer.token_to_id("<|end_of_text|>")


def test_a_text_begins_with_the_token_that_its_tokenizer_writes(tmp_path: Path) -> None:
    used = case.tokenizer(small_models.make("gemma", tmp_path / "gemma"))
    tokens = text_dataset(used, sources=[source(tmp_path, [{"text": "ab"}], "text")])[0]["tokens"]
    assert [used.tokenizer.id_to_token(tokens[place]) for place in (0, -1)] == ["<bos>", "<eos>"]


def test_a_long_text_is_cut_alone_and_goes_on_in_a_pack(tmp_path: Path) -> None:
    said = [source(tmp_path, [{"text": "a" * 100}, {"text": "b" * 30}], "text")]
    used = case.tokenizer(max_seq_len=32)
    assert [len(item["tokens"]) for item in text_dataset(used, sources=said)] in ([32, 31], [31, 32])
    whole = text_dataset(used, sources=said, packed=True)
    assert sum(int(token) == end_of_text(used) for pack in whole for token in pack["tokens"][:32]) >= 2
    assert len(whole) == packs([101, 31], 32, split=True)
    assert padded_collate_packed(list(whole))["tokens"].shape == (len(whole), 32)


def test_the_sides_of_a_preference_differ_in_what_is_trained_alone(tmp_path: Path) -> None:
    said = source(tmp_path, [{"input": "x", "chosen": "good", "rejected": "bad"}], "preference", prompt="do {input}")
    item = preference_dataset(case.tokenizer(), sources=[said])[0]
    assert trained(item, "chosen_input_ids", "chosen_labels") == "<|im_start|>assistant\ngood<|im_end|>"
    assert trained(item, "rejected_input_ids", "rejected_labels") == "<|im_start|>assistant\nbad<|im_end|>"
    assert "do x" in read(item, "chosen_input_ids")
    ids, labels = padded_collate_dpo([item, item], padding_idx=case.tokenizer().pad_id)
    assert ids.shape == labels.shape == (4, max(len(item["chosen_input_ids"]), len(item["rejected_input_ids"])))


def test_preferences_are_written_in_three_ways(tmp_path: Path) -> None:
    good, bad = ({"role": "assistant", "content": word} for word in ("good", "bad"))
    rows = [
        {"chosen": [*SHARED, good], "rejected": [*SHARED, bad]},
        {"input": SHARED, "chosen": [good], "rejected": [bad]},
        {"input": SHARED, "chosen": "good", "rejected": "bad"},
    ]
    items = [
        preference_dataset(case.tokenizer(), sources=[source(tmp_path, [row], "preference", f"{place}.jsonl")])[0]
        for place, row in enumerate(rows)
    ]
    assert items[0] == items[1] == items[2]
    assert trained(items[0], "chosen_input_ids", "chosen_labels") == "<|im_start|>assistant\ngood<|im_end|>"


def test_prompts_end_where_the_model_speaks(tmp_path: Path) -> None:
    said = [
        source(tmp_path, [{"input": "x", "output": "never"}], "instruct"),
        source(tmp_path, [{"messages": [*SHARED, CHAT[1]]}], "chat", "b.jsonl"),
    ]
    items = list(prompt_dataset(case.tokenizer(), sources=said))
    assert all(read(item).endswith("<|im_start|>assistant\n") and "never" not in read(item) for item in items)
    collate = partial(padded_collate, pad_direction="left", keys_to_pad=["tokens", "labels"])
    tokens = collate(items, padding_idx=case.tokenizer().pad_id)["tokens"]
    assert tokens[:, -1].tolist() == [case.tokenizer().encode("\n")[0]] * 2
    with pytest.raises(ValueError, match="more than max_seq_len"):
        list(prompt_dataset(case.tokenizer(max_seq_len=8), sources=said))


def test_packs_predict_nothing_from_another_sample(tmp_path: Path) -> None:
    rows = [{"text": letter * 9} for letter in "abc"]
    (pack,) = text_dataset(case.tokenizer(max_seq_len=64), sources=[source(tmp_path, rows, "text")], packed=True)
    assert pack["labels"].tolist().count(IGNORED) == 3 + 64 - 30


# Verification looks at the same tokens


def audited(folder: Path, rows: list[Any], kind: Kind, file_format: str, used: ChatTokenizer) -> str | None:
    how = reading(file_format)
    samples = read_samples(Path(source(folder, rows, file_format)["source"]), how)
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(case.TINY)
    theirs.chat_template = read_model(case.TINY).family.template
    return _fault(Split(kind, [(how, samples)], used), samples[0], how, theirs)


@pytest.mark.parametrize(
    ("kind", "file_format", "row"),
    [
        ("sft", "instruct", {"input": "a", "output": "b"}),
        ("sft", "chat", {"messages": [*SHARED, CHAT[1]]}),
        ("text", "text", {"text": "abc"}),
        ("preference", "preference", {"input": "a", "chosen": "b", "rejected": "c"}),
        ("prompts", "instruct", {"input": "a", "output": "b"}),
    ],
)
def test_a_sound_mask_passes_the_audit(tmp_path: Path, kind: Kind, file_format: str, row: Any) -> None:
    assert audited(tmp_path, [row], kind, file_format, case.tokenizer()) is None
    assert audited(tmp_path, [row], kind, file_format, case.tokenizer(max_seq_len=8)) is None or kind == "prompts"


class Stubborn(ChatTokenizer):
    """Masks the last token, as torchtune's own tokenizers do under a limit, and drops the end of a text."""

    def tokenize(self, turns: Any) -> tuple[list[int], list[bool]]:
        tokens, mask = super().tokenize(turns)
        return tokens, [*mask[:-1], True]


@pytest.mark.parametrize(
    ("kind", "file_format", "row"),
    [
        ("sft", "instruct", {"input": "a", "output": "b"}),
        ("preference", "preference", {"input": "a", "chosen": "b", "rejected": "c"}),
    ],
)
def test_a_mask_without_the_end_fails_the_audit(tmp_path: Path, kind: Kind, file_format: str, row: Any) -> None:
    model = read_model(case.TINY)
    family = model.family
    used = Stubborn(str(model.tokenizer), family.template_file, family.end_of_turn, model.pad)
    found = audited(tmp_path, [row], kind, file_format, used)
    assert found is not None
    assert "would never stop" in found


def test_validation_reads_every_file_once(tmp_path: Path) -> None:
    one, other = reading("instruct"), reading("instruct", prompt="do {input}")
    rows = [{"input": "a", "output": "b"}]
    split = Split("sft", [(one, rows * 2), (other, rows)], case.tokenizer())
    ((ids, labels, attention),) = _batches(split, "cpu")
    assert ids.shape[0] == 3
    assert (labels[:, 0] == IGNORED).all()
    assert sorted(attention.sum(dim=1).tolist()) == sorted(
        [len(case.tokenizer().tokenize(turns(rows[0], how))[0]) for how in (one, one, other)]
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft asks transformers for a name that it drops
def test_the_validation_loss_of_preferences_is_torchtunes(tmp_path: Path) -> None:
    hide_old_torchao()
    import torch
    from peft import LoraConfig, get_peft_model
    from torchtune.rlhf import get_batch_log_probs
    from torchtune.rlhf.loss import DPOLoss
    from transformers import AutoModelForCausalLM

    rows = [
        {"input": word["word"], "chosen": word["capitalized"], "rejected": word["word"]} for word in case.words("p", 5)
    ]
    said = source(tmp_path, rows, "preference")
    how = reading("preference")
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(case.TINY, dtype=torch.float32)
    model = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)).eval()
    items = [preference_dataset(case.tokenizer(), sources=[said])[place] for place in range(5)]
    ids, labels = padded_collate_dpo(items, padding_idx=case.tokenizer().pad_id)
    with torch.inference_mode():
        policy = get_batch_log_probs(model(input_ids=ids).logits, labels)
        with model.disable_adapter():
            reference = get_batch_log_probs(model(input_ids=ids).logits, labels)
    theirs = DPOLoss(beta=0.3, label_smoothing=0.1)(policy[:5], policy[5:], reference[:5], reference[5:])[0].mean()
    split = Split("preference", [(how, read_samples(Path(said["source"]), how))], case.tokenizer())
    loss = {"_component_": "torchtune.rlhf.loss.DPOLoss", "beta": 0.3, "label_smoothing": 0.1}

    @contextmanager
    def before() -> Iterator[Any]:
        with model.disable_adapter():
            yield model

    found = validated(model, Validation(split, split, loss), before)
    assert found["validation_loss"] == pytest.approx(float(theirs), rel=1e-5)
    assert found["validation_tokens"] == int((labels[:, 1:] != IGNORED).sum())
    gains = policy - reference
    assert found["validation_accuracy"] == pytest.approx(float((gains[:5] > gains[5:]).float().mean()))
    other = validated(model, Validation(split, split, {"_component_": "torchtune.rlhf.loss.RSOLoss"}), before)
    assert (other["validation_loss"], other["reason"]) == (None, "the loss of preferences is computed for DPO alone")


# Weights and packs


@given(
    st.lists(st.tuples(st.integers(1, 30), st.floats(0.05, 4)), min_size=1, max_size=4),
    st.integers(0, 10),
)
@settings(max_examples=150, deadline=None)
def test_weights_are_counted_exactly(files: list[tuple[int, float]], seed: int) -> None:
    counts, weights = [count for count, _ in files], [weight for _, weight in files]
    picked = epoch_of(counts, weights, seed)
    assert picked == epoch_of(counts, weights, seed), "one draw a run"
    for place, (count, weight) in enumerate(files):
        times = [picked.count((place, index)) for index in range(count)]
        assert sum(times) == share(count, weight)
        assert abs(sum(times) - weight * count) <= 0.5
        assert max(times) - min(times) <= 1, "whole parts repeat, a fraction adds one at most"


def test_a_seed_draws_the_fraction() -> None:
    drawn = [{index for _, index in epoch_of([40], [0.5], seed)} for seed in range(4)]
    assert all(len(found) == 20 for found in drawn)
    assert len({frozenset(found) for found in drawn}) == 4


@pytest.mark.parametrize("weight", [0.5, 1, 2, 2.5])
def test_a_dataset_holds_its_weights(tmp_path: Path, weight: float) -> None:
    one = source(tmp_path, [{"text": "a"}] * 4, "text", weight=weight)
    other = source(tmp_path, [{"text": "b"}] * 3, "text", "b.jsonl")
    texts = [read(item)[0] for item in text_dataset(case.tokenizer(), sources=[one, other], seed=3)]
    assert (texts.count("a"), texts.count("b")) == (4 * weight, 3)


class Lengths(list[dict[str, list[int]]]):
    """Samples that are nothing but long."""

    def __init__(self, lengths: list[int]) -> None:
        super().__init__({"tokens": [1] * length, "labels": [1] * length} for length in lengths)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(40, 60))
@settings(max_examples=80, deadline=None)
def test_we_count_packs_as_torchtune_makes_them(lengths: list[int], most: int) -> None:
    for split in (False, True):
        made = PackedDataset(Lengths(lengths), max_seq_len=most, split_across_pack=split)
        assert packs(lengths, most, split=split) == len(made)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(3, 20))
@settings(max_examples=40, deadline=None)
def test_texts_longer_than_a_pack_are_counted(lengths: list[int], most: int) -> None:
    made = PackedDataset(Lengths(lengths), max_seq_len=most, split_across_pack=True)
    assert packs(lengths, most, split=True) == len(made)
    assert sum(int((pack["labels"] != IGNORED).sum()) for pack in made) == sum(lengths)
