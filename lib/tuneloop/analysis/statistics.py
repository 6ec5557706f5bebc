"""Statistics: means, paired differences and their intervals, verdicts, and what n items could have shown.

Numbers in, numbers out; knows nothing of runs, rows or words. Every interval is a 95 % interval and every test
is two-sided. Items are keyed by their id, and two runs are compared on the ids that both have.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

LEVEL = 0.95
POWER = 0.80

Direction = Literal["maximize", "minimize"]
Verdict = Literal["better", "worse", "inconclusive"]
Held = Literal["held", "broken", "inconclusive"]

_SLACK = 1e-12  # 0.3 - 0.25 is not 0.05 in floating point


@dataclass(frozen=True)
class Interval:
    low: float
    high: float

    @property
    def width(self) -> float:
        return self.high - self.low


@dataclass(frozen=True)
class Mean:
    """The mean of n items. No interval for n < 2, nor where scores that are not 0 or 1 are all equal."""

    n: int
    mean: float
    interval: Interval | None


@dataclass(frozen=True)
class Difference:
    """Run minus control on the n items that both have; `unpaired` items, which one of them lacks, are left out."""

    n: int
    unpaired: int
    estimate: float
    interval: Interval | None
    p_value: float | None  # None where the differences are too few, or all equal and not zero
    detectable: float | None  # see `detectable_binary` and `detectable_other`


def is_binary(values: Iterable[float]) -> bool:
    """Tell whether scores are right or wrong: nothing but 0 and 1."""
    return all(value in (0.0, 1.0) for value in values)


def is_bounded(values: Iterable[float]) -> bool:
    """Tell whether all scores lie on the scale from 0 to 1."""
    return all(0.0 <= value <= 1.0 for value in values)


def mean_of(values: Sequence[float], *, binary: bool, bounded: bool = False) -> Mean | None:
    """Return the mean with its interval: Wilson's for 0/1 scores, Student's t otherwise; None without values.

    `bounded` scores go from 0 to 1, so their t interval is cut there.
    """
    n = len(values)
    if n == 0:
        return None
    mean = math.fsum(values) / n
    if n < 2:
        return Mean(n, mean, None)
    if binary:
        return Mean(n, mean, wilson(round(math.fsum(values)), n))
    return Mean(n, mean, _within(student(values), 0.0, 1.0) if bounded else student(values))


def wilson(successes: int, n: int) -> Interval:
    """Return the score interval of a proportion.

    E. B. Wilson (1927), "Probable inference, the law of succession, and statistical inference", Journal of the
    American Statistical Association 22, 209-212.
    """
    z = _normal_quantile((1 + LEVEL) / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # At 0 and n successes the bound is exact; rounding would leave 1e-17.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Interval(low, high)


def student(values: Sequence[float]) -> Interval | None:
    """Return the t interval of a mean; None where it would have no width.

    "Student" (1908), "The probable error of a mean", Biometrika 6, 1-25. Equal values show no spread, and a
    spread of zero estimated from a sample would claim certainty, so there is no interval then.
    """
    n = len(values)
    spread = _deviation(values)
    if n < 2 or spread is None:
        return None
    mean = math.fsum(values) / n
    half = _t_quantile((1 + LEVEL) / 2, n - 1) * spread / math.sqrt(n)
    return Interval(mean - half, mean + half)


def _within(interval: Interval | None, low: float, high: float) -> Interval | None:
    """Return the interval without what no mean can be; it covers the true one as often as before."""
    return None if interval is None else Interval(max(low, interval.low), min(high, interval.high))


def paired_difference(
    run: Mapping[str, float], control: Mapping[str, float], *, binary: bool, bounded: bool = False
) -> Difference | None:
    """Return run minus control on the same items, with interval and p-value; None where they share no item.

    0/1 scores: adjusted Wald interval and exact McNemar test. Others: t interval and t test of the differences;
    those of `bounded` scores go from -1 to 1, so their interval is cut there.
    """
    shared = sorted(run.keys() & control.keys())
    if not shared:
        return None
    n, unpaired = len(shared), len(run.keys() ^ control.keys())
    differences = [run[item] - control[item] for item in shared]
    estimate = math.fsum(differences) / n
    if n < 2:
        return Difference(n, unpaired, estimate, None, None, None)
    if binary:
        gained, lost = differences.count(1.0), differences.count(-1.0)
        interval: Interval | None = bonett_price(gained, lost, n)
        return Difference(n, unpaired, estimate, interval, mcnemar(gained, lost), detectable_binary(gained + lost, n))
    interval = _within(student(differences), -1.0, 1.0) if bounded else student(differences)
    return Difference(n, unpaired, estimate, interval, t_test(differences), detectable_other(differences))


def bonett_price(gained: int, lost: int, n: int) -> Interval:
    """Return the adjusted Wald interval of a difference between paired proportions, within [-1, 1].

    `gained` items are right in the run alone, `lost` ones in the control alone, of n pairs. One is added to each
    of the two counts and two to n. D. G. Bonett and R. M. Price (2012), "Adjusted Wald confidence interval for a
    difference of binomial proportions based on paired data", Journal of Educational and Behavioral Statistics 37,
    479-488.
    """
    z = _normal_quantile((1 + LEVEL) / 2)
    up, down = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    centre = up - down
    half = z * math.sqrt((up + down - centre**2) / (n + 2))
    return Interval(max(-1.0, centre - half), min(1.0, centre + half))


def mcnemar(gained: int, lost: int) -> float:
    """Return the p-value of McNemar's exact test: the discordant pairs against a fair coin.

    Q. McNemar (1947), "Note on the sampling error of the difference between correlated proportions or
    percentages", Psychometrika 12, 153-157; the exact form conditions on the number of discordant pairs.
    """
    from scipy.special import bdtr  # scipy.stats has the test, and takes a second to import

    # A fair coin's two tails are alike; where neither side has more, they meet in the middle.
    return min(1.0, 2 * float(bdtr(min(gained, lost), gained + lost, 0.5)))


def t_test(differences: Sequence[float]) -> float | None:
    """Return the p-value of the paired t test; 1 where all differences are zero, None where it is undefined."""
    from scipy.special import stdtr

    n = len(differences)
    spread = _deviation(differences)
    if n < 2 or spread is None:
        return 1.0 if n >= 2 and not any(differences) else None
    t = math.fsum(differences) / n / (spread / math.sqrt(n))
    return float(2 * stdtr(n - 1, -abs(t)))


def detectable_binary(discordant: int, n: int) -> float | None:
    """Return the smallest difference of paired proportions that n pairs show with 80 % power; None if none is.

    Solves n = (z_a sqrt(s) + z_b sqrt(s - d^2))^2 / d^2 for d, where s is the share of pairs that disagree, here
    the observed one with the same adjustment as the interval. R. J. Connor (1987), "Sample size for testing
    differences in proportions for the paired-sample design", Biometrics 43, 207-211.
    """
    share = (discordant + 2) / (n + 2)
    z_a, z_b = _normal_quantile((1 + LEVEL) / 2), _normal_quantile(POWER)

    def pairs(d: float) -> float:
        return ((z_a * math.sqrt(share) + z_b * math.sqrt(max(share - d * d, 0.0))) / d) ** 2

    if n < 2 or pairs(share) > n:
        return None
    low, high = 0.0, share  # `pairs` falls as d grows
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if pairs(middle) > n else (low, middle)
    return high


def detectable_other(differences: Sequence[float]) -> float | None:
    """Return the smallest mean difference that the paired t test shows with 80 % power, given the spread seen.

    (t_a + t_b) s / sqrt(n), the usual approximation to the power of the t test; e.g. S.-C. Chow, J. Shao and
    H. Wang (2008), "Sample Size Calculations in Clinical Research", 2nd edition, section 3.1.
    """
    n = len(differences)
    spread = _deviation(differences)
    if n < 2 or spread is None:
        return None
    quantiles = _t_quantile((1 + LEVEL) / 2, n - 1) + _t_quantile(POWER, n - 1)
    return quantiles * spread / math.sqrt(n)


def verdict(difference: Difference, direction: Direction, smallest_effect: float) -> Verdict:
    """Return what the difference shows.

    Better: the whole interval lies on the good side of zero and the estimate is at least `smallest_effect`.
    Worse: the mirror image. Anything else, and a difference without an interval, is inconclusive.
    """
    if difference.interval is None:
        return "inconclusive"
    good = oriented(difference.interval, direction)
    estimate = difference.estimate if direction == "maximize" else -difference.estimate
    if good.low > 0 and estimate >= smallest_effect - _SLACK:
        return "better"
    if good.high < 0 and -estimate >= smallest_effect - _SLACK:
        return "worse"
    return "inconclusive"


def guardrail(difference: Difference, direction: Direction, tolerance: float) -> Held:
    """Return whether a loss beyond `tolerance` can be ruled out (held), is certain (broken), or neither."""
    if difference.interval is None:
        return "inconclusive"
    good = oriented(difference.interval, direction)
    if good.low >= -tolerance - _SLACK:
        return "held"
    return "broken" if good.high < -tolerance - _SLACK else "inconclusive"


def oriented(interval: Interval, direction: Direction) -> Interval:
    """Return the interval with the good side up."""
    return interval if direction == "maximize" else Interval(-interval.high, -interval.low)


def holm(p_values: Sequence[float | None]) -> list[float]:
    """Return p-values adjusted for their number; an undefined one counts as 1.

    S. Holm (1979), "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics 6, 65-70.
    """
    known = [1.0 if p is None else p for p in p_values]
    adjusted = [1.0] * len(known)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(known)), key=known.__getitem__)):
        largest = max(largest, min(1.0, (len(known) - rank) * known[index]))
        adjusted[index] = largest
    return adjusted


def average_items(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean over the runs of each item that all of them have."""
    shared = set(runs[0]).intersection(*runs[1:]) if runs else set()
    return {item: math.fsum(run[item] for run in runs) / len(runs) for item in sorted(shared)}


def _deviation(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation; None for n < 2 or where all values are equal up to rounding."""
    n = len(values)
    if n < 2:
        return None
    mean = math.fsum(values) / n
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    largest = max(abs(value) for value in values)
    return None if spread <= _SLACK * largest else spread


def _normal_quantile(share: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(share)


def _t_quantile(share: float, freedom: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, share))
