"""Mistral 7B and the models of its shape."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuneloop.workers.torchtune.families import common
from tuneloop.workers.torchtune.families.common import Chat, Family

_PADS = ("<pad>", "<unk>")
# From version 0.3 on, the instruction's marks are tokens of their own.
NEWER = Chat("mistral_v3", end_of_turn="</s>", pads=_PADS, needs=("<s>", "</s>", "[INST]", "[/INST]"))
OLDER = Chat("mistral", end_of_turn="</s>", pads=_PADS, needs=("<s>", "</s>"))


def mistral(config: Mapping[str, Any], source: Path, tokens: frozenset[str]) -> Family:
    common.check_head(config, source)
    common.check_values(config, source, {"hidden_act": ("silu",), "tie_word_embeddings": (False,)})
    common.check_scaling(config, source, "Mistral")
    return Family(
        name="mistral",
        model_type="MISTRAL",
        builder="torchtune.models.mistral.mistral",
        lora_builder="torchtune.models.mistral.lora_mistral",
        dimensions=common.dimensions(config),
        chat=common.choose_chat((NEWER, OLDER), tokens, "mistral", source.with_name("tokenizer.json")),
        layout=common.layout(config, interleaved=True),
        parameters=common.parameters(config, tied=False),
        max_positions=common.max_positions(config),
    )
