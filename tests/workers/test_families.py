"""Reading a model folder: every family's dimensions and chats, and what torchtune cannot build."""

import json
from pathlib import Path
from typing import Any

import pytest
import small_models
from test_torchtune_tokenizer import TURNS

import torchtune_case as case
from tuneloop.documents.errors import InputError
from tuneloop.workers.torchtune import worker
from tuneloop.workers.torchtune.components.tokenizer import Turn
from tuneloop.workers.torchtune.families import KNOWN, read_model

FAMILIES = sorted(small_models.SMALL)
SYSTEM, USER, ANSWER = "Be brief.", "Say aye", "Aye"


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: small_models.make(name, tmp_path_factory.mktemp(name) / name) for name in FAMILIES}


def test_every_known_family_is_tested() -> None:
    assert {small.model_type for small in small_models.SMALL.values()} == set(KNOWN)


# After the formats that the models were published with.
CHATS = {
    "gemma": "<bos><start_of_turn>user\nBe brief.\n\nSay aye<end_of_turn>\n<start_of_turn>model\nAye<end_of_turn>",
    "llama2": "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nSay aye [/INST] Aye </s>",
    "llama3": (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nSay aye<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nAye<|eot_id|>"
    ),
    "mistral": "<s>[INST] Be brief.\n\nSay aye[/INST] Aye</s>",
    "phi3": "<|system|>\nBe brief.<|end|>\n<|user|>\nSay aye<|end|>\n<|assistant|>\nAye<|end|>",
    "qwen2": (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nSay aye<|im_end|>\n"
        "<|im_start|>assistant\nAye<|im_end|>"
    ),
}
CHATS |= {"gemma2": CHATS["gemma"], "llama3_2": CHATS["llama3"]}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_chat_is_written_as_published(family: str, models: dict[str, Path]) -> None:
    tokenizer = case.tokenizer(models[family])
    tokens, mask = tokenizer.tokenize(
        [Turn("system", SYSTEM, True), Turn("user", USER, True), Turn("assistant", ANSWER, False)]
    )
    assert tokenizer.decode(tokens, skip_special_tokens=False) == CHATS[family]
    trained = [token for token, ignored in zip(tokens, mask, strict=True) if not ignored]
    text = tokenizer.decode(trained, skip_special_tokens=False)
    assert CHATS[family].endswith(text)
    assert SYSTEM not in text
    assert USER not in text
    assert trained[-1] == tokenizer.eos_id
    if bos := small_models.SMALL[family].bos:
        assert tokens.count(tokenizer.tokenizer.token_to_id(bos)) == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_prompt_ids_equal_transformers(family: str, models: dict[str, Path]) -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(models[family])
    theirs.chat_template = read_model(models[family]).family.template
    said = [{"role": turn.role, "content": turn.text} for turn in TURNS[:-1]]
    wanted = list(theirs.apply_chat_template(said, add_generation_prompt=True, return_dict=False))
    ours = case.tokenizer(models[family])
    assert ours.prompt(TURNS[:-1]) == wanted
    assert ours.tokenize(TURNS)[0][: len(wanted)] == wanted


@pytest.mark.parametrize("family", FAMILIES)
def test_every_answer_is_trained_and_nothing_else(family: str, models: dict[str, Path]) -> None:
    tokenizer = case.tokenizer(models[family])
    tokens, mask = tokenizer.tokenize(TURNS)
    assert sum(token == tokenizer.eos_id and not ignored for token, ignored in zip(tokens, mask, strict=True)) == 2
    trained = tokenizer.decode([token for token, ignored in zip(tokens, mask, strict=True) if not ignored])
    assert "Word" in trained
    assert "Naïve" in trained
    assert "capitalize" not in trained


def test_a_tokenizer_that_begins_with_a_blank_is_encoded_in_one_piece(models: dict[str, Path], tmp_path: Path) -> None:
    """Llama 2's tokenizer puts a blank before whatever it is given; turn by turn, there would be too many."""
    folder = case.copy_of(models["llama2"], tmp_path / "model")
    said = json.loads((folder / "tokenizer.json").read_text())
    blanks = {"type": "Replace", "pattern": {"String": " "}, "content": "Ġ"}
    said["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "Ġ"}, blanks]}
    said["pre_tokenizer"] = None
    (folder / "tokenizer.json").write_text(json.dumps(said))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"tokenizer_class": "LlamaTokenizer"}))
    with pytest.raises(InputError, match="LlamaTokenizer encodes texts otherwise"):
        read_model(folder)

    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = case.tokenizer(folder)
    turns = [Turn("user", "aye", True), Turn("assistant", "AYE", False)]
    prompt = tokenizer.prompt(turns[:1])
    tokens, mask = tokenizer.tokenize(turns)
    assert tokens[: len(prompt)] == prompt
    assert mask == [True] * len(prompt) + [False] * (len(tokens) - len(prompt))


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("gemma", {"hidden_activation": "relu"}, "torchtune cannot build a model with `hidden_activation: relu`"),
    ("gemma", {"head_dim": None}, "config.json has no `head_dim`, which torchtune needs"),
    (
        "gemma2",
        {"layer_types": ["full_attention"] * 2},
        "torchtune cannot build a Gemma 2 with other than alternating `layer_types`",
    ),
    ("gemma2", {"attention_dropout": 0.1}, "torchtune cannot build a model with `attention_dropout: 0.1`"),
    ("llama3", {"mlp_bias": True}, "torchtune cannot build a model with `mlp_bias: True`"),
    (
        "llama3",
        {"rope_parameters": {"rope_type": "yarn"}},
        "torchtune's Llama has no rope scaling of type `yarn`",
    ),
    ("mistral", {"head_dim": 24}, "`head_dim` times `num_attention_heads` is not `hidden_size`"),
    ("phi3", {"rope_parameters": {"type": "longrope"}}, "torchtune's Phi-3 has no rope scaling of type `longrope`"),
    (
        "phi3",
        {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.75}},
        "torchtune cannot build a Phi-3 with `partial_rotary_factor: 0.75`",
    ),
    ("phi3", {"num_key_value_heads": None}, "config.json has no `num_key_value_heads`, which torchtune needs"),
    ("qwen2", {"use_sliding_window": True}, "torchtune cannot build a model with `use_sliding_window: True`"),
    ("qwen2", {"tie_word_embeddings": None}, "config.json has no `tie_word_embeddings`, which torchtune needs"),
]


@pytest.mark.parametrize("family, changes, message", REFUSED, ids=[f"{row[0]}-{next(iter(row[1]))}" for row in REFUSED])
def test_what_torchtune_cannot_build_is_refused(
    family: str, changes: dict[str, Any], message: str, models: dict[str, Path], tmp_path: Path
) -> None:
    folder = case.copy_of(models[family], tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(InputError) as caught:
        read_model(folder)
    (problem,) = caught.value.problems
    assert problem.message == message
    (fault,) = worker.scaffold(case.order(tmp_path / "experiment", model=str(folder))).faults
    assert fault.hint


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tokenizer_without_the_chats_tokens_is_refused(family: str, models: dict[str, Path], tmp_path: Path) -> None:
    folder = case.copy_of(models[family], tmp_path / "model")
    said = json.loads((folder / "tokenizer.json").read_text()) | {"added_tokens": []}
    (folder / "tokenizer.json").write_text(json.dumps(said))
    with pytest.raises(InputError, match="the tokenizer has no special token"):
        read_model(folder)


@pytest.mark.parametrize("family, positions", [("mistral", 128), ("phi3", 200), ("gemma2", 512), ("gemma", 512)])
def test_a_window_that_torchtune_leaves_out_bounds_the_positions(
    family: str, positions: int, models: dict[str, Path]
) -> None:
    assert read_model(models[family]).max_positions == positions


def test_gemma_has_no_output_target(models: dict[str, Path], tmp_path: Path) -> None:
    asked = case.order(tmp_path, model=str(models["gemma"]), controls={"lora_targets": ["q_proj", "output"]})
    (fault,) = worker.scaffold(asked).faults
    assert fault.message.startswith("`output` cannot be a LoRA target")


def test_gemma2_is_not_packed_on_a_gpu(models: dict[str, Path], tmp_path: Path) -> None:
    controls = {"batch_size": 1, "packed": True, "max_seq_len": 128}
    here = case.order(tmp_path, model=str(models["gemma2"]), controls=controls)
    assert worker.scaffold(here).faults == ()
    (fault,) = worker.scaffold(case.order(tmp_path, gpus=1, model=str(models["gemma2"]), controls=controls)).faults
    assert fault.message == "torchtune cannot pack samples for gemma2 on a GPU"
