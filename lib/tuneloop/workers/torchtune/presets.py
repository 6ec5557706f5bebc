"""Presets: the configs that the installed torchtune ships, by the names of `tune ls`.

A preset gives values for our fields; its model, data and paths are replaced by the design's, always.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import InputError, did_you_mean
from tuneloop.documents.files import read_text
from tuneloop.documents.yamltext import load_yaml
from tuneloop.workers.torchtune.fields import ATTENTION, SCHEDULES

RECIPES = {"lora": "lora_finetune_single_device", "full": "full_finetune_single_device"}
# What a shipped config says and a design does not, as far as it is not a path, a model, data or logging.
_CARRIED = ("optimizer", "lr_scheduler", "loss", "shuffle", "enable_activation_offloading", "optimizer_in_bwd")


@dataclass(frozen=True)
class Preset:
    name: str
    recipe: str
    model_type: str
    fields: Mapping[str, Any]  # by our names
    carried: Mapping[str, Any]  # sections as torchtune has them


@cache
def read_preset(name: str, update: str) -> Preset:
    """Return a shipped config. Raises InputError with the nearest name, or the reason why it cannot be used."""
    recipe = next((recipe for recipe, names in _shipped().items() if name in names), None)
    if recipe is None:
        known = [name for names in _shipped().values() for name in names]
        raise InputError(f"torchtune ships no config `{name}`", hint=_nearest(name, known))
    if recipe != RECIPES[update]:
        hint = did_you_mean(name, _shipped()[RECIPES[update]])
        raise InputError(f"the preset `{name}` is for the recipe {recipe}, not for {RECIPES[update]}", hint=hint)
    config = load_yaml(read_text(_folder() / f"{name}.yaml"))
    if "qlora" in config["model"]["_component_"] or config["model"].get("quantize_base"):
        raise InputError(f"the preset `{name}` is for qlora, which is not scaffolded yet", hint="use a LoRA preset")
    if config["model"].get("use_dora"):
        raise InputError(f"the preset `{name}` is for dora, which is not scaffolded yet", hint="use a LoRA preset")
    carried = {key: config[key] for key in _CARRIED if key in config}
    return Preset(name, recipe, config["checkpointer"]["model_type"], _fields(config), carried)


@cache
def top_level_keys(recipe: str) -> frozenset[str]:
    """Return every top-level key that a shipped config of the recipe uses."""
    found: set[str] = {"save_adapter_weights_only", "cudnn_deterministic_mode", "collate_fn", "low_cpu_ram"}
    for name in _shipped()[recipe]:
        path = _folder() / f"{name}.yaml"
        if path.is_file():
            found |= set(load_yaml(read_text(path)))
    return frozenset(found)


def _fields(config: Mapping[str, Any]) -> dict[str, Any]:
    """Read our fields out of a torchtune config; what it does not say is left out."""
    model, optimizer = config["model"], config["optimizer"]
    scheduler, dataset = config.get("lr_scheduler"), config.get("dataset", {})
    said = {
        "lr": optimizer.get("lr"),
        "weight_decay": optimizer.get("weight_decay"),
        "optimizer": optimizer["_component_"],
        "lora_rank": model.get("lora_rank"),
        "lora_alpha": model.get("lora_alpha"),
        "lora_dropout": model.get("lora_dropout"),
        "lora_targets": _targets(model),
        "warmup_steps": 0 if scheduler is None else scheduler.get("num_warmup_steps"),
        # A config without a scheduler keeps its learning rate.
        "scheduler": "constant" if scheduler is None else _schedule(scheduler["_component_"]),
        "max_seq_len": config.get("tokenizer", {}).get("max_seq_len"),
        "packed": dataset.get("packed") if isinstance(dataset, dict) else None,
        "train_on_input": dataset.get("train_on_input") if isinstance(dataset, dict) else None,
        "gradient_accumulation": config.get("gradient_accumulation_steps"),
        "activation_checkpointing": config.get("enable_activation_checkpointing"),
    }
    found = {name: value for name, value in said.items() if value is not None}
    found |= {name: config[name] for name in ("batch_size", "epochs", "compile") if config.get(name) is not None}
    # Silence has a meaning here: torchtune does not clip.
    return found | {"clip_grad_norm": config.get("clip_grad_norm")}


def _targets(model: Mapping[str, Any]) -> list[str] | None:
    if "lora_attn_modules" not in model:
        return None
    found = [name for name in ATTENTION if name in model["lora_attn_modules"]]
    found += ["mlp"] if model.get("apply_lora_to_mlp") else []
    return found + (["output"] if model.get("apply_lora_to_output") else [])


def _schedule(component: str) -> str | None:
    # Older configs name the same function by the package above it.
    last = component.rpartition(".")[2]
    return next((name for name, path in SCHEDULES.items() if path.endswith(f".{last}")), None)


def _nearest(name: str, known: list[str]) -> str:
    hint = did_you_mean(name, known)
    return hint if hint.startswith("did you mean") else "`tune ls` lists the names"


@cache
def _shipped() -> dict[str, list[str]]:
    from torchtune._recipe_registry import get_all_recipes

    return {recipe.name: [config.name for config in recipe.configs] for recipe in get_all_recipes()}


def _folder() -> Path:
    found = find_spec("recipes")
    if found is None or found.origin is None:
        raise InputError("torchtune's recipes are not installed", hint="install torchtune==0.6.1")
    return Path(found.origin).parent / "configs"
