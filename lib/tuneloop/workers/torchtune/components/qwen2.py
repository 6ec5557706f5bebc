"""Qwen2 with DoRA adapters that peft can load.

torchtune 0.6.1's DoRA scales a layer's bias together with its weight; peft, as the method has it, scales the weight
alone. Of our families only Qwen2 has biases, in q_proj, k_proj and v_proj.
"""

from functools import wraps  # torchtune checks a config against the signature of what is wrapped
from typing import Any

import torch
from torch.nn import functional
from torchtune.models import qwen2 as theirs
from torchtune.modules import TransformerDecoder
from torchtune.modules.peft import DoRALinear


class BiasLastDoRALinear(DoRALinear):  # type: ignore[misc]  # torchtune is not seen by the type check
    """magnitude · (W + s·B·A) / |W + s·B·A| · x + bias, each row of the weight by its own norm."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [..., inputs] to [..., outputs]."""
        if self.disabled:
            return functional.linear(x, self.weight, self.bias)
        added = self.lora_b(self.lora_a(self.dropout(x)))
        with torch.no_grad():  # as in the method: no gradient through the norm
            norm = self._get_weight_norm(self.weight, self.lora_b.weight @ self.lora_a.weight)
        grown = functional.linear(x, self.weight) + self.scaling * added
        return self.magnitude / norm * grown + self.bias


@wraps(theirs.lora_qwen2)
def lora_qwen2(**arguments: Any) -> TransformerDecoder:
    """Return torchtune's Qwen2 with adapters. Raises ValueError for a quantized base with DoRA."""
    model = theirs.lora_qwen2(**arguments)
    for module in model.modules():
        if isinstance(module, DoRALinear) and module.bias is not None:
            if arguments.get("quantize_base"):
                raise ValueError("DoRA on a quantized Qwen2 is not built")
            # The same parameters under the same names; only what is computed with them differs.
            module.__class__ = BiasLastDoRALinear
    return model
