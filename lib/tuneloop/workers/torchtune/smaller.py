"""What a run that ran out of memory may change and still be the same run: how its batch is shared out."""

from collections.abc import Mapping
from typing import Any

from tuneloop.experiment.layout import Layout
from tuneloop.workers import Order
from tuneloop.workers.smaller import shared_out
from tuneloop.workers.torchtune.attempts import read_setup


def smaller(order: Order) -> dict[str, dict[str, int]]:
    """Return for each run, as it was scaffolded, the fields that need less memory; nothing where there are none."""
    layout = Layout(order.path.resolve())
    found = {}
    for run in order.runs:
        settings = read_setup(layout.run(run.name).folder)["settings"]
        values = proposed({name: item["value"] for name, item in settings.items()})
        if values is not None:
            found[run.name] = values
    return found


def proposed(values: Mapping[str, Any]) -> dict[str, int] | None:
    """Return the settings with the same effective batch and less of it at once; None where one sample is left.

    PPO's effective batch is `ppo_batch_size`, of which `gradient_accumulation` parts are computed at a time; its
    answers are generated `forward_batch_size` at a time.
    """
    accumulation = values["gradient_accumulation"]
    if values.get("optimizer_in_bwd"):
        return None  # it updates the weights in the middle of a backward pass, and cannot accumulate
    if values.get("ppo_batch_size") is None:
        shared = shared_out(values["batch_size"], accumulation)
        return None if shared is None else {"batch_size": shared[0], "gradient_accumulation": shared[1]}
    found = {}
    if (shared := shared_out(values["ppo_batch_size"] // accumulation, accumulation)) is not None:
        found["gradient_accumulation"] = shared[1]
    if (fewer := shared_out(values["forward_batch_size"], 1)) is not None:
        found["forward_batch_size"] = fewer[0]
    return found or None
