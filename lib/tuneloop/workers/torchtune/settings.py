"""Resolving a run's settings: design over preset over model over machine over default, each with its origin."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from tuneloop.documents.errors import did_you_mean
from tuneloop.experiment.design import Design
from tuneloop.experiment.expand import Run
from tuneloop.experiment.work import Machine, Setting
from tuneloop.workers.torchtune.agreement import At, Case, check_together
from tuneloop.workers.torchtune.fields import FIELDS, OWNER, Field, why_not
from tuneloop.workers.torchtune.inputs import Faults, Inputs
from tuneloop.workers.torchtune.recipes import LIMIT, LORA, PPO, Recipe, fewest_devices, recipe_of

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
    "model.use_dora",
    "teacher_model",
    "teacher_checkpointer",
    "ref_checkpointer",
    "policy_model._component_",
    "reward_and_value_model",
    "ref_policy_checkpointer",
    "value_checkpointer",
    "reward_checkpointer",
    "num_steps",
    "stop_token_ids",
)


@dataclass(frozen=True)
class Raw:
    """One torchtune key that the design sets as it is."""

    key: str
    value: Any
    origin: str
    at: At


@dataclass(frozen=True)
class Resolved:
    recipe: Recipe
    settings: Mapping[str, Setting]  # by our names, then `torchtune.KEY`
    raw: tuple[Raw, ...]
    steps_per_epoch: int
    max_steps_per_epoch: int | None  # as torchtune must be told
    dropped: float  # share of an epoch that makes no whole step; 0 where the design limits the steps

    def __getitem__(self, name: str) -> Any:
        return self.settings[name].value

    def get(self, name: str) -> Any:
        """Return a setting's value, None where the recipe has no such thing."""
        return self[name] if name in self.settings else None

    @property
    def steps(self) -> int:
        return self.steps_per_epoch * int(self["epochs"])

    @property
    def processes(self) -> int:
        """Return how many processes train together: one for each device of each node."""
        return _processes(self.settings)


def resolve(run: Run, design: Design, inputs: Inputs, machine: Machine, faults: Faults) -> Resolved | None:
    """Return the run's settings, or None after adding every fault in them."""
    hardware = _hardware(run, design, inputs, faults)
    recipe = None if hardware is None else _recipe(hardware, run, design, inputs, faults)
    if hardware is None or recipe is None:
        return None
    # A field that nobody knows hinders no other check.
    usable = _check_names(run, design, inputs, recipe, faults)
    before = faults.count
    raw = tuple(_raw(run, design))
    _check_raw(raw, faults)
    if not usable or faults.count > before:
        return None
    settings = {
        name: _setting(field, run, inputs, recipe, machine)
        for name, field in FIELDS.items()
        if field.serves(recipe, inputs.update)
    }
    settings |= _derived(settings) | hardware | {"device": _device(machine)}
    own = {item.key: item.value for item in raw}
    check_together(Case(settings, own, partial(_at, settings, run, design), inputs, recipe), faults)
    if faults.count > before:
        return None
    per_epoch, told, dropped = _steps(settings, run, design, inputs, recipe, faults)
    settings |= {f"{RAW}.{item.key}": Setting(item.value, item.origin) for item in raw}
    return Resolved(recipe, settings, raw, per_epoch, told, dropped) if per_epoch else None


def _hardware(run: Run, design: Design, inputs: Inputs, faults: Faults) -> dict[str, Setting] | None:
    """Return the nodes and the devices in each of them, which decide with the method which recipe trains."""
    before = faults.count
    for name in ("devices", "nodes"):
        said = run.fields.get(name)
        if said is not None and (wanted := FIELDS[name].fault(said.value)):
            faults.add(
                f"`{name}` should be {wanted}, found {said.value!r}",
                at_of(said.origin, design),
                _right_value(FIELDS[name], said.value, several=said.origin.startswith("design: variables")),
            )
    if faults.count > before:
        return None
    devices = run.fields.get("devices") or _devices(design, inputs)
    return {"devices": devices, "nodes": run.fields.get("nodes") or Setting(FIELDS["nodes"].default, "default")}


def _devices(design: Design, inputs: Inputs) -> Setting:
    """Return the number of devices in a node where the design is silent."""
    if inputs.preset is not None and inputs.preset.recipe.distributed:
        return Setting(2, f"preset: {inputs.preset.name}")
    fewest = fewest_devices(design.method)
    return Setting(fewest, "default" if fewest == 1 else "default: the recipe is distributed")


def _recipe(hardware: Mapping[str, Setting], run: Run, design: Design, inputs: Inputs, faults: Faults) -> Recipe | None:
    """Return the recipe that trains the run, or None after adding why there is none."""
    preset = inputs.preset
    asked = any(FIELDS[name].needs == LORA for name in run.fields if name in FIELDS)
    lora = asked or (preset is not None and preset.recipe.adapter)
    devices, nodes = (int(hardware[name].value) for name in ("devices", "nodes"))
    found = recipe_of(design.method, devices, nodes, lora=lora)
    if not isinstance(found, Recipe):
        name = str(found.at[-1])
        faults.add(found.message, _at(hardware, run, design, name) or ("method",), found.hint)
        return None
    if preset is not None and preset.recipe != found:
        many = f"`devices: {devices}`, " if preset.recipe.distributed != found.distributed else ""
        many += f"`nodes: {nodes}`, " if many and nodes > 1 else ""
        faults.add(
            f"the preset `{preset.name}` is for the recipe {preset.recipe.name}, not for {found.name}",
            ("preset",),
            f"{many}`method` and `preset` must agree: change one, or choose another preset from `tune ls`",
        )
        return None
    return found


def _at(settings: Mapping[str, Setting], run: Run, design: Design, name: str) -> At:
    """Return where a setting stands in the design; an empty place where it stands nowhere."""
    return at_of(settings[name].origin, design) if name in run.fields else ()


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


def _check_names(run: Run, design: Design, inputs: Inputs, recipe: Recipe, faults: Faults) -> bool:
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
        elif not field.serves(recipe, inputs.update):
            where, hint = why_not(field, recipe, inputs.update)
            faults.add(f"`{name}` has no meaning {where}", at, hint)
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
    """Yield torchtune's own keys one by one, also those of a mapping: sections are merged and never replaced."""
    for name, setting in run.fields.items():
        head, _, section = name.partition(".")
        if head != RAW:
            continue
        at, value = at_of(setting.origin, design), setting.value
        if not isinstance(value, dict) or (section and not value):
            yield Raw(section, value, setting.origin, at)
            continue
        for path, item in _leaves(value):
            key = ".".join(path)
            yield Raw(f"{section}.{key}" if section else key, item, f"{setting.origin}.{key}", (*at, *path))


def _leaves(value: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, item in value.items():
        key = str(name)  # YAML has numbers as keys, too
        if isinstance(item, dict) and item:
            yield from _leaves(item, (*path, key))
        else:
            yield (*path, key), item


def _check_raw(raw: tuple[Raw, ...], faults: Faults) -> None:
    seen: set[str] = set()
    for item in raw:
        if "" in item.key.split("."):
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


def _setting(field: Field, run: Run, inputs: Inputs, recipe: Recipe, machine: Machine) -> Setting:
    if field.name in run.fields:
        return run.fields[field.name]
    if inputs.preset is not None and field.name in inputs.preset.fields:
        return Setting(inputs.preset.fields[field.name], f"preset: {inputs.preset.name}")
    if field.name == "dtype":
        value = "bf16" if machine.gpus else "fp32"
        return Setting(value, "machine: CUDA device" if machine.gpus else "machine: no CUDA device")
    return Setting(*field.default_for(recipe, inputs.update))


def _derived(settings: Mapping[str, Setting]) -> dict[str, Setting]:
    """Return the settings whose default is another setting's value."""
    found = {}
    if "lora_alpha" in settings and settings["lora_alpha"].value is None:
        found["lora_alpha"] = Setting(2 * settings["lora_rank"].value, "default: 2 x lora_rank")
    for name in ("ppo_batch_size", "forward_batch_size"):
        if name in settings and settings[name].value is None:
            found[name] = Setting(settings["batch_size"].value, "default: batch_size")
    return found


def _device(machine: Machine) -> Setting:
    return Setting("cuda", "machine: CUDA device") if machine.gpus else Setting("cpu", "machine: no CUDA device")


def _steps(
    settings: Mapping[str, Setting], run: Run, design: Design, inputs: Inputs, recipe: Recipe, faults: Faults
) -> tuple[int, int | None, float]:
    """Return the optimizer steps of an epoch, max_steps_per_epoch as torchtune must be told, the share dropped.

    It is told even without a limit where batches are left over: torchtune would carry their gradients into the
    next epoch, and a resumed run would lack them.
    """
    batch, replicas = settings["batch_size"].value, _replicas(settings, run)
    # PPO accumulates inside of a batch.
    accumulation = 1 if PPO in recipe.traits else settings["gradient_accumulation"].value
    units = units_of(settings, run.seed or 0, inputs)
    share = -(-units // replicas)  # each device gets as many samples; some come twice
    batches = -(-share // batch) if recipe.keeps_last else share // batch
    steps, left = divmod(batches, accumulation)
    if steps == 0:
        what = "packs" if _is_packed(settings) else "samples"
        name = "batch_size" if batch > share or "gradient_accumulation" not in run.fields else "gradient_accumulation"
        faults.add(
            f"{units} training {what} make no step of {batch} x {accumulation}"
            + (f" on {replicas} devices" if replicas > 1 else ""),
            _at(settings, run, design, name) or ("data", 0),
            "torchtune drops an incomplete batch: lower `batch_size` or `gradient_accumulation`",
        )
        return 0, None, 0.0
    if PPO in recipe.traits:
        updates = settings["ppo_epochs"].value * (batch // settings["ppo_batch_size"].value)
        return steps * updates, None, 1 - steps * batch / units
    most = settings["max_steps"].value if LIMIT in recipe.traits else None
    limit = None if most is None else max(1, most // settings["epochs"].value)
    taken = steps if limit is None else min(steps, limit)
    dropped = 0.0 if taken < steps else max(0.0, 1 - steps * accumulation * batch * replicas / units)
    return taken, taken if left or taken < steps else None, dropped


def _replicas(settings: Mapping[str, Setting], run: Run) -> int:
    """Return how many devices get samples of their own; those of a tensor-parallel group share theirs."""
    devices = _processes(settings)
    said = run.fields.get(f"{RAW}.tensor_parallel_dim")
    nested = run.fields[RAW].value if RAW in run.fields else None
    group = said.value if said is not None else nested.get("tensor_parallel_dim") if isinstance(nested, dict) else 1
    return max(1, devices // group) if isinstance(group, int) and group > 0 else devices


def _processes(settings: Mapping[str, Setting]) -> int:
    return int(settings["devices"].value) * int(settings["nodes"].value)


def _is_packed(settings: Mapping[str, Setting]) -> bool:
    return "packed" in settings and bool(settings["packed"].value)


def units_of(settings: Mapping[str, Setting], seed: int, inputs: Inputs) -> int:
    """Return what a batch is made of: samples, or packs of them."""
    data = inputs.data["train"]
    return data.packs(seed, settings["max_seq_len"].value) if _is_packed(settings) else data.samples
