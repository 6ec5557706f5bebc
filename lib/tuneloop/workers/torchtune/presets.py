"""Presets: the configs that the installed torchtune ships, by the names of `tune ls`.

A preset gives values for our fields; its model, data, paths, seed and logger are replaced by the design's, always.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import InputError, did_you_mean
from tuneloop.documents.files import read_text
from tuneloop.documents.yamltext import load_yaml
from tuneloop.workers.torchtune.fields import ATTENTION, FIELDS, SCHEDULES
from tuneloop.workers.torchtune.recipes import PPO, RECIPES, Recipe

# What only distributed recipes read.
PARALLEL = ("custom_sharded_layers", "fsdp_cpu_offload", "tensor_parallel_dim", "tensor_parallel_plan")
# What a shipped config says and a design does not, as far as it is not a path, a model, data or logging. Which of
# them a run's config takes depends on its recipe.
_CARRIED = (
    "optimizer",
    "lr_scheduler",
    "loss",
    "kd_loss",
    "shuffle",
    "enable_activation_offloading",
    "optimizer_in_bwd",
    "enable_kv_cache",
    *PARALLEL,
)
# PPO's keys are our names.
_SAME_NAME = ("batch_size", "epochs", "compile", "kd_ratio", "top_k")
_VISION = "vision"


@dataclass(frozen=True)
class Preset:
    name: str
    recipe: Recipe
    update: str  # the `update` of a method that it is for
    model_type: str
    fields: Mapping[str, Any]  # by our names
    carried: Mapping[str, Any]  # sections as torchtune has them


@cache
def read_preset(name: str) -> Preset:
    """Return a shipped config. Raises InputError with the nearest name, or the reason why it cannot be used."""
    recipe = next((recipe for recipe, names in shipped().items() if name in names), None)
    if recipe is None:
        known = [name for names in shipped().values() for name in names]
        raise InputError(f"torchtune ships no config `{name}`", hint=_nearest(name, known))
    path = _folder() / "configs" / shipped()[recipe][name]
    if not path.is_file():
        raise InputError(
            f"the preset `{name}` is on torchtune's list, but its file is not in the installed package",
            hint="choose another one; `tune ls` lists the names",
        )
    config = load_yaml(read_text(path))
    if _VISION in str(config.get("model")):
        raise InputError(
            f"the preset `{name}` is for a vision model; text models alone are trained here",
            hint="choose the preset of a text model; `tune ls` lists the names",
        )
    if recipe not in RECIPES:
        raise InputError(f"the preset `{name}` is for {recipe}, which trains nothing", hint="`tune ls` lists the names")
    model = _model(config)
    carried = {key: config[key] for key in _CARRIED if key in config}
    return Preset(
        name, RECIPES[recipe], _update(RECIPES[recipe], model), _model_type(config), _fields(config, model), carried
    )


@cache
def shipped() -> dict[str, dict[str, str]]:
    """Return the configs of each recipe that torchtune lists: name to file."""
    from torchtune._recipe_registry import get_all_recipes

    return {recipe.name: {config.name: config.file_path for config in recipe.configs} for recipe in get_all_recipes()}


@cache
def top_level_keys(recipe: str) -> frozenset[str]:
    """Return every top-level key that the recipe's program reads; it ignores another one without a word."""
    text = read_text(_folder() / f"{recipe}.py")
    found = {said or named for said, named in _READ.findall(text)} - {"get"}
    return frozenset(found | ({"profiler"} if "PROFILER_KEY" in found or "PROFILER_KEY" in text else set()))


_READ = re.compile(r"""(?<![\w.])cfg\.(?:get\(\s*["'](\w+)["']|(\w+))""")


def _model(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the section of the model that is trained."""
    found: Mapping[str, Any] = config.get("model") or config["policy_model"]
    return found


def _model_type(config: Mapping[str, Any]) -> str:
    return str(config["checkpointer"]["model_type"])


def _update(recipe: Recipe, model: Mapping[str, Any]) -> str:
    if model.get("use_dora"):
        return "dora"
    return "qlora" if recipe.adapter and _quantized(model) else recipe.updates[0]


def _quantized(model: Mapping[str, Any]) -> bool:
    return bool("qlora" in model["_component_"] or model.get("quantize_base"))


def _fields(config: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, Any]:
    """Read our fields out of a torchtune config; what it does not say is left out."""
    optimizer, loss = config["optimizer"], config["loss"]
    scheduler, dataset = config.get("lr_scheduler"), config.get("dataset", {})
    said = {
        "lr": optimizer.get("lr"),
        "weight_decay": optimizer.get("weight_decay"),
        "optimizer": optimizer["_component_"],
        "lora_rank": model.get("lora_rank"),
        "lora_alpha": model.get("lora_alpha"),
        "lora_dropout": model.get("lora_dropout"),
        "lora_targets": _targets(model),
        "quantize_base": True if model.get("use_dora") and _quantized(model) else None,
        "warmup_steps": 0 if scheduler is None else scheduler.get("num_warmup_steps"),
        # A config without a scheduler keeps its learning rate.
        "scheduler": "constant" if scheduler is None else _schedule(scheduler["_component_"]),
        "max_seq_len": config.get("tokenizer", {}).get("max_seq_len"),
        "packed": dataset.get("packed") if isinstance(dataset, dict) else None,
        "train_on_input": dataset.get("train_on_input") if isinstance(dataset, dict) else None,
        "gradient_accumulation": config.get("gradient_accumulation_steps"),
        "activation_checkpointing": config.get("enable_activation_checkpointing"),
        "groupsize": config.get("quantizer", {}).get("groupsize"),
        "beta": loss.get("beta"),
        "label_smoothing": loss.get("label_smoothing"),
        "clip": loss.get("epsilon"),
        "value_coeff": loss.get("value_coeff"),
        "value_clip_range": loss.get("value_clip_range"),
    }
    same = [name for name, field in FIELDS.items() if name in _SAME_NAME or field.needs == PPO]
    found = {name: config[name] for name in same if config.get(name) is not None}
    found |= {name: value for name, value in said.items() if value is not None}
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


def _folder() -> Path:
    found = find_spec("recipes")
    if found is None or found.origin is None:
        raise InputError("torchtune's recipes are not installed", hint="install torchtune==0.6.1")
    return Path(found.origin).parent
