"""Calibration: do probabilities mean what they say? Plain numbers in, a plain number out."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import exp

BINS = 10


def calibration_error(confidences: Sequence[float], right: Sequence[bool], bins: int = BINS) -> float:
    """Return the expected calibration error, from 0 to 1: the mean gap between confidence and accuracy.

    Confidences fall into `bins` of equal width, ((m-1)/bins, m/bins]; each bin's gap |accuracy - mean confidence|
    counts by its share of the answers (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, eq. 3).
    Raises ValueError without answers.
    """
    if not confidences:
        raise ValueError("the calibration error needs answers")
    gaps: dict[int, float] = defaultdict(float)
    for confidence, correct in zip(confidences, right, strict=True):
        gaps[_bin(confidence, bins)] += correct - confidence
    return sum(map(abs, gaps.values())) / len(confidences)


def _bin(confidence: float, bins: int) -> int:
    """Return the bin of a confidence, from 1; zero, which no half-open bin holds, goes into the first."""
    return next((upper for upper in range(1, bins) if confidence <= upper / bins), bins)


def brier(probabilities: Mapping[str, float], target: str) -> float:
    """Return the Brier score of one answer, from 0 (certain and right) to 2 (certain and wrong).

    It is the sum over all choices of (probability - outcome) squared, the original definition for several classes
    (Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78, 1950).
    """
    return sum((value - (name == target)) ** 2 for name, value in probabilities.items())


def shares(logprobs: Mapping[str, float], choices: Sequence[str]) -> dict[str, float]:
    """Return the probability of each choice among the choices, from natural logarithms of what the model gave.

    A choice without an entry gets 0. Where none has one, the model said nothing about them: all are equal.
    """
    given = {name: logprobs[name] for name in choices if name in logprobs}
    if not given:
        return dict.fromkeys(choices, 1 / len(choices))
    most = max(given.values())  # taken off first, or small probabilities would vanish
    weights = {name: exp(given[name] - most) if name in given else 0.0 for name in choices}
    whole = sum(weights.values())
    return {name: weight / whole for name, weight in weights.items()}
