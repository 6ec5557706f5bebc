"""The field's names (lr, lora_rank …): their torchtune keys, types and defaults."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tuneloop.workers.torchtune.recipes import (
    CLIP,
    COMPILE,
    DPO,
    KD,
    LIMIT,
    LORA,
    PPO,
    QUANTIZER,
    SCHEDULE,
    SUPERVISED,
    Recipe,
)

ATTENTION = ("q_proj", "k_proj", "v_proj", "output_proj")
TARGETS = (*ATTENTION, "mlp", "output")
SCHEDULES = {
    "cosine": "torchtune.training.lr_schedulers.get_cosine_schedule_with_warmup",
    "linear": "tuneloop.workers.torchtune.components.schedule.get_linear_schedule_with_warmup",
    "constant": "tuneloop.workers.torchtune.components.schedule.get_constant_schedule_with_warmup",
}
LOGGERS = {
    "tensorboard": "torchtune.training.metric_logging.TensorBoardLogger",
    "wandb": "torchtune.training.metric_logging.WandBLogger",
    "comet": "torchtune.training.metric_logging.CometLogger",
    "stdout": "torchtune.training.metric_logging.StdoutLogger",
    "disk": "torchtune.training.metric_logging.DiskLogger",
}
OPTIMIZERS = {
    "adamw": "torch.optim.AdamW",
    "adam": "torch.optim.Adam",
    "sgd": "torch.optim.SGD",
    "adafactor": "torch.optim.Adafactor",
}


@dataclass(frozen=True)
class Field:
    """A name of the design. `fault` returns what a value should be, or None where it is right."""

    name: str
    fault: Callable[[Any], str | None]
    keys: tuple[str, ...]  # the torchtune keys that it decides
    default: Any = None
    needs: str | None = None  # the trait of a recipe without which the field has no meaning
    updates: tuple[str, ...] = ()  # the updates that have it; all where empty
    sample: str = ""  # a right value, where the default shows none

    def serves(self, recipe: Recipe, update: str) -> bool:
        return (self.needs is None or self.needs in recipe.traits) and (not self.updates or update in self.updates)

    def default_for(self, recipe: Recipe, update: str) -> tuple[Any, str]:
        """Return the default and its origin; a mapping has one for each update."""
        if not isinstance(self.default, dict):
            return self.default, "default"
        key = recipe.objective if recipe.objective in self.default else update
        key = LORA if key == "qat" and recipe.adapter else key
        return self.default[key], f"default: {key}"

    @property
    def example(self) -> str:
        """Return a right value as a design writes it."""
        if isinstance(self.default, list):
            return f"[{', '.join(self.default)}]"
        return self.sample or str(self.default).lower()


def _number(low: float, *, above: bool = False, none: bool = False) -> Callable[[Any], str | None]:
    def fault(value: Any) -> str | None:
        right = (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and (value > low or (value == low and not above))
        )
        wanted = f"a number {'above' if above else 'of at least'} {low:g}"
        return None if right or (none and value is None) else wanted

    return fault


def _whole(low: int, *, none: bool = False) -> Callable[[Any], str | None]:
    def fault(value: Any) -> str | None:
        right = isinstance(value, int) and not isinstance(value, bool) and value >= low
        return None if right or (none and value is None) else f"a whole number of at least {low}"

    return fault


def _share(value: Any) -> str | None:
    right = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1
    return None if right else "a number from 0 to below 1"


def _part(value: Any) -> str | None:
    right = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
    return None if right else "a number from 0 to 1"


def _below_half(value: Any) -> str | None:
    right = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 0.5
    return None if right else "a number from 0 to below 0.5"


def _any_number(value: Any) -> str | None:
    return None if isinstance(value, int | float) and not isinstance(value, bool) else "a number"


def _flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "true or false"


def _one_of(*names: str | int) -> Callable[[Any], str | None]:
    listed = ", ".join(str(name) for name in names)
    return lambda value: None if value in names and not isinstance(value, bool) else f"one of {listed}"


def _optimizer(value: Any) -> str | None:
    right = isinstance(value, str) and (value.lower() in OPTIMIZERS or "." in value)
    return None if right else f"one of {', '.join(OPTIMIZERS)}, or a dotted path such as torch.optim.NAdam"


def _targets(value: Any) -> str | None:
    right = isinstance(value, list) and value and all(item in TARGETS for item in value)
    return None if right and len(set(value)) == len(value) else f"a list of {', '.join(TARGETS)}"


_LORA_TARGETS = ("model.lora_attn_modules", "model.apply_lora_to_mlp", "model.apply_lora_to_output")
# As torchtune's own configs have them, by update; reinforcement learning takes far smaller steps.
_RATES = {"lora": 3e-4, "qlora": 3e-4, "dora": 3e-4, "full": 2e-5, "qat": 2e-5, "rl": 3e-6}

# The settings of every recipe, in the order in which `explain` shows them.
_GENERAL = (
    Field("lr", _number(0, above=True), ("optimizer.lr",), _RATES, sample="3e-4"),
    Field("lora_rank", _whole(1), ("model.lora_rank",), 16, needs=LORA),
    Field("lora_alpha", _number(0, above=True), ("model.lora_alpha",), needs=LORA, sample="32"),
    Field("lora_dropout", _share, ("model.lora_dropout",), 0.0, needs=LORA),
    Field("lora_targets", _targets, _LORA_TARGETS, [*ATTENTION, "mlp"], needs=LORA),
    Field("quantize_base", _flag, ("model.quantize_base",), False, needs=LORA, updates=("dora",)),
    Field("batch_size", _whole(1), ("batch_size",), 8),
    Field("gradient_accumulation", _whole(1), ("gradient_accumulation_steps",), 1),
    Field("epochs", _whole(1), ("epochs",), 1),
    Field("max_steps", _whole(1, none=True), ("max_steps_per_epoch",), needs=LIMIT, sample="100"),
    Field("warmup_steps", _whole(0), ("lr_scheduler.num_warmup_steps",), 0, needs=SCHEDULE),
    Field("scheduler", _one_of(*SCHEDULES), ("lr_scheduler._component_",), "cosine", needs=SCHEDULE),
    Field("weight_decay", _number(0), ("optimizer.weight_decay",), 0.01),
    Field("optimizer", _optimizer, ("optimizer._component_",), "adamw"),
    Field("max_seq_len", _whole(8, none=True), ("tokenizer.max_seq_len",), sample="256"),
    Field("packed", _flag, ("dataset.packed",), False, needs=SUPERVISED),
    Field("dtype", _one_of("fp32", "bf16"), ("dtype",), sample="bf16"),
    Field("clip_grad_norm", _number(0, above=True, none=True), ("clip_grad_norm",), 1.0, needs=CLIP),
    Field("train_on_input", _flag, ("dataset.train_on_input",), False, needs=SUPERVISED),
    Field("compile", _flag, ("compile",), False, needs=COMPILE),
    Field("activation_checkpointing", _flag, ("enable_activation_checkpointing",), False),
    Field("logger", _one_of("none", *LOGGERS), ("metric_logger.forward",), "none"),
    # As torchrun and SLURM count them: devices in each node, so nodes x devices processes in all.
    Field("devices", _whole(1), (), 1),
    Field("nodes", _whole(1), (), 1),
    Field("seed", _whole(0), ("seed",), sample="1"),
)
# Defaults are torchtune's own: of DPOLoss, of the distillation recipe, of its quantization-aware configs.
_OBJECTIVES = (
    Field("beta", _number(0, above=True), ("loss.beta",), 0.1, needs=DPO),
    Field("label_smoothing", _below_half, ("loss.label_smoothing",), 0.0, needs=DPO),
    Field("kd_ratio", _part, ("kd_ratio",), 0.5, needs=KD),
    Field("groupsize", _one_of(32, 64, 128, 256), ("quantizer.groupsize",), 256, needs=QUANTIZER),
)
# Defaults are those of the one PPO config that torchtune ships, but for batches (the whole batch at once) and for
# answers' lengths, which depend on the task.
_PPO = (
    Field("ppo_epochs", _whole(1), ("ppo_epochs",), 1, needs=PPO),
    Field("ppo_batch_size", _whole(1), ("ppo_batch_size",), needs=PPO, sample="8"),
    Field("forward_batch_size", _whole(1), ("forward_batch_size",), needs=PPO, sample="8"),
    Field("max_generated_tokens", _whole(1), ("max_generated_tokens",), 64, needs=PPO),
    Field("min_response_length", _whole(0), ("min_response_length",), 0, needs=PPO),
    Field("temperature", _number(0, above=True), ("temperature",), 0.7, needs=PPO),
    Field("top_k", _whole(1, none=True), ("top_k",), needs=PPO, sample="50"),
    Field("penalise_no_eos", _flag, ("penalise_no_eos",), True, needs=PPO),
    Field("reward_penalty", _any_number, ("reward_penalty",), -3, needs=PPO),
    Field("kl_coeff", _number(0), ("kl_coeff",), 0.01, needs=PPO),
    Field("gamma", _part, ("gamma",), 1.0, needs=PPO),
    Field("lmbda", _part, ("lmbda",), 0.95, needs=PPO),
    Field("clip", _number(0, above=True), ("loss.epsilon",), 0.2, needs=PPO),
    Field("value_clip_range", _number(0, above=True), ("loss.value_clip_range",), 0.2, needs=PPO),
    Field("value_coeff", _number(0), ("loss.value_coeff",), 0.1, needs=PPO),
)
FIELDS = {field.name: field for field in (*_GENERAL, *_OBJECTIVES, *_PPO)}
OWNER = {key: field.name for field in FIELDS.values() for key in field.keys}


def why_not(field: Field, recipe: Recipe, update: str) -> tuple[str, str]:
    """Return where a field has no meaning, and what to do about it."""
    if field.updates and update not in field.updates:
        return f"with `update: {update}`", f"take it out, or set `method: {{update: {field.updates[0]}}}`"
    where = {
        LORA: (f"with `update: {update}`", "update: lora"),
        QUANTIZER: (f"with `update: {update}`", "update: qat"),
        DPO: (f"with `objective: {recipe.objective}`", "objective: preference"),
        PPO: (f"with `objective: {recipe.objective}`", "objective: rl"),
        KD: (f"with `objective: {recipe.objective}`", "objective: distillation"),
    }
    if field.needs in where:
        said, wanted = where[field.needs]
        return said, f"take it out, or set `method: {{{wanted}}}`"
    return f"for torchtune's {recipe.name}", "take it out"
