"""Which samples make an epoch, in which order and how many packs: weights and seeds. Pure, needs no torch."""

import random
from collections.abc import Sequence

from tuneloop.workers.torchtune.components.order import order_of


def share(count: int, weight: float) -> int:
    """Return how many of an epoch's samples come from a source of `count` samples."""
    return round(weight * count)


def epoch_of(counts: Sequence[int], weights: Sequence[float], seed: int) -> list[tuple[int, int]]:
    """Return the samples of an epoch as (source, index), in the order of the seed.

    A weight of 2.5 takes every sample of its source twice and half of them once more. That half is drawn by the
    seed, once a run: every epoch is the same.
    """
    picked: list[tuple[int, int]] = []
    for source, (count, weight) in enumerate(zip(counts, weights, strict=True)):
        whole, rest = divmod(share(count, weight), count)
        stream = random.Random(f"tuneloop/weights/{seed}/{source}")  # noqa: S311  (no secret)
        indices = [*range(count)] * whole + sorted(stream.sample(range(count), rest))
        picked += [(source, index) for index in indices]
    return [picked[place] for place in order_of(len(picked), seed)]


def packs(lengths: Sequence[int], most: int, *, split: bool = False) -> int:
    """Return how many packs torchtune's PackedDataset makes of samples in this order; `split`: across packs."""
    if split:
        return -(-sum(lengths) // most)
    count, filled = 0, 0
    for length in lengths:
        if filled + length > most:
            count, filled = count + 1, 0
        filled += length
    return count + (filled > 0)
