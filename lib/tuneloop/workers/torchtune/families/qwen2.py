"""Qwen2 and Qwen2.5."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuneloop.workers.torchtune.families import common
from tuneloop.workers.torchtune.families.common import Chat, Family

CHATML = Chat(
    "chatml",
    end_of_turn="<|im_end|>",
    pads=("<|endoftext|>",),
    needs=("<|im_start|>", "<|im_end|>"),
)


def qwen2(config: Mapping[str, Any], source: Path, tokens: frozenset[str]) -> Family:
    common.check_required(config, source, "tie_word_embeddings")
    common.check_head(config, source)
    common.check_values(config, source, {"hidden_act": ("silu",), "use_sliding_window": (False,)})
    common.check_scaling(config, source, "Qwen2")
    tied = bool(config["tie_word_embeddings"])
    return Family(
        name="qwen2",
        model_type="QWEN2",
        builder="torchtune.models.qwen2.qwen2",
        lora_builder="torchtune.models.qwen2.lora_qwen2",
        dimensions=common.dimensions(config) | {"tie_word_embeddings": tied},
        chat=common.choose_chat((CHATML,), tokens, "qwen2", source.with_name("tokenizer.json")),
        layout=common.layout(config, interleaved=False),
        parameters=common.parameters(config, tied=tied, biased=True),
        max_positions=int(config["max_position_embeddings"]),
        tied=tied,
        mended_dora="tuneloop.workers.torchtune.components.qwen2.lora_qwen2",
    )
