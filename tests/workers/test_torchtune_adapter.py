"""The adapter as peft reads it: torchtune's own conversion reorders Qwen2's, ours does not."""

import torch
from torchtune.models.convert_weights import tune_to_peft_adapter_weights

from tuneloop.workers.torchtune.exporting import peft_name

LAYER = "layers.0"
SHAPES = {"attn.q_proj": (128, 128), "attn.k_proj": (128, 64), "attn.v_proj": (128, 64), "attn.output_proj": (128, 128)}
SHAPES |= {"mlp.w1": (128, 384), "mlp.w2": (384, 128), "mlp.w3": (128, 384)}


def adapter() -> dict[str, torch.Tensor]:
    """Return a random adapter of rank 4 for one layer of the tiny model, in torchtune's names."""
    torch.manual_seed(0)
    weights = {}
    for module, (width, out) in SHAPES.items():
        weights[f"{LAYER}.{module}.lora_a.weight"] = torch.randn(4, width)
        weights[f"{LAYER}.{module}.lora_b.weight"] = torch.randn(out, 4)
    return weights


def test_torchtune_reorders_only_queries_and_keys() -> None:
    ours = {peft_name(name): value for name, value in adapter().items()}
    theirs = tune_to_peft_adapter_weights(adapter(), num_heads=4, num_kv_heads=2, dim=128)
    assert ours.keys() == theirs.keys()
    differing = {name for name in ours if not torch.equal(ours[name], theirs[name])}
    # Right for Llama; for Qwen2 this is the fault that verify mends.
    assert differing == {f"base_model.model.model.layers.0.self_attn.{name}_proj.lora_B.weight" for name in ("q", "k")}


def test_the_output_layer_is_the_language_model_head() -> None:
    assert peft_name("output.lora_a.weight") == "base_model.model.lm_head.lora_A.weight"
