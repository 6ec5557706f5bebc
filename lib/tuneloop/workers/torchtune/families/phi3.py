"""Phi-3 with plain rotary positions, such as Phi-3 mini 4k."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import InputError, Problem
from tuneloop.workers.torchtune.families import common
from tuneloop.workers.torchtune.families.common import Chat, Family

PHI3 = Chat(
    "phi3",
    end_of_turn="<|end|>",
    pads=("<|endoftext|>",),
    needs=("<|user|>", "<|assistant|>", "<|system|>", "<|end|>"),
)


def phi3(config: Mapping[str, Any], source: Path, tokens: frozenset[str]) -> Family:
    common.check_head(config, source)
    nothing = {"resid_pdrop": (0.0,), "embd_pdrop": (0.0,), "attention_bias": (False,), "tie_word_embeddings": (False,)}
    common.check_values(config, source, {"hidden_act": ("silu",)} | nothing)
    common.check_scaling(config, source, "Phi-3")
    partial = common.rope(config).get("partial_rotary_factor", config.get("partial_rotary_factor", 1.0))
    if partial != 1.0:
        raise InputError(Problem(f"torchtune cannot build a Phi-3 with `partial_rotary_factor: {partial}`", source))
    return Family(
        name="phi3",
        model_type="PHI3_MINI",
        builder="torchtune.models.phi3.phi3",
        lora_builder="torchtune.models.phi3.lora_phi3",
        dimensions=common.dimensions(config, norm_eps=1e-5),
        chat=common.choose_chat((PHI3,), tokens, "phi3", source.with_name("tokenizer.json")),
        layout=common.layout(config, interleaved=False, fused=True),
        parameters=common.parameters(config, tied=False),
        max_positions=common.max_positions(config),
    )
