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
    while here is not None:
        lines = _until(before, read_metrics(here.metrics)) + lines
        resumed = read_json(here.resumed)
        if not resumed:
            break
        before = min(before, resumed["steps"])
        if resumed["from"] is None:  # all of it was verified, and its steps are written already
            lines = _until(before, read_metrics(setup.run.metrics)) + lines
            break
        here = Attempt(setup.run.train_attempts / resumed["from"])
    return list({line["step"]: line for line in lines}.values())


def _until(step: float, lines: list[Line]) -> list[Line]:
    return [line for line in lines if line["step"] <= step]


def metrics_text(lines: list[Line]) -> str:
    return "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)
