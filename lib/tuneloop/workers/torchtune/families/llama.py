"""Llama 2, 3, 3.1 and 3.2, and the models that share their shape; the tokenizer tells which chats they have."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import InputError, Problem
from tuneloop.documents.files import read_text
from tuneloop.workers.torchtune.families import common
from tuneloop.workers.torchtune.families.common import Chat, Family
from tuneloop.workers.torchtune.families.qwen2 import CHATML

LLAMA3 = Chat(
    "llama3",
    end_of_turn="<|eot_id|>",
    pads=("<|finetune_right_pad_id|>", "<|end_of_text|>"),  # Llama 3.0 lacks the first
    needs=("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
)
LLAMA2 = Chat("llama2", end_of_turn="</s>", pads=("<pad>", "<unk>"), needs=("<s>", "</s>"))
# The rest of Llama 3's rope scaling is fixed in torchtune's Llama3ScaledRoPE.
_FIXED = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


def llama(config: Mapping[str, Any], source: Path, tokens: frozenset[str]) -> Family:
    """Llama 2 and 3 have no rope scaling, 3.1 a factor of 8, 3.2 one of 32 and tied embeddings (as a rule)."""
    common.check_head(config, source)
    common.check_values(config, source, {"hidden_act": ("silu",), "mlp_bias": (False,), "attention_bias": (False,)})
    dimensions = common.dimensions(config)
    scaling = common.check_scaling(config, source, "Llama", "llama3")
    tied = bool(config.get("tie_word_embeddings", False))
    if scaling == "llama3":
        _check_fixed(common.rope(config), source)
        dimensions["scale_factor"] = common.rope(config)["factor"]
    elif tied:
        dimensions["scale_factor"] = 1  # only Llama 3.2's builder ties embeddings; a factor of 1 scales nothing
    if tied:
        dimensions["tie_word_embeddings"] = True
    chat = common.choose_chat((LLAMA3, CHATML, LLAMA2), tokens, "llama", source.with_name("tokenizer.json"))
    if chat is LLAMA2:
        _check_blanks(source.parent)
    older = "llama2" if chat is LLAMA2 else "llama3"
    # Llama 2 is built as a Llama 3: the same function, and its own LoRA builder takes no rope_base.
    module = "llama3_2" if tied else "llama3_1" if scaling == "llama3" else "llama3"
    return Family(
        name=older,
        model_type="LLAMA3_2" if tied else older.upper(),
        builder=f"torchtune.models.{module}.{module}",
        lora_builder=f"torchtune.models.{module}.lora_{module}",
        dimensions=dimensions,
        chat=chat,
        layout=common.layout(config, interleaved=True),
        parameters=common.parameters(config, tied=tied),
        max_positions=int(config["max_position_embeddings"]),
        tied=tied,
    )


def _check_fixed(rope: Mapping[str, Any], source: Path) -> None:
    differing = [key for key, value in _FIXED.items() if rope.get(key, value) != value]
    if differing:
        names = ", ".join(f"`{key}: {rope[key]}`" for key in differing)
        raise InputError(Problem(f"torchtune cannot build a Llama with {names} in its rope scaling", source))


def _check_blanks(folder: Path) -> None:
    """Raise InputError where transformers 5 would encode a prompt otherwise than tokenizer.json says.

    Llama 2's file puts a blank before the text that follows a special token; transformers' class for it, which
    builds a tokenizer of its own from the file's vocabulary, puts none.
    """
    config = folder / "tokenizer_config.json"
    told = json.loads(read_text(config)).get("tokenizer_class", "") if config.is_file() else ""
    prepends = '"Prepend"' in json.dumps(json.loads(read_text(folder / "tokenizer.json")).get("normalizer"))
    if prepends and str(told).startswith("LlamaTokenizer"):
        message = f"transformers' {told} encodes texts otherwise than tokenizer.json, from which the model is trained"
        hint = "write `PreTrainedTokenizerFast` as `tokenizer_class`: both then take the file as it is"
        raise InputError(Problem(message, config, hint=hint))
