"""The field's names (lr, lora_rank …): their torchtune keys, types and defaults."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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
    lora_only: bool = False
    sample: str = ""  # a right value, where the default shows none

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


def _flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "true or false"


def _one_of(*names: str) -> Callable[[Any], str | None]:
    return lambda value: None if value in names else f"one of {', '.join(names)}"


def _optimizer(value: Any) -> str | None:
    right = isinstance(value, str) and (value.lower() in OPTIMIZERS or "." in value)
    return None if right else f"one of {', '.join(OPTIMIZERS)}, or a dotted path such as torch.optim.NAdam"


def _targets(value: Any) -> str | None:
    right = isinstance(value, list) and value and all(item in TARGETS for item in value)
    return None if right and len(set(value)) == len(value) else f"a list of {', '.join(TARGETS)}"


FIELDS = {
    field.name: field
    for field in (
        Field("lr", _number(0, above=True), ("optimizer.lr",), {"lora": 3e-4, "full": 2e-5}, sample="3e-4"),
        Field("lora_rank", _whole(1), ("model.lora_rank",), 16, lora_only=True),
        Field("lora_alpha", _number(0, above=True), ("model.lora_alpha",), lora_only=True, sample="32"),
        Field("lora_dropout", _share, ("model.lora_dropout",), 0.0, lora_only=True),
        Field(
            "lora_targets",
            _targets,
            ("model.lora_attn_modules", "model.apply_lora_to_mlp", "model.apply_lora_to_output"),
            [*ATTENTION, "mlp"],
            lora_only=True,
        ),
        Field("batch_size", _whole(1), ("batch_size",), 8),
        Field("gradient_accumulation", _whole(1), ("gradient_accumulation_steps",), 1),
        Field("epochs", _whole(1), ("epochs",), 1),
        Field("max_steps", _whole(1, none=True), ("max_steps_per_epoch",), sample="100"),
        Field("warmup_steps", _whole(0), ("lr_scheduler.num_warmup_steps",), 0),
        Field("scheduler", _one_of(*SCHEDULES), ("lr_scheduler._component_",), "cosine"),
        Field("weight_decay", _number(0), ("optimizer.weight_decay",), 0.01),
        Field("optimizer", _optimizer, ("optimizer._component_",), "adamw"),
        Field("max_seq_len", _whole(8, none=True), ("tokenizer.max_seq_len",), sample="256"),
        Field("packed", _flag, ("dataset.packed",), False),
        Field("dtype", _one_of("fp32", "bf16"), ("dtype",), sample="bf16"),
        Field("clip_grad_norm", _number(0, above=True, none=True), ("clip_grad_norm",), 1.0),
        Field("train_on_input", _flag, ("dataset.train_on_input",), False),
        Field("compile", _flag, ("compile",), False),
        Field("activation_checkpointing", _flag, ("enable_activation_checkpointing",), False),
        Field("logger", _one_of("none", *LOGGERS), ("metric_logger.forward",), "none"),
        Field("seed", _whole(0), ("seed",), sample="1"),
    )
}
OWNER = {key: field.name for field in FIELDS.values() for key in field.keys}
