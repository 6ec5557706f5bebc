"""An adapter as torchtune trained it, in the form that peft loads. Pure, but for torch's arithmetic.

torchtune 0.6.1's own conversion permutes the rows of q_proj and k_proj for every family, though only some have the
other layout, never permutes DoRA's magnitudes, and knows no fused matrices; so it is not used.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuneloop.documents.errors import FailedError
from tuneloop.workers.torchtune.families.common import Layout

_PARTS = {
    "attn.output_proj": "self_attn.o_proj",
    "attn": "self_attn",
    "mlp.w1": "mlp.gate_proj",
    "mlp.w2": "mlp.down_proj",
    "mlp.w3": "mlp.up_proj",
}
_KINDS = {"lora_a.weight": "lora_A.weight", "lora_b.weight": "lora_B.weight", "magnitude": "lora_magnitude_vector"}
_A, _B, _MAGNITUDE = _KINDS.values()
# transformers' fused matrices and what they are made of, from top to bottom.
_FUSED = {
    "self_attn.qkv_proj": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "mlp.gate_up_proj": ("mlp.gate_proj", "mlp.up_proj"),
}


@dataclass(frozen=True)
class Adapter:
    tensors: Mapping[str, Any]  # by peft's names
    config: Mapping[str, Any]  # what the weights alone decide of adapter_config.json


def exported(state: Mapping[str, Any], layout: Layout, alpha: float) -> Adapter:
    """Return the adapter for peft. `state` has torchtune's names, `alpha` is LoRA's scale times its rank.

    Raises FailedError where peft cannot hold it.
    """
    modules = _modules(state)
    rank = next(iter(modules.values()))[_A].shape[0]
    for name, module in modules.items():
        _to_transformers(name, module, layout)
    patterns: dict[str, int] = {}
    if layout.fused:
        modules, patterns = _fused(modules, layout)
    config = {
        "r": rank,
        "lora_alpha": alpha,
        "target_modules": sorted({name.rpartition(".")[2] for name in modules}),
        "use_dora": any(_MAGNITUDE in module for module in modules.values()),
        "rank_pattern": {name: count * rank for name, count in patterns.items()},
        "alpha_pattern": {name: count * alpha for name, count in patterns.items()},
    }
    tensors = {
        f"base_model.model.{name}.{kind}": tensor.contiguous()
        for name, module in modules.items()
        for kind, tensor in module.items()
    }
    return Adapter(tensors, config)


def peft_name(name: str) -> str:
    """Return peft's name of a torchtune adapter weight, where nothing is fused.

    >>> peft_name("layers.0.attn.output_proj.lora_b.weight")
    'base_model.model.model.layers.0.self_attn.o_proj.lora_B.weight'
    """
    module, kind = _split(name)
    return f"base_model.model.{module}.{kind}"


def _split(name: str) -> tuple[str, str]:
    """Return transformers' name of the module, and peft's of the weight."""
    ours, kind = next((name.removesuffix(f".{ours}"), kind) for ours, kind in _KINDS.items() if name.endswith(ours))
    if ours == "output":
        return "lm_head", kind
    layers, number, inner = ours.split(".", 2)
    part = next(inner.replace(old, new, 1) for old, new in _PARTS.items() if inner.startswith(old))
    return f"model.{layers}.{number}.{part}", kind


def _modules(state: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    modules: dict[str, dict[str, Any]] = {}
    for name, tensor in state.items():
        module, kind = _split(name)
        modules.setdefault(module, {})[kind] = tensor
    return modules


def _to_transformers(name: str, module: dict[str, Any], layout: Layout) -> None:
    """Bring the rows of a query or key into transformers' order."""
    heads = {"q_proj": layout.heads, "k_proj": layout.key_value_heads}.get(name.rpartition(".")[2])
    if heads is None or not layout.interleaved:
        return
    for kind in (_B, _MAGNITUDE):
        if kind in module:
            rows = module[kind]
            pairs = rows.reshape(heads, layout.head_dim // 2, 2, *rows.shape[1:])
            module[kind] = pairs.transpose(1, 2).reshape(rows.shape)


def _fused(modules: Mapping[str, dict[str, Any]], layout: Layout) -> tuple[dict[str, dict[str, Any]], dict[str, int]]:
    """Return the modules with fused ones in the place of their parts, and of how many parts each is made.

    Adapters of rank r on n parts are one of rank n·r on the whole: their A stand one above the other, their B along
    the diagonal. With n·alpha the scale stays alpha / r.
    """
    key_value = layout.key_value_heads * layout.head_dim
    sizes = {"q_proj": layout.heads * layout.head_dim, "k_proj": key_value, "v_proj": key_value}
    found: dict[str, dict[str, Any]] = {}
    counts: dict[str, int] = {}
    for name, module in modules.items():
        whole, parts = next(((whole, parts) for whole, parts in _FUSED.items() if name.endswith(parts)), (None, ()))
        if whole is None:
            found[name] = module
            continue
        stem = name[: -len(next(part for part in parts if name.endswith(part)))]
        if f"{stem}{whole}" not in found:
            given = {part.rpartition(".")[2]: modules.get(f"{stem}{part}") for part in parts}
            found[f"{stem}{whole}"] = _joined(given, sizes)
            counts[whole.rpartition(".")[2]] = sum(part is not None for part in given.values())
    return found, counts


def _joined(parts: Mapping[str, dict[str, Any] | None], sizes: Mapping[str, int]) -> dict[str, Any]:
    """Return one adapter for the parts of a fused matrix; a part without an adapter has rows of zeros."""
    import torch

    given = {name: part for name, part in parts.items() if part is not None}
    some = next(iter(given.values()))
    rank = some[_A].shape[0]
    rows, column = [], 0
    for name, part in parts.items():
        height = sizes[name] if part is None else part[_B].shape[0]
        row = some[_B].new_zeros(height, rank * len(given))
        if part is not None:
            row[:, column : column + rank] = part[_B]
            column += rank
        rows.append(row)
    joined = {_A: torch.cat([part[_A] for part in given.values()]), _B: torch.cat(rows)}
    if _MAGNITUDE in some:
        if len(given) < len(parts):
            missing = ", ".join(name for name in parts if name not in given)
            hint = "name q_proj, k_proj and v_proj together in `lora_targets`"
            raise FailedError(f"a DoRA adapter on a part of a fused matrix needs {missing}, too", hint=hint)
        joined[_MAGNITUDE] = torch.cat([part[_MAGNITUDE] for part in given.values()])
    return joined
