"""The metrics of a run over all its attempts: each step once, as the attempt that counted saw it. No torch."""

import json
from typing import Any

from tuneloop.workers.torchtune.attempts import Attempt, Setup, read_json, read_metrics

Line = dict[str, Any]


def chain_of_metrics(setup: Setup, attempt: Attempt) -> list[Line]:
    """Return the lines of this attempt, after those of the attempts that it went on from, up to where it did."""
    lines: list[Line] = []
    here: Attempt | None = attempt
    before = float("inf")  # steps that a later attempt did again do not count
    seen: set[str] = set()
    while here is not None and here.folder.name not in seen:
        seen.add(here.folder.name)
        lines = [line for line in read_metrics(here.metrics) if line["step"] <= before] + lines
        resumed = read_json(here.resumed)
        before = min(before, resumed.get("steps", before))
        name = resumed.get("from")
        here = None if name is None else Attempt(setup.run.train_attempts / name)
    return list({line["step"]: line for line in lines}.values())


def metrics_text(lines: list[Line]) -> str:
    return "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)
