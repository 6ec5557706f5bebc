"""Gemma and Gemma 2: heads of their own width, tied embeddings, no system turn."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import InputError, Problem
from tuneloop.workers.torchtune.families import common
from tuneloop.workers.torchtune.families.common import Chat, Family

GEMMA = Chat(
    "gemma",
    end_of_turn="<end_of_turn>",
    pads=("<pad>",),
    needs=("<bos>", "<start_of_turn>", "<end_of_turn>"),
)
_OURS = "tuneloop.workers.torchtune.components.gemma2"
_VALUES: dict[str, tuple[Any, ...]] = {
    "tie_word_embeddings": (True,),
    "attention_bias": (False,),
    "use_bidirectional_attention": (None, False),
}


def gemma(config: Mapping[str, Any], source: Path, tokens: frozenset[str]) -> Family:
    common.check_required(config, source, "head_dim")
    # "gelu" in the first releases' configs means the tanh approximation; transformers reads it so, too.
    activations = {"hidden_act": ("gelu_pytorch_tanh", "gelu"), "hidden_activation": (None, "gelu_pytorch_tanh")}
    common.check_values(config, source, _VALUES | activations)
    common.check_scaling(config, source, "Gemma")
    return Family(
        name="gemma",
        model_type="GEMMA",
        builder="torchtune.models.gemma.gemma",
        lora_builder="torchtune.models.gemma.lora_gemma",
        dimensions=common.dimensions(config) | {"head_dim": config["head_dim"]},
        chat=common.choose_chat((GEMMA,), tokens, "gemma", source.with_name("tokenizer.json")),
        layout=common.layout(config, interleaved=True),
        parameters=common.parameters(config, tied=True),
        max_positions=int(config["max_position_embeddings"]),
        tied=True,
        adapts_output=False,
    )


def gemma2(config: Mapping[str, Any], source: Path, tokens: frozenset[str]) -> Family:
    common.check_required(config, source, "head_dim", "query_pre_attn_scalar")
    more = {"hidden_activation": ("gelu_pytorch_tanh",), "attention_dropout": (0.0,)}
    common.check_values(config, source, _VALUES | more)
    common.check_scaling(config, source, "Gemma 2")
    _check_layers(config, source)
    more_dimensions = {
        "head_dim": config["head_dim"],
        "hidden_capping_value": config.get("attn_logit_softcapping", 50.0),
        "final_capping_value": config.get("final_logit_softcapping", 30.0),
        "sliding_window_size": config.get("sliding_window", 4096),
        "query_pre_attn_scalar": config["query_pre_attn_scalar"],
    }
    return Family(
        name="gemma2",
        model_type="GEMMA2",
        builder=f"{_OURS}.gemma2",
        lora_builder=f"{_OURS}.lora_gemma2",
        dimensions=common.dimensions(config) | more_dimensions,
        chat=common.choose_chat((GEMMA,), tokens, "gemma2", source.with_name("tokenizer.json")),
        layout=common.layout(config, interleaved=True),
        parameters=common.parameters(config, tied=True, norms=4),
        max_positions=int(config["max_position_embeddings"]),
        tied=True,
        adapts_output=False,
        packs_on_gpu=False,
    )


def _check_layers(config: Mapping[str, Any], source: Path) -> None:
    """torchtune's builder slides the window on every other layer, from the first on."""
    kinds = ("sliding_attention", "full_attention")
    alternating = [kinds[layer % 2] for layer in range(config["num_hidden_layers"])]
    if config.get("layer_types", alternating) != alternating:
        raise InputError(Problem("torchtune cannot build a Gemma 2 with other than alternating `layer_types`", source))
