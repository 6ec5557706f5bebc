"""What the design declared before anyone looked: the primary metric, the epoch that counts, the control.

Where the design is silent a default is chosen here, and said to be one. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tuneloop.analysis.scores import At, Scores, Series
from tuneloop.analysis.statistics import Direction
from tuneloop.documents.errors import InputError, did_you_mean
from tuneloop.experiment.expand import Run
from tuneloop.experiment.read import Experiment
from tuneloop.experiment.work import Row

When = Literal["last", "lowest-validation-loss"]


@dataclass(frozen=True)
class Primary:
    """What success is measured by."""

    series: Series
    direction: Direction
    smallest_effect: float
    at: When
    declared: bool  # False: chosen here, since the design names none


def all_runs(experiment: Experiment, rows: Sequence[Row]) -> list[Run]:
    """Return the control runs, then the others as designed, then runs that only the rows know (added later)."""
    designed = sorted(experiment.runs, key=lambda run: run.kind != "control")
    names = {run.name for run in designed}
    added = [name for name in dict.fromkeys(row.run for row in rows) if name not in names]
    return [*designed, *(Run(name, "train", None, {}, {}) for name in added)]


def choose_primary(experiment: Experiment, scores: Scores) -> Primary | None:
    """Return the primary metric; the first scorer of all where none is declared; None without scores.

    Raises InputError where the declared scorer is not in the results.
    """
    metrics = experiment.design.metrics
    if metrics is not None:
        primary = metrics.primary
        at = ("metrics", "primary", "scorer")
        series = find_series(experiment, scores, primary.evaluation, primary.scorer, at)
        if series is None:
            return None
        return Primary(series, primary.direction, primary.smallest_effect, metrics.at, declared=True)
    order = [item.name for item in experiment.design.evaluations] + [item.evaluation for item in scores.series]
    found = (scores.find(name, None) for name in order)
    series = next((item for item in found if item is not None), None)
    return None if series is None else Primary(series, "maximize", 0.0, "last", declared=False)


def find_series(
    experiment: Experiment, scores: Scores, evaluation: str, scorer: str | None, at: tuple[str | int, ...]
) -> Series | None:
    """Return a scorer that the design names; None where its evaluation has no scores yet."""
    known = [series.scorer for series in scores.of(evaluation)]
    series = scores.find(evaluation, scorer)
    if series is None and known and scorer is not None:
        message = f"`{evaluation}` has no scorer `{scorer}` in the results"
        raise InputError(experiment.problem(at, message, did_you_mean(scorer, known)))
    return series


def declared_epoch(run: Run, experiment: Experiment, scores: Scores, primary: Primary | None) -> int | None:
    """Return the one epoch at which the run is judged; None for a run that does not train.

    It is decided by the design and the validation losses, never by the scores: where the evaluation of that
    epoch is missing the run has no result, however good an earlier epoch looks.
    """
    seen = [] if primary is None else primary.series.epochs(run.name)
    if run.kind != "train":
        return None if None in seen or not seen else seen[-1]
    training = scores.training.get(run.name)
    losses = {} if training is None else training.validation
    evaluated = _evaluated_epochs(run, experiment, primary) or [epoch for epoch in seen if epoch is not None]
    evaluated = evaluated or list(losses)
    if not evaluated:
        return None
    losses = {epoch: loss for epoch, loss in losses.items() if epoch in evaluated}
    if _when(experiment, primary) == "lowest-validation-loss" and losses:
        return min(sorted(losses), key=losses.__getitem__)
    return max(evaluated)


def control_of(series: Series, runs: Sequence[Run]) -> At | None:
    """Return the first control run that has scores in the series."""
    for run in runs:
        epochs = series.epochs(run.name) if run.kind == "control" else []
        if epochs:
            return At(run.name, None if None in epochs else epochs[-1])
    return None


def _when(experiment: Experiment, primary: Primary | None) -> When:
    if primary is not None:
        return primary.at
    return "last" if experiment.design.metrics is None else experiment.design.metrics.at


def _evaluated_epochs(run: Run, experiment: Experiment, primary: Primary | None) -> list[int]:
    """Return the epochs, counted from 0, at which the design has the primary evaluated; all where it is silent."""
    if run not in experiment.runs:
        return []
    named = {item.name: item.epochs for item in experiment.design.evaluations}
    epochs = named.get(primary.series.evaluation, "all") if primary else "all"
    if isinstance(epochs, list):
        return [epoch for epoch in epochs if epoch < run.epochs]
    return [run.epochs - 1] if epochs == "last" else list(range(run.epochs))
