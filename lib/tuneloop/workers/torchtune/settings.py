"""Resolving a run's settings: design over preset over model over machine over default, each with its origin."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tuneloop.documents.errors import did_you_mean
from tuneloop.experiment.design import Design
from tuneloop.experiment.expand import Run
from tuneloop.experiment.work import Machine, Setting
from tuneloop.workers.torchtune.components.order import order_of
from tuneloop.workers.torchtune.data import packs
from tuneloop.workers.torchtune.fields import FIELDS, OWNER, Field
from tuneloop.workers.torchtune.inputs import Faults, Inputs

RAW = "torchtune"
# Sections that the scaffold writes whole; another value there would break a run or hide what it trained.
_WRITTEN = (
    "output_dir",
    "resume_from_checkpoint",
    "checkpointer",
    "tokenizer",
    "metric_logger",
    "dataset",
    "device",
    "save_adapter_weights_only",
    "model._component_",
)
At = tuple[str | int, ...]


@dataclass(frozen=True)
class Raw:
    """One torchtune key that the design sets as it is."""

    key: str
    value: Any
    origin: str
    at: At


@dataclass(frozen=True)
class Resolved:
    settings: Mapping[str, Setting]  # by our names, then `torchtune.KEY`
    raw: tuple[Raw, ...]
    steps_per_epoch: int
    max_steps_per_epoch: int | None  # as torchtune must be told
    dropped: float  # share of an epoch that makes no whole step; 0 where the design limits the steps

    def __getitem__(self, name: str) -> Any:
        return self.settings[name].value

    @property
    def steps(self) -> int:
        return self.steps_per_epoch * int(self["epochs"])


def resolve(run: Run, design: Design, inputs: Inputs, machine: Machine, faults: Faults) -> Resolved | None:
    """Return the run's settings, or None after adding every fault in them."""
    usable = _check_names(run, design, inputs, faults)
    before = faults.count
    raw = tuple(_raw(run, design))
    _check_raw(raw, faults)
    if not usable or faults.count > before:
        return None
    settings = {
        name: _setting(field, run, inputs, machine)
        for name, field in FIELDS.items()
        if inputs.update == "lora" or not field.lora_only
    }
    if inputs.update == "lora" and settings["lora_alpha"].value is None:
        settings["lora_alpha"] = Setting(2 * settings["lora_rank"].value, "default: 2 x lora_rank")
    settings["device"] = _device(machine)
    _check_together(settings, run, design, inputs, faults)
    if faults.count > before:
        return None
    per_epoch, told, dropped = _steps(settings, run, design, inputs, faults)
    settings |= {f"{RAW}.{item.key}": Setting(item.value, item.origin) for item in raw}
    return Resolved(settings, raw, per_epoch, told, dropped) if per_epoch else None


def at_of(origin: str, design: Design) -> At:
    """Return the place in the design that an origin such as `design: controls.lr` names."""
    text = origin.removeprefix("design: ")
    head, _, name = text.partition(".")
    if head == "runs":
        run, _, name = name.partition(".set.")
        index = next((place for place, item in enumerate(design.runs) if item.name == run), 0)
        return ("runs", index, "set", name)
    if head == "variables" and isinstance(design.variables, list):
        cell, _, name = name.partition(".")
        return (head, int(cell), name)
    return (head, name) if name else (head,)


def _check_names(run: Run, design: Design, inputs: Inputs, faults: Faults) -> bool:
    """Return whether the values can be used: a field that nobody knows hinders no other check."""
    usable = True
    for name, setting in run.fields.items():
        at = at_of(setting.origin, design)
        if name == RAW or name.startswith(f"{RAW}."):
            continue
        field = FIELDS.get(name)
        if field is None:
            hint = did_you_mean(name, list(FIELDS))
            if not hint.startswith("did you mean"):
                hint += f"; torchtune's own keys go under `{RAW}:`"
            faults.add(f"unknown field `{name}`", at, hint)
        elif field.lora_only and inputs.update != "lora":
            hint = "take it out, or set `method: {update: lora}`"
            faults.add(f"`{name}` has no meaning with `update: {inputs.update}`", at, hint)
        elif wanted := field.fault(setting.value):
            hint = _right_value(field, setting.value, several=at[0] == "variables" and len(at) == 2)
            faults.add(f"`{name}` should be {wanted}, found {setting.value!r}", at, hint)
            usable = False
    return usable


def _right_value(field: Field, value: Any, *, several: bool) -> str:
    """Return the hint for a wrong value; `several` where a list of values stands."""
    example = f"[{field.example}]" if several else field.example
    quoted = isinstance(value, str) and (value.lower() in {"true", "false"} or _is_number(value))
    return f"write it like `{field.name}: {example}`{', without quotes' if quoted else ''}"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _raw(run: Run, design: Design) -> Iterator[Raw]:
    for name, setting in run.fields.items():
        at = at_of(setting.origin, design)
        if name == RAW and isinstance(setting.value, dict):
            for path, value in _leaves(setting.value):
                key = ".".join(path)
                yield Raw(key, value, f"{setting.origin}.{key}", (*at, *path))
        elif name == RAW:
            yield Raw("", setting.value, setting.origin, at)
        elif name.startswith(f"{RAW}."):
            yield Raw(name.removeprefix(f"{RAW}."), setting.value, setting.origin, at)


def _leaves(value: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, item in value.items():
        if isinstance(item, dict) and item:
            yield from _leaves(item, (*path, key))
        else:
            yield (*path, key), item


def _check_raw(raw: tuple[Raw, ...], faults: Faults) -> None:
    seen: set[str] = set()
    for item in raw:
        if not item.key:
            faults.add(f"`{RAW}` should be a mapping of torchtune's keys", item.at, "such as {optimizer.eps: 1e-6}")
        elif item.key in OWNER:
            owner = OWNER[item.key]
            faults.add(f"`{item.key}` is the field `{owner}`", item.at, f"set `{owner}` instead")
        elif _is_written(item.key):
            faults.add(f"`{item.key}` is written by the scaffold", item.at, "take it out")
        elif item.key in seen:
            faults.add(f"`{item.key}` stands twice under `{RAW}`", item.at, "keep one")
        seen.add(item.key)


def _is_written(key: str) -> bool:
    if key.startswith("metric_logger.forward."):
        return False  # arguments of the logger that the design names, such as a project
    return any(key == section or key.startswith(f"{section}.") for section in _WRITTEN)


def _setting(field: Field, run: Run, inputs: Inputs, machine: Machine) -> Setting:
    if field.name in run.fields:
        return run.fields[field.name]
    if inputs.preset is not None and field.name in inputs.preset.fields:
        return Setting(inputs.preset.fields[field.name], f"preset: {inputs.preset.name}")
    if field.name == "dtype":
        value = "bf16" if machine.gpus else "fp32"
        return Setting(value, "machine: CUDA device" if machine.gpus else "machine: no CUDA device")
    if isinstance(field.default, dict):
        return Setting(field.default[inputs.update], f"default: {inputs.update}")
    return Setting(field.default, "default")


def _device(machine: Machine) -> Setting:
    return Setting("cuda", "machine: CUDA device") if machine.gpus else Setting("cpu", "machine: no CUDA device")


def _check_together(settings: Mapping[str, Setting], run: Run, design: Design, inputs: Inputs, faults: Faults) -> None:
    """Check what one value alone cannot show."""

    def at(name: str) -> At:
        return at_of(settings[name].origin, design) if name in run.fields else ()

    longest, positions = max(inputs.data["train"].lengths), inputs.model.max_positions
    limit = settings["max_seq_len"].value
    if settings["packed"].value and limit is None:
        faults.add("`packed` needs `max_seq_len`", at("packed"), f"set `max_seq_len`, {positions} at most")
    if settings["packed"].value and settings["device"].value == "cuda" and not inputs.model.family.packs_on_gpu:
        name = inputs.model.family.name
        faults.add(f"torchtune cannot pack samples for {name} on a GPU", at("packed"), "set `packed: false`")
    if limit is not None and limit > positions:
        hint = f"write {positions} or less"
        faults.add(f"`max_seq_len` is {limit}, the model has {positions} positions", at("max_seq_len"), hint)
    if limit is None and longest > positions:
        faults.add(
            f"the longest training sample has {longest} tokens, the model {positions} positions",
            ("data", 0),
            f"set `max_seq_len: {positions}` to cut such samples",
        )
    targets = settings["lora_targets"].value if "lora_targets" in settings else []
    if "output" in targets and inputs.model.family.tied:
        faults.add(
            "`output` cannot be a LoRA target: the model's output shares the embedding's weights",
            at("lora_targets"),
            "take `output` out of `lora_targets`",
        )
    epochs, most = settings["epochs"].value, settings["max_steps"].value
    if most is not None and most % epochs:
        faults.add(
            f"`max_steps` of {most} does not divide into {epochs} epochs",
            at("max_steps"),
            "torchtune limits the steps of each epoch; choose a multiple",
        )


def _steps(
    settings: Mapping[str, Setting], run: Run, design: Design, inputs: Inputs, faults: Faults
) -> tuple[int, int | None, float]:
    """Return the optimizer steps of an epoch, max_steps_per_epoch as torchtune must be told, the share dropped.

    It is told even without a limit where batches are left over: torchtune would carry their gradients into the
    next epoch, and a resumed run would lack them.
    """
    batch, accumulation = settings["batch_size"].value, settings["gradient_accumulation"].value
    units = units_of(settings, run.seed or 0, inputs)
    steps, left = divmod(units // batch, accumulation)
    if steps == 0:
        what = "packs" if settings["packed"].value else "samples"
        name = "batch_size" if batch > units or "gradient_accumulation" not in run.fields else "gradient_accumulation"
        at = at_of(settings[name].origin, design) if name in run.fields else ("data", 0)
        faults.add(
            f"{units} training {what} make no step of {batch} x {accumulation}",
            at,
            "torchtune drops an incomplete batch: lower `batch_size` or `gradient_accumulation`",
        )
        return 0, None, 0.0
    most = settings["max_steps"].value
    limit = None if most is None else max(1, most // settings["epochs"].value)
    taken = steps if limit is None else min(steps, limit)
    dropped = 0.0 if taken < steps else 1 - steps * accumulation * batch / units
    return taken, taken if left or taken < steps else None, dropped


def units_of(settings: Mapping[str, Setting], seed: int, inputs: Inputs) -> int:
    """Return what a batch is made of: samples, or packs of them."""
    lengths = inputs.data["train"].lengths
    limit = settings["max_seq_len"].value
    if not settings["packed"].value:
        return len(lengths)
    return packs([min(lengths[index], limit) for index in order_of(len(lengths), seed)], limit)
