"""Rows: the scores of verified logs in long form, a row a sample and scorer and one a scorer and metric.

Reads the filed logs of the given runs, which `verify` has judged, at the epochs that the design evaluates. A log
that does not belong to the evaluation as it is scaffolded now is left out: its result is stale.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import TuneloopError
from tuneloop.experiment.layout import Layout
from tuneloop.experiment.work import Row
from tuneloop.workers import Order
from tuneloop.workers.inspect.request import read_request, request_path
from tuneloop.workers.inspect.verify import DIGEST

# Large parts of a sample that no row needs.
_SKIPPED = {"messages", "events", "store", "timelines"}


def rows(order: Order) -> Sequence[Row]:
    layout = Layout(order.path.resolve())
    result: list[Row] = []
    for run in order.runs:
        folder = layout.run(run.name)
        for evaluation in order.design.evaluations:
            if evaluation.backend != "inspect":
                continue
            for epoch in run.evaluated_at(evaluation):
                path = folder.eval_log(evaluation.name, epoch)
                wanted = _digest(request_path(folder, evaluation.name, epoch))
                result.extend(log_rows(path, wanted, run.name, evaluation.name, epoch))
    return result


def log_rows(path: Path, digest: str | None, run: str, source: str, epoch: int | None) -> Iterator[Row]:
    """Yield the rows of one log; none when it is missing, unsuccessful or of another digest."""
    from inspect_ai.log import read_eval_log

    if digest is None or not path.is_file():
        return
    log = read_eval_log(path, resolve_attachments=True, exclude_fields=_SKIPPED)
    if log.status != "success" or (log.eval.metadata or {}).get(DIGEST) != digest or log.results is None:
        return
    plain: set[str] = set()
    samples: dict[str, list[Any]] = defaultdict(list)
    for sample in log.samples or []:
        samples[str(sample.id)].append(sample)
        plain.update(sample.scores or {})
    for name, repeats in samples.items():
        for scorer, value in _values(repeats).items():
            yield Row(run, source, "score", value, epoch, None, scorer, name, **_texts(repeats[0]))
    for score in log.results.scores:
        # A score of several values has one result a key, named after the key alone.
        scorer = score.name if score.name in plain else f"{score.scorer}/{score.name}"
        for metric, found in score.metrics.items():
            yield Row(run, source, metric, _finite(found.value), epoch, None, scorer)


def _values(repeats: Sequence[Any]) -> dict[str, float | None]:
    """Return the score of a sample by scorer: the mean over its repeats (inspect's epochs)."""
    found: dict[str, list[float]] = defaultdict(list)
    for sample in repeats:
        for scorer, score in (sample.scores or {}).items():
            parts = score.value.items() if isinstance(score.value, dict) else [(None, score.value)]
            for key, value in parts:
                found[scorer if key is None else f"{scorer}/{key}"].append(_number(value))
    return {scorer: _finite(sum(values) / len(values)) for scorer, values in found.items()}


def _number(value: Any) -> float:
    """Return a score as inspect counts it: C 1, P 0.5, I and N 0, yes and true 1, numbers as they are."""
    from inspect_ai.scorer import value_to_float

    if isinstance(value, list):
        return sum(_number(item) for item in value) / len(value) if value else math.nan
    return math.nan if value is None else float(value_to_float()(value))


def _texts(sample: Any) -> dict[str, str | None]:
    target = sample.target if isinstance(sample.target, str) else "\n".join(sample.target)
    return {"input": _input(sample.input), "target": target, "output": sample.output.completion}


def _input(value: Any) -> str:
    """Return what the user said; of a conversation, its last user turn."""
    if isinstance(value, str):
        return value
    turns = [message.text for message in value if message.role == "user"]
    return turns[-1] if turns else "\n".join(message.text for message in value)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _digest(path: Path) -> str | None:
    try:
        return read_request(path).digest
    except TuneloopError:
        return None
