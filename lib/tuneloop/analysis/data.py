"""The analysis as plain data, for programs: the report's numbers before they are rounded. Pure; computes nothing."""

from typing import Any

from tuneloop.analysis.results import Analysis, GuardrailResult, Result, Score
from tuneloop.analysis.statistics import Difference, Interval
from tuneloop.analysis.wording import answer


def as_data(analysis: Analysis) -> dict[str, Any]:
    """Return the answer, and one entry a run for the primary metric, each guardrail and each other scorer.

    All at the epoch that counts. Only the primary has verdicts; they are exploratory where the design names none.
    """
    primary = analysis.primary
    measured = None
    if primary is not None:
        measured = {
            "evaluation": primary.series.evaluation,
            "scorer": primary.series.scorer,
            "direction": primary.direction,
            "smallest_effect": primary.smallest_effect,
            "exploratory": not primary.declared,
        }
    return {
        "answer": answer(analysis),
        "primary": measured,
        "results": [_result(result) for result in analysis.results],
        "guardrails": [_guardrail(item) for item in analysis.guardrails],
        "others": [_score(score.at.run, score.at.epoch, score) for score in analysis.others],
    }


def _result(result: Result) -> dict[str, Any]:
    return {
        **_score(result.run.name, result.epoch, result.score),
        "verdict": result.verdict,
        "adjusted_p_value": result.adjusted,  # by Holm's correction
        "state": result.state,  # why there is no score
    }


def _guardrail(item: GuardrailResult) -> dict[str, Any]:
    epoch = None if item.score is None else item.score.at.epoch
    return {
        **_score(item.run.name, epoch, item.score),
        "guardrail": item.name,
        "direction": item.direction,
        "tolerance": item.tolerance,
        "held": item.held,
    }


def _score(run: str, epoch: int | None, score: Score | None) -> dict[str, Any]:
    """Return one run on one scorer; the values of a run without scores are null."""
    series, mean = (None, None) if score is None else (score.series, score.mean)
    return {
        "run": run,
        "epoch": epoch,
        "evaluation": None if series is None else series.evaluation,
        "scorer": None if series is None else series.scorer,
        "n": 0 if mean is None else mean.n,
        "mean": None if mean is None else mean.mean,
        "interval": None if mean is None else _bounds(mean.interval),
        "difference": None if score is None else _difference(score.difference),
    }


def _difference(found: Difference | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "n": found.n,
        "unpaired": found.unpaired,
        "estimate": found.estimate,
        "interval": _bounds(found.interval),
        "p_value": found.p_value,
    }


def _bounds(interval: Interval | None) -> list[float] | None:
    """Return the ends of a 95 % interval."""
    return None if interval is None else [interval.low, interval.high]
