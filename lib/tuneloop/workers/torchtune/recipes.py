"""Recipes: torchtune's training programs, what each one trains and which keys it reads. Pure.

A design says what to do (`method`) and on how many devices of how many nodes; which of torchtune's recipes does it
follows from that.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tuneloop.experiment.design import Method
from tuneloop.experiment.work import Fault

# What a recipe may understand. A field that needs one of these has no meaning elsewhere.
SCHEDULE = "schedule"  # lr_scheduler
CLIP = "clip"  # clip_grad_norm
COMPILE = "compile"
LIMIT = "limit"  # max_steps_per_epoch
IN_BACKWARD = "in-backward"  # optimizer_in_bwd
OFFLOAD = "offload"  # enable_activation_offloading
SUPERVISED = "supervised"  # trains on samples as they are written: packed, train_on_input
LORA, QUANTIZER, DPO, PPO, KD = "lora", "quantizer", "dpo", "ppo", "kd"

# The key of a config that stands for a trait, where there is one; a test compares it with the recipes' source.
TRAIT_KEYS = {
    SCHEDULE: "lr_scheduler",
    CLIP: "clip_grad_norm",
    COMPILE: "compile",
    LIMIT: "max_steps_per_epoch",
    IN_BACKWARD: "optimizer_in_bwd",
    OFFLOAD: "enable_activation_offloading",
    QUANTIZER: "quantizer",
    PPO: "ppo_epochs",
    KD: "kd_ratio",
}
ALGORITHMS = {"sft": None, "preference": "dpo", "rl": "ppo", "distillation": None}
# The key of `method` that names a further model, by what the model is.
COMPANIONS = {"teacher": "distillation", "reward_model": "rl"}


@dataclass(frozen=True)
class Recipe:
    """One of torchtune's training programs."""

    name: str
    objective: str
    updates: tuple[str, ...]  # of `method`
    traits: frozenset[str]
    keeps_last: bool = False  # its last batch may be smaller; the others drop an incomplete one

    @property
    def distributed(self) -> bool:
        return "distributed" in self.name

    @property
    def adapter(self) -> bool:
        """Tell whether the result is a LoRA adapter and not the whole model."""
        return LORA in self.traits

    @property
    def algorithm(self) -> str | None:
        return ALGORITHMS[self.objective]


_COMMON = frozenset({SCHEDULE, COMPILE, LIMIT, OFFLOAD})
_SFT = _COMMON | {CLIP, SUPERVISED}
_ADAPTERS = ("lora", "qlora", "dora")

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("full_finetune_single_device", "sft", ("full",), _SFT | {IN_BACKWARD}),
        Recipe("full_finetune_distributed", "sft", ("full",), _SFT | {IN_BACKWARD}),
        Recipe("lora_finetune_single_device", "sft", _ADAPTERS, _SFT | {LORA}),
        Recipe("lora_finetune_distributed", "sft", _ADAPTERS, _SFT | {LORA}),
        # It has no lr_scheduler section: the learning rate stays.
        Recipe("qat_distributed", "sft", ("qat",), (_SFT | {IN_BACKWARD, QUANTIZER}) - {SCHEDULE}),
        Recipe("qat_lora_finetune_distributed", "sft", ("qat",), _SFT | {LORA, QUANTIZER}),
        # It never sets DoRA's magnitudes, which then train from whatever was in memory.
        Recipe("lora_dpo_single_device", "preference", ("lora", "qlora"), _COMMON | {LORA, DPO}),
        Recipe("lora_dpo_distributed", "preference", _ADAPTERS, (_COMMON | {LORA, DPO}) - {COMPILE}),
        Recipe("full_dpo_distributed", "preference", ("full",), _COMMON | {CLIP, IN_BACKWARD, DPO}),
        Recipe(
            "ppo_full_finetune_single_device",
            "rl",
            ("full",),
            frozenset({COMPILE, IN_BACKWARD, PPO}),
        ),
        Recipe(
            "knowledge_distillation_single_device",
            "distillation",
            _ADAPTERS,
            (_SFT | {LORA, KD}) - {OFFLOAD},
        ),
        Recipe(
            "knowledge_distillation_distributed",
            "distillation",
            _ADAPTERS,
            (_SFT | {LORA, KD}) - {OFFLOAD, CLIP},
            keeps_last=True,
        ),
    )
}


def recipe_of(method: Method, devices: int, nodes: int = 1, *, lora: bool = False) -> Recipe | Fault:
    """Return the recipe of a method that `method_faults` finds right, on 1 device or several in each node.

    `lora` decides for `update: qat` alone: there is a recipe for whole models and one for adapters.
    """
    fitting = [
        recipe
        for recipe in RECIPES.values()
        if recipe.objective == method.objective
        and method.update in recipe.updates
        and (method.update != "qat" or recipe.adapter == lora)
    ]
    found = next((recipe for recipe in fitting if recipe.distributed == (devices * nodes > 1)), None)
    if found is not None:
        return found
    what = f"`objective: {method.objective}` with `update: {method.update}`"
    if devices * nodes > 1:
        name = "nodes" if nodes > 1 else "devices"
        hint = "set `nodes: 1` and `devices: 1`" if devices > 1 and nodes > 1 else f"set `{name}: 1`"
        return Fault(f"torchtune has no recipe for {what} on several {name}", ("controls", name), hint)
    hint = "set `devices: 2` or more"
    if method.objective == "preference" and method.update == "dora":
        hint += ", or `update: lora`"
    return Fault(f"torchtune has no recipe for {what} on one device", ("controls", "devices"), hint)


def fewest_devices(method: Method) -> int:
    """Return 2 where a method has distributed recipes alone, else 1."""
    fitting = [
        item for item in RECIPES.values() if item.objective == method.objective and method.update in item.updates
    ]
    return 2 if fitting and all(recipe.distributed for recipe in fitting) else 1


def method_faults(method: Method) -> Iterator[Fault]:
    """Yield what is wrong with a method, whatever the number of devices."""
    known = ALGORITHMS[method.objective]
    if method.algorithm not in (None, known):
        only = f"it knows {known}" if known else "it needs none"
        hint = f"write `algorithm: {known}`, or take it out" if known else "take it out"
        message = f"torchtune has no algorithm `{method.algorithm}` for `objective: {method.objective}`; {only}"
        yield Fault(message, ("method", "algorithm"), hint)
    updates = updates_of(method.objective)
    if method.update not in updates:
        message = f"`objective: {method.objective}` does not go with `update: {method.update}`"
        yield Fault(message, ("method", "update"), "write `update:` with " + " or ".join(updates))
    for name, objective in COMPANIONS.items():
        value = getattr(method, name)
        if value is None and method.objective == objective:
            yield Fault(f"`objective: {objective}` needs a `{name}`", ("method",), f"add `{name}: FOLDER` to `method`")
        if value is not None and method.objective != objective:
            message = f"`{name}` has no meaning with `objective: {method.objective}`"
            yield Fault(message, ("method", name), f"take it out, or set `objective: {objective}`")


def updates_of(objective: str) -> tuple[str, ...]:
    """Return the updates that some recipe of the objective takes."""
    found = [update for recipe in RECIPES.values() if recipe.objective == objective for update in recipe.updates]
    return tuple(dict.fromkeys(found))
