"""Scaffolding 1,000 runs with two evaluations each, by the real workers."""

import time
from collections.abc import Iterator

from benchmarks.experiments import real_design, tuneloop


def measure() -> Iterator[tuple[str, str, str]]:
    ranks = f"lora_rank: [{', '.join(map(str, range(1, 1001)))}]"
    with real_design(ranks, scaffold=False) as folder:
        began = time.perf_counter()
        tuneloop("scaffold-experiment", folder)
        yield "scaffold 1,000 runs x 2 evaluations", f"{time.perf_counter() - began:.1f} s", "< 15 s"
