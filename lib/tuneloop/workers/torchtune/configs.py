"""A run's torchtune config: a plain mapping, in the order in which people read it. Pure."""

from collections.abc import Mapping
from typing import Any

from tuneloop.workers.torchtune.fields import ATTENTION, LOGGERS, OPTIMIZERS, SCHEDULES
from tuneloop.workers.torchtune.inputs import Inputs, from_run
from tuneloop.workers.torchtune.settings import Resolved
from tuneloop.workers.torchtune.splits import reading_of

_COMPONENTS = "tuneloop.workers.torchtune.components"
# Where a run lies and what it is told by its machine: no part of what it is.
_PLACES = (("output_dir",), ("checkpointer", "checkpoint_dir"), ("tokenizer", "path"))


def config_of(run_seed: int, resolved: Resolved, inputs: Inputs) -> dict[str, Any]:
    """Return the torchtune config of a run, paths as seen from its folder."""
    lora = inputs.update == "lora"
    carried: Mapping[str, Any] = {} if inputs.preset is None else inputs.preset.carried
    config: dict[str, Any] = {
        "output_dir": "output",
        "model": _model(resolved, inputs),
        "tokenizer": _tokenizer(resolved, inputs),
        "checkpointer": _checkpointer(inputs),
        "resume_from_checkpoint": False,
        **({"save_adapter_weights_only": True} if lora else {}),
        "dataset": _dataset(resolved, inputs),
        "seed": run_seed,
        "shuffle": carried.get("shuffle", True),
        "batch_size": resolved["batch_size"],
        "optimizer": _optimizer(resolved, carried.get("optimizer", {})),
        "lr_scheduler": _scheduler(resolved, carried.get("lr_scheduler") or {}),
        "loss": carried.get("loss", {"_component_": "torchtune.modules.loss.CEWithChunkedOutputLoss"}),
        "epochs": resolved["epochs"],
        "max_steps_per_epoch": resolved.max_steps_per_epoch,
        "gradient_accumulation_steps": resolved["gradient_accumulation"],
        "clip_grad_norm": resolved["clip_grad_norm"],
        **({} if lora else {"optimizer_in_bwd": carried.get("optimizer_in_bwd", False)}),
        "compile": resolved["compile"],
        "metric_logger": _logger(resolved),
        "log_every_n_steps": 1,
        "log_peak_memory_stats": resolved["device"] == "cuda",
        "device": resolved["device"],
        "dtype": resolved["dtype"],
        "enable_activation_checkpointing": resolved["activation_checkpointing"],
        "enable_activation_offloading": carried.get("enable_activation_offloading", False)
        and resolved["device"] == "cuda",
    }
    for item in resolved.raw:
        _put(config, item.key, item.value)
    return config


def identity_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what decides the result: the config without places and without what only watches."""
    left_out = {path[0] for path in _PLACES if len(path) == 1} | {"metric_logger", "log_peak_memory_stats"}
    kept = {
        key: dict(value) if isinstance(value, dict) else value for key, value in config.items() if key not in left_out
    }
    for section, key in (path for path in _PLACES if len(path) == 2):
        kept[section].pop(key)
    files = kept["dataset"]["sources"]
    kept["dataset"]["sources"] = [{key: value for key, value in item.items() if key != "source"} for item in files]
    return kept


def escaped(value: Any) -> Any:
    """Keep OmegaConf from reading `${` in a person's text or path as a reference."""
    if isinstance(value, str):
        return value.replace("${", "\\${") if value not in _REFERENCES else value
    if isinstance(value, dict):
        return {key: escaped(item) for key, item in value.items()}
    return [escaped(item) for item in value] if isinstance(value, list) else value


_REFERENCES = ("${output_dir}", "${seed}")


def _model(resolved: Resolved, inputs: Inputs) -> dict[str, Any]:
    family = inputs.model.family
    if inputs.update == "full":
        return {"_component_": family.builder, **family.dimensions}
    targets = resolved["lora_targets"]
    return {
        "_component_": family.lora_builder,
        "lora_attn_modules": [name for name in ATTENTION if name in targets],
        "apply_lora_to_mlp": "mlp" in targets,
        **({"apply_lora_to_output": "output" in targets} if family.adapts_output else {}),
        "lora_rank": resolved["lora_rank"],
        "lora_alpha": resolved["lora_alpha"],
        "lora_dropout": resolved["lora_dropout"],
        **family.dimensions,
    }


def _tokenizer(resolved: Resolved, inputs: Inputs) -> dict[str, Any]:
    return {
        "_component_": f"{_COMPONENTS}.tokenizer.ChatTokenizer",
        "path": from_run(inputs.model.tokenizer, inputs.folder),
        "chat_template": "chat_template.jinja",
        "end_of_turn": inputs.model.family.end_of_turn,
        "pad": inputs.model.pad,
        "max_seq_len": resolved["max_seq_len"],
    }


def _checkpointer(inputs: Inputs) -> dict[str, Any]:
    return {
        "_component_": "torchtune.training.FullModelHFCheckpointer",
        "checkpoint_dir": from_run(inputs.model.path, inputs.folder),
        "checkpoint_files": list(inputs.model.weights),
        "recipe_checkpoint": None,
        "output_dir": "${output_dir}",
        "model_type": inputs.model.family.model_type,
    }


def _dataset(resolved: Resolved, inputs: Inputs) -> dict[str, Any]:
    data = inputs.data["train"]
    return {
        "_component_": f"{_COMPONENTS}.dataset.{data.component}",
        "sources": [{"source": from_run(part.path, inputs.folder), **reading_of(part.source)} for part in data.parts],
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


def _put(config: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    here = config
    for section in sections:
        if not isinstance(here.get(section), dict):
            here[section] = {}
        here = here[section]
    here[last] = value
