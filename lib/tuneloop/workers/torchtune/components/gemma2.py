"""Gemma 2 as its authors compute it, built with torchtune's own parts.

torchtune 0.6.1's builder differs from the model in two places, and a fine-tune would be of another function:

- it caps the last hidden states, where Gemma 2 caps the logits;
- its checkpointer reads the norm before the MLP into the one after it, and the other way round.

Both are mended on the model that torchtune has built; names and shapes of the weights stay as they were.
"""

from functools import wraps  # torchtune checks a config against the signature of what is wrapped
from typing import Any

import torch
from torch import nn
from torchtune.models import gemma2 as theirs
from torchtune.modules import TiedLinear, TransformerDecoder

_SWAPPED = {"mlp_norm": "mlp_scale", "mlp_scale": "mlp_norm"}


class CappedTiedLinear(TiedLinear):  # type: ignore[misc]  # torchtune is not seen by the type check
    """The output layer: logits on the embedding's weights, drawn smoothly into (-cap, cap)."""

    def __init__(self, tied_module: nn.Module, cap: float) -> None:
        super().__init__(tied_module)
        self.cap = cap

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.cap * torch.tanh(super().__call__(x) / self.cap)


@wraps(theirs.gemma2)
def gemma2(*, final_capping_value: float | None, **dimensions: Any) -> TransformerDecoder:
    """Return torchtune's Gemma 2 with capped logits; None caps nothing."""
    return _mended(theirs.gemma2(**dimensions), final_capping_value)


@wraps(theirs.lora_gemma2)
def lora_gemma2(*, final_capping_value: float | None, **dimensions: Any) -> TransformerDecoder:
    """Return torchtune's Gemma 2 with adapters and capped logits; None caps nothing."""
    return _mended(theirs.lora_gemma2(**dimensions), final_capping_value)


def _mended(model: TransformerDecoder, cap: float | None) -> TransformerDecoder:
    model.norm.logit_capping = nn.Identity()
    if cap is not None:
        model.output = CappedTiedLinear(model.tok_embeddings, cap)
    for layer in model.layers:
        layer.register_state_dict_post_hook(_swap_written)
        layer.register_load_state_dict_pre_hook(_swap_read)
    return model


def _swap_written(_layer: nn.Module, state: dict[str, Any], prefix: str, _metadata: Any) -> None:
    _swap(state, prefix)


def _swap_read(_layer: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    _swap(state, prefix)


def _swap(state: dict[str, Any], prefix: str) -> None:
    """Exchange the two norms of a layer under their names in a checkpoint."""
    found = {
        f"{prefix}{other}.scale": state.pop(f"{prefix}{name}.scale")
        for name, other in _SWAPPED.items()
        if f"{prefix}{name}.scale" in state
    }
    state.update(found)
