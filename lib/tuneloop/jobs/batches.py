"""Batches: what is handed to an executor at once. Pure, but for the fresh token."""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from tuneloop.experiment.work import JobKey, JobSpec, Shape, Token


@dataclass(frozen=True)
class Batch:
    """1..n jobs of one shape; n > 1 is an array whose task i runs `scripts[i]`."""

    token: Token
    shape: Shape
    keys: tuple[JobKey, ...]
    scripts: tuple[str, ...]


def batches(specs: Sequence[JobSpec], largest: int) -> Iterator[Batch]:
    """Cut jobs, in their order, into batches of one worker and shape with at most `largest` jobs each."""
    for (_, shape), group in groupby(specs, key=lambda spec: (spec.worker, spec.shape)):
        jobs = list(group)
        for start in range(0, len(jobs), largest):
            chunk = jobs[start : start + largest]
            keys = tuple(spec.key for spec in chunk)
            yield Batch(Token(secrets.token_hex(5)), shape, keys, tuple(spec.script for spec in chunk))
