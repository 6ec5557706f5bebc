"""A run's torchtune config: a plain mapping, in the order in which people read it. Pure."""

from collections.abc import Mapping
from typing import Any

from tuneloop.workers.torchtune.families import ModelFolder
from tuneloop.workers.torchtune.fields import ATTENTION, FIELDS, LOGGERS, OPTIMIZERS, SCHEDULES
from tuneloop.workers.torchtune.inputs import Faults, Inputs
from tuneloop.workers.torchtune.presets import PARALLEL
from tuneloop.workers.torchtune.recipes import (
    CLIP,
    COMPILE,
    DPO,
    IN_BACKWARD,
    KD,
    OFFLOAD,
    PPO,
    QUANTIZER,
    SCHEDULE,
)
from tuneloop.workers.torchtune.settings import Raw, Resolved
from tuneloop.workers.torchtune.splits import reading_of

_COMPONENTS = "tuneloop.workers.torchtune.components"
_LOSSES = {"preference": "torchtune.rlhf.loss.DPOLoss", "rl": "torchtune.rlhf.loss.PPOLoss"}
_UNSHARED = f"{_COMPONENTS}.unshared.unshared"
_CROSS_ENTROPY = "torchtune.modules.loss.CEWithChunkedOutputLoss"
_KD_LOSS = "torchtune.modules.loss.ForwardKLWithChunkedOutputLoss"
_QUANTIZER = "torchtune.training.quantization.Int8DynActInt4WeightQATQuantizer"
# Where a run lies and what it is told by its machine: no part of what it is.
_PLACES = ("checkpoint_dir", "path", "source", "output_dir")
_WATCHING = ("output_dir", "metric_logger", "log_peak_memory_stats")


def config_of(run_seed: int, resolved: Resolved, inputs: Inputs, faults: Faults) -> dict[str, Any]:
    """Return the torchtune config of a run, paths as seen from its folder.

    Adds a fault for every key of the design that would replace a section, or make one of a value.
    """
    recipe = resolved.recipe
    carried: Mapping[str, Any] = {} if inputs.preset is None else inputs.preset.carried
    models = _ppo_models(inputs) if PPO in recipe.traits else _models(resolved, inputs)
    config: dict[str, Any] = {
        "output_dir": "output",
        **models,
        "tokenizer": _tokenizer(resolved, inputs),
        "resume_from_checkpoint": False,
        # Else several recipes merge the adapter into the model that goes on training, on a CPU.
        **({"save_adapter_weights_only": True} if recipe.adapter else {}),
        "dataset": _dataset(resolved, inputs),
        "seed": run_seed,
        "shuffle": carried.get("shuffle", True),
        "batch_size": resolved["batch_size"],
        "optimizer": _optimizer(resolved, carried.get("optimizer", {})),
        **_objective(resolved, carried),
        **_length(resolved),
        "gradient_accumulation_steps": resolved["gradient_accumulation"],
        **_optional(resolved, carried),
        "metric_logger": _logger(resolved),
        "log_every_n_steps": 1,
        "log_peak_memory_stats": resolved["device"] == "cuda",
        "device": resolved["device"],
        "dtype": resolved["dtype"],
        "enable_activation_checkpointing": resolved["activation_checkpointing"],
    }
    for item in resolved.raw:
        _put(config, item, faults)
    return config


def identity_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what decides the result: the config without places and without what only watches."""
    return {key: _placeless(value) for key, value in config.items() if key not in _WATCHING}


def _placeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _placeless(item) for key, item in value.items() if key not in _PLACES}
    return [_placeless(item) for item in value] if isinstance(value, list) else value


def escaped(value: Any) -> Any:
    """Keep OmegaConf from reading `${` in a person's text or path as a reference."""
    if isinstance(value, str):
        return value.replace("${", "\\${") if value not in _REFERENCES else value
    if isinstance(value, dict):
        return {key: escaped(item) for key, item in value.items()}
    return [escaped(item) for item in value] if isinstance(value, list) else value


_REFERENCES = ("${output_dir}", "${seed}")


def _models(resolved: Resolved, inputs: Inputs) -> dict[str, Any]:
    """Return the model that trains, further ones, and where their weights lie."""
    found: dict[str, Any] = {"model": _model(resolved, inputs), "checkpointer": _checkpointer(inputs.model, inputs)}
    if resolved.recipe.name == "full_dpo_distributed":
        # With LoRA the reference is the base itself, its adapter switched off.
        found["ref_checkpointer"] = _checkpointer(inputs.model, inputs)
    if KD in resolved.recipe.traits:
        if resolved["device"] == "cpu":
            found["model"] |= {"_component_": _UNSHARED, "builder": found["model"]["_component_"]}
        teacher = inputs.companions["teacher"].model
        found["teacher_model"] = {"_component_": teacher.family.builder, **teacher.family.dimensions}
        found["teacher_checkpointer"] = _checkpointer(teacher, inputs)
    return found


def _model(resolved: Resolved, inputs: Inputs) -> dict[str, Any]:
    family = inputs.model.family
    if not resolved.recipe.adapter:
        return {"_component_": family.builder, **family.dimensions}
    targets, update = resolved["lora_targets"], inputs.update
    quantized = update == "qlora" or (update == "dora" and resolved["quantize_base"])
    return {
        "_component_": family.dora_builder if update == "dora" else family.lora_builder,
        "lora_attn_modules": [name for name in ATTENTION if name in targets],
        "apply_lora_to_mlp": "mlp" in targets,
        **({"apply_lora_to_output": "output" in targets} if family.adapts_output else {}),
        "lora_rank": resolved["lora_rank"],
        "lora_alpha": resolved["lora_alpha"],
        "lora_dropout": resolved["lora_dropout"],
        **({"quantize_base": True} if quantized else {}),
        **({"use_dora": True} if update == "dora" else {}),
        **family.dimensions,
    }


def _ppo_models(inputs: Inputs) -> dict[str, Any]:
    """Return PPO's four models: the policy, what it began as, the reward model, and values that start from it."""
    reward = inputs.companions["reward_model"].model
    family, classifier = inputs.model.family, reward.family
    judge = _checkpointer(reward, inputs) | {"_component_": f"{_COMPONENTS}.classifier.ClassifierCheckpointer"}
    return {
        "policy_model": {"_component_": family.builder, **family.dimensions},
        "reward_and_value_model": {
            "_component_": f"{_COMPONENTS}.classifier.classifier",
            "builder": classifier.builder,
            **classifier.dimensions,
        },
        "checkpointer": _checkpointer(inputs.model, inputs),
        "ref_policy_checkpointer": _checkpointer(inputs.model, inputs) | {"output_dir": "${output_dir}/reference"},
        "value_checkpointer": judge | {"output_dir": "${output_dir}/value"},
        "reward_checkpointer": judge | {"output_dir": "${output_dir}/reward"},
    }


def _objective(resolved: Resolved, carried: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the run minimizes, with the sections of its objective."""
    recipe = resolved.recipe
    loss = {"_component_": _LOSSES.get(recipe.objective, _CROSS_ENTROPY)}
    found: dict[str, Any] = {"loss": {**loss, **carried.get("loss", {})}}
    if DPO in recipe.traits:
        found["loss"] |= {"beta": resolved["beta"], "label_smoothing": resolved["label_smoothing"]}
    if KD in recipe.traits:
        found |= {"kd_loss": carried.get("kd_loss", {"_component_": _KD_LOSS}), "kd_ratio": resolved["kd_ratio"]}
    if QUANTIZER in recipe.traits:
        component = f"{_COMPONENTS}.quantizer.lora_quantizer" if recipe.adapter else _QUANTIZER
        found["quantizer"] = {"_component_": component, "groupsize": resolved["groupsize"]}
    if PPO in recipe.traits:
        inner = {"epsilon": "clip", "value_clip_range": "value_clip_range", "value_coeff": "value_coeff"}
        found["loss"] |= {key: resolved[name] for key, name in inner.items()}
        names = [field.name for field in FIELDS.values() if field.needs == PPO and field.name in field.keys]
        found |= {name: resolved[name] for name in names}
        # Read by the recipe, and without effect in torchtune 0.6.1.
        found |= {"whiten_rewards": False, "enable_kv_cache": carried.get("enable_kv_cache", True)}
    return found


def _length(resolved: Resolved) -> dict[str, Any]:
    """Return how long the run is. PPO counts prompts, the other recipes epochs."""
    epochs = resolved["epochs"]
    if PPO in resolved.recipe.traits:
        prompts = resolved.steps_per_epoch * resolved["ppo_batch_size"] // resolved["ppo_epochs"]
        return {"num_steps": epochs * prompts}
    return {"epochs": epochs, "max_steps_per_epoch": resolved.max_steps_per_epoch}


def _optional(resolved: Resolved, carried: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sections that some recipes read and others do not."""
    traits, found = resolved.recipe.traits, {}
    if SCHEDULE in traits:
        found["lr_scheduler"] = _scheduler(resolved, carried.get("lr_scheduler") or {})
    if CLIP in traits:
        found["clip_grad_norm"] = resolved["clip_grad_norm"]
    if IN_BACKWARD in traits:
        found["optimizer_in_bwd"] = carried.get("optimizer_in_bwd", False)
    if COMPILE in traits:
        found["compile"] = resolved["compile"]
    if OFFLOAD in traits:
        possible = resolved["device"] == "cuda" and resolved["activation_checkpointing"]
        found["enable_activation_offloading"] = carried.get("enable_activation_offloading", False) and possible
    if resolved.recipe.distributed:
        found |= {key: carried[key] for key in PARALLEL if key in carried}
    return found


def _tokenizer(resolved: Resolved, inputs: Inputs) -> dict[str, Any]:
    return {
        "_component_": f"{_COMPONENTS}.tokenizer.ChatTokenizer",
        "path": inputs.from_run(inputs.model.tokenizer),
        "chat_template": "chat_template.jinja",
        "end_of_turn": inputs.model.family.end_of_turn,
        "pad": inputs.model.pad,
        "max_seq_len": resolved["max_seq_len"],
    }


def _checkpointer(model: ModelFolder, inputs: Inputs) -> dict[str, Any]:
    return {
        "_component_": "torchtune.training.FullModelHFCheckpointer",
        "checkpoint_dir": inputs.from_run(model.path),
        "checkpoint_files": list(model.weights),
        "recipe_checkpoint": None,
        "output_dir": "${output_dir}",
        "model_type": model.family.model_type,
    }


def _dataset(resolved: Resolved, inputs: Inputs) -> dict[str, Any]:
    data = inputs.data["train"]
    return {
        "_component_": f"{_COMPONENTS}.dataset.{data.component}",
        "sources": [{"source": inputs.from_run(entry.path), **reading_of(entry.source)} for entry in data.entries],
        **{name: resolved[name] for name in data.taken},
        "seed": "${seed}",
    }


def _optimizer(resolved: Resolved, carried: Mapping[str, Any]) -> dict[str, Any]:
    name = resolved["optimizer"]
    component = OPTIMIZERS.get(name.lower(), name)
    # A preset's other arguments (fused, betas …) are arguments of its own optimizer only.
    rest = dict(carried) if carried.get("_component_") == component else {}
    chosen = {"_component_": component, "lr": resolved["lr"], "weight_decay": resolved["weight_decay"]}
    return {**rest, **chosen}


def _scheduler(resolved: Resolved, carried: Mapping[str, Any]) -> dict[str, Any]:
    component = SCHEDULES[resolved["scheduler"]]
    rest = dict(carried) if str(carried.get("_component_", "")).endswith(component.rpartition(".")[2]) else {}
    return {**rest, "_component_": component, "num_warmup_steps": resolved["warmup_steps"]}


def _logger(resolved: Resolved) -> dict[str, Any]:
    forward = LOGGERS.get(resolved["logger"])
    return {
        "_component_": f"{_COMPONENTS}.logger.MetricsLogger",
        "log_dir": "${output_dir}",
        "steps": resolved.steps,
        **({} if forward is None else {"forward": {"_component_": forward, **_log_dir(resolved["logger"])}}),
    }


def _log_dir(logger: str) -> dict[str, str]:
    return {} if logger == "stdout" else {"log_dir": "${output_dir}"}


def _put(config: dict[str, Any], item: Raw, faults: Faults) -> None:
    *sections, last = item.key.split(".")
    here: Any = config
    for depth, section in enumerate(sections, start=1):
        here = here.setdefault(section, {})
        if not isinstance(here, dict):
            name = ".".join(sections[:depth])
            faults.add(f"`{name}` is a value of torchtune's config, not a section", item.at, f"set `{name}` itself")
            return
    if isinstance(here.get(last), dict):
        hint = f"write the keys of it that are to change, like `{item.key}: {{NAME: VALUE}}`"
        faults.add(f"`{item.key}` is a section of torchtune's config", item.at, hint)
        return
    here[last] = item.value
