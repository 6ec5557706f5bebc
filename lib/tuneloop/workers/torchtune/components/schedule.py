"""Learning-rate schedules that torchtune lacks, and the one that takes up where an earlier attempt stopped."""

from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def get_linear_schedule_with_warmup(
    optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int, last_epoch: int = -1
) -> LambdaLR:
    """Rise to lr over the warm-up, then fall in a line to 0 at the last step."""

    def factor(step: int) -> float:
        if step < num_warmup_steps:
            return step / max(1, num_warmup_steps)
        return max(0.0, (num_training_steps - step) / max(1, num_training_steps - num_warmup_steps))

    return LambdaLR(optimizer, factor, last_epoch)


def get_constant_schedule_with_warmup(
    optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int, last_epoch: int = -1
) -> LambdaLR:
    """Rise to lr over the warm-up and stay there."""
    del num_training_steps
    return LambdaLR(optimizer, lambda step: min(1.0, step / max(1, num_warmup_steps)), last_epoch)


def resumed(
    optimizer: Optimizer,
    schedule: str,
    resumed_at: int,
    num_training_steps: int,
    last_epoch: int = -1,
    **arguments: Any,
) -> Any:
    """Return the schedule named `schedule` as it stood after `resumed_at` steps.

    torchtune 0.6.1's LoRA recipe counts its steps from 0 again when it resumes (unless an epoch is cut short by
    max_steps_per_epoch) and would warm up a second time. Only `prepare` names this component, on the command line.
    """
    from torchtune.config._utils import _get_component_from_path

    del last_epoch
    component = _get_component_from_path(schedule)
    return component(optimizer, num_training_steps=num_training_steps, last_epoch=resumed_at - 1, **arguments)
