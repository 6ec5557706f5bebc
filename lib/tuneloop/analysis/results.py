"""The analysis: every score with its difference to the control, and what the design's metrics make of it. Pure.

Formulas live in `statistics.py`, choices in `choice.py`; words, tables and figures are made from the `Analysis`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tuneloop.analysis import statistics as st
from tuneloop.analysis.choice import Primary, all_runs, choose_primary, control_of, declared_epoch, find_series
from tuneloop.analysis.effects import Cell, Effect, Items, cells_of, effects_of
from tuneloop.analysis.samples import Samples, side_by_side
from tuneloop.analysis.scores import At, Scores, Series, sort_rows
from tuneloop.experiment.expand import Run
from tuneloop.experiment.read import Experiment
from tuneloop.experiment.work import JobKey, Row, run_of

_Judged = tuple["Score", st.Verdict | None, float | None]
# The first of these that one of its jobs is in says most about a run without a result.
_TELLING = ("failed", "lost", "cancelled", "stale", "blocked", "running", "queued", "waiting", "planned")


@dataclass(frozen=True)
class Score:
    """One run on one scorer at one epoch."""

    at: At
    series: Series
    mean: st.Mean
    difference: st.Difference | None  # None for the control itself, and without one


@dataclass(frozen=True)
class Result:
    """A run at its declared epoch, by the primary metric."""

    run: Run
    epoch: int | None
    validation_loss: float | None
    score: Score | None = None
    verdict: st.Verdict | None = None  # None: not compared
    adjusted: float | None = None  # the p-value after Holm's correction
    state: str | None = None  # why there is no score, as far as is known

    @property
    def difference(self) -> st.Difference | None:
        return None if self.score is None else self.score.difference

    @property
    def survives(self) -> bool:
        """Tell whether the verdict stands when the number of comparisons is taken into account."""
        return self.verdict in {"better", "worse"} and self.adjusted is not None and self.adjusted <= 1 - st.LEVEL


@dataclass(frozen=True)
class GuardrailResult:
    name: str  # of the scorer, or of the evaluation alone where it has no scores
    direction: st.Direction
    tolerance: float
    run: Run
    score: Score | None
    held: st.Held | None  # None: no score, or no control


@dataclass(frozen=True)
class Analysis:
    experiment: Experiment
    rows: tuple[Row, ...]
    runs: tuple[Run, ...]
    scores: Scores
    primary: Primary | None  # None: no scores at all
    control: At | None  # the control run that has scores on the primary
    results: tuple[Result, ...]  # one a run, control first
    best: Result | None  # by the primary, whatever its verdict
    guardrails: tuple[GuardrailResult, ...]
    everything: tuple[Score, ...]  # every run, scorer and epoch
    others: tuple[Score, ...]  # every scorer but the primary, at the declared epochs
    cells: tuple[Cell, ...]  # where the design has several seeds
    effects: tuple[Effect, ...]
    samples: Samples | None
    unfinished: tuple[tuple[str, str], ...]  # jobs that are not done, with their state

    @property
    def compared(self) -> list[Result]:
        return [result for result in self.results if result.verdict is not None]

    @property
    def missing(self) -> list[Result]:
        return [result for result in self.results if result.score is None]


def analyze(experiment: Experiment, rows: Sequence[Row], *, states: Mapping[str, str] | None = None) -> Analysis:
    """Return what the rows say about the experiment's question.

    `states` (job key to state) tells why numbers are missing. Raises InputError where the design's metrics name
    a scorer that the results do not have.
    """
    scores = sort_rows(rows)
    runs = all_runs(experiment, rows)
    primary = choose_primary(experiment, scores)
    epochs = {run.name: declared_epoch(run, experiment, scores, primary) for run in runs}
    everything = [score for series in scores.series for score in _scores(series, runs)]
    chosen = [score for score in everything if score.at.epoch == epochs[score.at.run]]
    verdicts = _verdicts(primary, chosen)
    results = tuple(_result(run, epochs[run.name], scores, verdicts.get(run.name), states or {}) for run in runs)
    best = _best(results, primary)
    control = control_of(primary.series, runs) if primary else None
    items = _trained_items(runs, epochs, primary)
    base = primary.series.items[control] if primary and control else None
    bounded = primary is not None and primary.series.bounded
    samples = None
    if primary and best and best.score:
        samples = side_by_side(scores, primary.series, primary.direction, best.score.at, control)
    return Analysis(
        experiment,
        tuple(rows),
        tuple(runs),
        scores,
        primary,
        control,
        results,
        best,
        guardrails=tuple(_guardrails(experiment, scores, runs, chosen)),
        everything=tuple(everything),
        others=tuple(score for score in chosen if primary and score.series is not primary.series),
        cells=cells_of(experiment.runs, items, base, bounded=bounded),
        effects=effects_of(runs, items, bounded=bounded),
        samples=samples,
        unfinished=tuple(sorted((key, state) for key, state in (states or {}).items() if state != "done")),
    )


def _scores(series: Series, runs: Sequence[Run]) -> Iterator[Score]:
    control = control_of(series, runs)
    base = series.items[control] if control else None
    for run in runs:
        for epoch in series.epochs(run.name):
            at = At(run.name, epoch)
            mean = st.mean_of(list(series.items[at].values()), binary=series.binary, bounded=series.bounded)
            if mean is None:
                continue
            difference = None
            if base and run.kind != "control":
                own = series.items[at]
                difference = st.paired_difference(own, base, binary=series.binary, bounded=series.bounded)
            yield Score(at, series, mean, difference)


def _verdicts(primary: Primary | None, chosen: Sequence[Score]) -> dict[str, _Judged]:
    """Return by run: the score on the primary, the verdict, and the p-value adjusted for all comparisons."""
    if primary is None:
        return {}
    found = [score for score in chosen if score.series is primary.series]
    compared = [score.difference for score in found if score.difference is not None]
    adjusted = iter(st.holm([difference.p_value for difference in compared]))
    verdicts: dict[str, _Judged] = {}
    for score in found:
        if score.difference is None:
            verdicts[score.at.run] = (score, None, None)
            continue
        verdict = st.verdict(score.difference, primary.direction, primary.smallest_effect)
        verdicts[score.at.run] = (score, verdict, next(adjusted))
    return verdicts


def _result(run: Run, epoch: int | None, scores: Scores, found: _Judged | None, states: Mapping[str, str]) -> Result:
    loss = _validation_loss(scores, At(run.name, epoch))
    if found is None:
        return Result(run, epoch, loss, state=_state(run.name, states))
    return Result(run, epoch, loss, *found)


def _validation_loss(scores: Scores, at: At) -> float | None:
    training = scores.training.get(at.run)
    return None if training is None or at.epoch is None else training.validation.get(at.epoch)


def _state(run: str, states: Mapping[str, str]) -> str | None:
    """Return the most telling state of the run's jobs, with its reason where there is one: `failed (time limit)`."""
    own = [state for key, state in states.items() if run_of(JobKey(key)) == run]
    for word in _TELLING:
        for state in own:
            if state.split("(")[0].strip() == word:
                return state
    return None


def _best(results: Sequence[Result], primary: Primary | None) -> Result | None:
    best, highest = None, float("-inf")
    for result in results:
        if primary is None or result.score is None or result.run.kind == "control":
            continue
        value = result.score.mean.mean if primary.direction == "maximize" else -result.score.mean.mean
        if value > highest:  # the first one of equals
            best, highest = result, value
    return best


def _trained_items(runs: Sequence[Run], epochs: Mapping[str, int | None], primary: Primary | None) -> dict[str, Items]:
    """Return the primary's scores of the trained runs at their declared epochs."""
    if primary is None:
        return {}
    found = {run.name: primary.series.items.get(At(run.name, epochs[run.name])) for run in runs if run.kind == "train"}
    return {name: items for name, items in found.items() if items}


def _guardrails(
    experiment: Experiment, scores: Scores, runs: Sequence[Run], chosen: Sequence[Score]
) -> Iterator[GuardrailResult]:
    rails = [] if experiment.design.metrics is None else experiment.design.metrics.guardrails
    for index, rail in enumerate(rails):
        at = ("metrics", "guardrails", index, "scorer")
        series = find_series(experiment, scores, rail.evaluation, rail.scorer, at)
        name = rail.evaluation if series is None else series.name
        found = {score.at.run: score for score in chosen if score.series is series}
        for run in (run for run in runs if run.kind != "control"):
            score = found.get(run.name)
            difference = None if score is None else score.difference
            held = None if difference is None else st.guardrail(difference, rail.direction, rail.tolerance)
            yield GuardrailResult(name, rail.direction, rail.tolerance, run, score, held)
