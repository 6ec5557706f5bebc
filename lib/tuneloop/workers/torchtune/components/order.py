"""The order of samples under a seed. Needs neither torch nor torchtune, so that an estimate can use it too."""

import random


def order_of(count: int, seed: int) -> list[int]:
    """Return the indices 0..count-1 as shuffled by `seed`.

    torchtune's sampler has a fixed seed of its own, so without this a seed would change nothing in full
    fine-tuning, and only the adapter's first values in LoRA.
    """
    order = list(range(count))
    random.Random(f"tuneloop/{seed}").shuffle(order)  # noqa: S311  (no secret)
    return order
