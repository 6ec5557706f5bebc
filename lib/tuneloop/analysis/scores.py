"""Rows sorted into what is computed on: scores by item, training curves, texts. Pure; no statistics here."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tuneloop.analysis.statistics import is_binary, is_bounded
from tuneloop.experiment.work import Row

TRAIN = "train"
VALIDATION_LOSS = "validation_loss"
LOSS = "loss"


class At(NamedTuple):
    """A run at one of its epochs; a control or eval-only run has none."""

    run: str
    epoch: int | None


class Text(NamedTuple):
    input: str | None
    target: str | None
    output: str | None


@dataclass(frozen=True, eq=False)  # known by identity, so that it can be a key
class Series:
    """One scorer of one evaluation: the score of every item for every run and epoch."""

    evaluation: str
    scorer: str
    binary: bool  # of all runs and epochs, as is the next
    bounded: bool
    items: Mapping[At, Mapping[str, float]]
    unscored: Mapping[At, int]  # items without a finite score, left out of everything

    @property
    def name(self) -> str:
        return f"{self.evaluation} ({self.scorer})"

    def epochs(self, run: str) -> list[int | None]:
        """Return the epochs with scores, in order; None first."""
        return sorted((at.epoch for at in self.items if at.run == run), key=_epoch_order)


@dataclass(frozen=True)
class Training:
    """The curves of one run: (step, loss) as logged, and the validation loss by epoch."""

    losses: tuple[tuple[int, float], ...] = ()
    validation: Mapping[int, float] = field(default_factory=dict)
    ends: Mapping[int, int] = field(default_factory=dict)  # the step at which an epoch ended, where known


@dataclass(frozen=True)
class Scores:
    series: tuple[Series, ...]  # in the order in which the rows name them
    training: Mapping[str, Training]
    texts: Mapping[tuple[str, At, str], Text]  # by evaluation, run and epoch, item
    aggregates: Mapping[tuple[str, At], tuple[Row, ...]]  # as the tool reported them, by source

    def of(self, evaluation: str) -> list[Series]:
        return [series for series in self.series if series.evaluation == evaluation]

    def find(self, evaluation: str, scorer: str | None) -> Series | None:
        """Return the scorer's series, or the evaluation's first one where no scorer is named."""
        for series in self.of(evaluation):
            if scorer is None or scorer in {series.scorer, series.scorer.partition("/")[0]}:
                return series
        return None


def sort_rows(rows: Sequence[Row]) -> Scores:
    """Return the rows by what they are about."""
    evaluated = [row for row in rows if row.source != TRAIN]
    samples = [row for row in evaluated if row.sample is not None]
    trained: dict[str, list[Row]] = {}
    for row in rows:
        if row.source == TRAIN:
            trained.setdefault(row.run, []).append(row)
    texts: dict[tuple[str, At, str], Text] = {}
    for row in samples:
        known = texts.get((row.source, _at(row), str(row.sample)), Text(None, None, None))
        found = Text(row.input, row.target, row.output)
        texts[row.source, _at(row), str(row.sample)] = Text(
            *(old if old is not None else new for old, new in zip(known, found, strict=True))
        )
    return Scores(
        series=tuple(_series(samples)),
        training={run: _training(own) for run, own in trained.items()},
        texts=texts,
        aggregates=_aggregates(row for row in rows if row.sample is None and row.step is None),
    )


def item_order(item: str) -> tuple[int, int, str]:
    """Sort items as people count: 2 before 10, numbers before names."""
    return (0, int(item), item) if item.isdecimal() else (1, 0, item)


def _series(samples: Sequence[Row]) -> Iterable[Series]:
    metrics: dict[tuple[str, str], dict[str, None]] = {}
    for row in samples:
        metrics.setdefault((row.source, _scorer(row)), {})[row.metric] = None
    grouped: dict[tuple[str, str], list[Row]] = {}
    for row in samples:
        several = len(metrics[row.source, _scorer(row)]) > 1
        name = f"{_scorer(row)}/{row.metric}" if several else _scorer(row)
        grouped.setdefault((row.source, name), []).append(row)
    for (evaluation, scorer), group in grouped.items():
        items, unscored = _items(group)
        values = [value for scored in items.values() for value in scored.values()]
        yield Series(evaluation, scorer, is_binary(values), is_bounded(values), items, unscored)


def _items(samples: Sequence[Row]) -> tuple[dict[At, dict[str, float]], dict[At, int]]:
    """Average an item that was scored several times; count the items that have no score at all."""
    found: dict[At, dict[str, list[float]]] = {}
    for row in samples:
        scores = found.setdefault(_at(row), {}).setdefault(str(row.sample), [])
        if row.value is not None and math.isfinite(row.value):
            scores.append(float(row.value))
    items = {
        at: {item: math.fsum(scores) / len(scores) for item, scores in by_item.items() if scores}
        for at, by_item in found.items()
    }
    return items, {at: len(by_item) - len(items[at]) for at, by_item in found.items()}


def _training(rows: Sequence[Row]) -> Training:
    losses: dict[int, float] = {}
    validation: dict[int, float] = {}
    ends: dict[int, int] = {}
    for row in rows:
        if row.value is None or not math.isfinite(row.value):
            continue
        if row.metric == LOSS and row.step is not None:
            losses[row.step] = row.value  # a resumed run logs a step again: the last one counts
        if row.metric == VALIDATION_LOSS and row.epoch is not None:
            validation[row.epoch] = row.value
        if row.step is not None and row.epoch is not None:
            ends[row.epoch] = max(row.step, ends.get(row.epoch, 0))
    return Training(tuple(sorted(losses.items())), validation, ends)


def _aggregates(rows: Iterable[Row]) -> dict[tuple[str, At], tuple[Row, ...]]:
    found: dict[tuple[str, At], tuple[Row, ...]] = {}
    for row in rows:
        key = (row.source, _at(row))
        found[key] = (*found.get(key, ()), row)
    return found


def _scorer(row: Row) -> str:
    return row.scorer or row.metric


def _at(row: Row) -> At:
    return At(row.run, row.epoch)


def _epoch_order(epoch: int | None) -> int:
    return -1 if epoch is None else epoch
