"""The formulas: known values, properties, and simulations of what they promise."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from tuneloop.analysis import statistics as st

COVERED = (0.93, 0.975)

binary = some.lists(some.sampled_from([0.0, 1.0]), min_size=2, max_size=60)
scores = some.lists(some.floats(-100, 100), min_size=2, max_size=60)


def keyed(values):
    return {str(index): float(value) for index, value in enumerate(values)}


def paired(run, control, *, binary):
    difference = st.paired_difference(keyed(run), keyed(control), binary=binary)
    assert difference is not None
    return difference


class TestKnownValues:
    def test_wilson_matches_scipy(self):
        from scipy.stats import binomtest

        for successes, n in [(0, 5), (3, 10), (50, 100), (100, 100)]:
            ours = st.wilson(successes, n)
            theirs = binomtest(successes, n).proportion_ci(method="wilson")
            assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))

    def test_student_matches_scipy(self):
        from scipy.stats import ttest_1samp

        values = [0.2, 0.5, 0.9, 0.4, 0.45]
        interval = st.student(values)
        theirs = ttest_1samp(values, 0.0).confidence_interval()
        assert interval is not None
        assert (interval.low, interval.high) == pytest.approx((theirs.low, theirs.high))
        assert st.t_test(values) == pytest.approx(ttest_1samp(values, 0.0).pvalue)

    def test_bonett_price_matches_the_formula(self):
        # 48 pairs, 26 right in one alone and 4 in the other alone: 0.44 -/+ 1.96 x 0.0944881.
        interval = st.bonett_price(26, 4, 48)
        assert (interval.low, interval.high) == pytest.approx((0.2548067, 0.6251933), abs=1e-6)

    def test_mcnemar_is_exact(self):
        from scipy.stats import binomtest

        assert st.mcnemar(6, 0) == pytest.approx(2 * 0.5**6)
        assert st.mcnemar(0, 0) == 1.0
        for gained, lost in [(1, 0), (4, 4), (3, 11), (11, 3), (60, 41)]:
            assert st.mcnemar(gained, lost) == pytest.approx(binomtest(gained, gained + lost, 0.5).pvalue)

    def test_holm_steps_down(self):
        assert st.holm([0.01, 0.04, 0.03, None]) == pytest.approx([0.04, 0.09, 0.09, 1.0])

    def test_detectable_matches_the_sample_size(self):
        # 0.2 of the pairs disagree; 0.1 needs (1.96 sqrt(.2) + 0.8416 sqrt(.19))^2 / .01 pairs, 155 rounded up.
        assert st.detectable_binary(29, 155) == pytest.approx(0.1, abs=0.003)
        assert st.detectable_binary(0, 3) is None


class TestDegenerate:
    def test_one_item_has_no_interval(self):
        assert st.mean_of([1.0], binary=True) == st.Mean(1, 1.0, None)
        assert st.mean_of([], binary=True) is None

    def test_equal_differences_have_no_interval(self):
        difference = paired([0.5, 0.6, 0.7], [0.25, 0.35, 0.45], binary=False)
        assert difference.interval is None
        assert difference.p_value is None
        assert st.verdict(difference, "maximize", 0.0) == "inconclusive"

    def test_no_difference_is_certain_of_nothing(self):
        difference = paired([0.5, 0.6], [0.5, 0.6], binary=False)
        assert (difference.interval, difference.p_value) == (None, 1.0)

    def test_equal_answers_keep_their_width(self):
        difference = paired([1, 0, 1, 1], [1, 0, 1, 1], binary=True)
        assert difference.interval is not None
        assert difference.interval.low < 0 < difference.interval.high

    def test_disjoint_items_are_not_compared(self):
        assert st.paired_difference({"a": 1.0}, {"b": 1.0}, binary=True) is None


def verdict_of(low, high, direction="maximize", smallest=0.05):
    difference = st.Difference(10, 0, (low + high) / 2, st.Interval(low, high), 0.01, None)
    return st.verdict(difference, direction, smallest)


@pytest.mark.parametrize(
    ("low", "high", "maximize", "minimize"),
    [
        (0.01, 0.20, "better", "worse"),
        (-0.20, -0.01, "worse", "better"),
        (-0.01, 0.20, "inconclusive", "inconclusive"),
        (0.01, 0.03, "inconclusive", "inconclusive"),  # not zero, but smaller than what matters
        (0.00, 0.20, "inconclusive", "inconclusive"),
    ],
)
def test_verdict_needs_the_whole_interval(low, high, maximize, minimize):
    assert verdict_of(low, high) == maximize
    assert verdict_of(low, high, "minimize") == minimize


@pytest.mark.parametrize(
    ("low", "high", "direction", "held"),
    [
        (-0.04, 0.10, "maximize", "held"),
        (-0.30, -0.06, "maximize", "broken"),
        (-0.30, 0.10, "maximize", "inconclusive"),
        (-0.05, 0.10, "maximize", "held"),
        (0.06, 0.30, "minimize", "broken"),
        (-0.30, 0.04, "minimize", "held"),
    ],
)
def test_guardrail_looks_at_the_bad_end(low, high, direction, held):
    difference = st.Difference(10, 0, (low + high) / 2, st.Interval(low, high), 0.01, None)
    assert st.guardrail(difference, direction, 0.05) == held


class TestProperties:
    @given(binary)
    def test_proportion_interval_holds_the_mean(self, values):
        mean = st.mean_of(values, binary=True)
        assert mean is not None
        assert mean.interval is not None
        assert 0 <= mean.interval.low <= mean.mean <= mean.interval.high <= 1

    @given(scores)
    def test_mean_interval_holds_the_mean(self, values):
        mean = st.mean_of(values, binary=False)
        assert mean is not None
        if mean.interval is not None:
            assert mean.interval.low <= mean.mean <= mean.interval.high

    @given(some.lists(some.tuples(some.floats(0, 1), some.floats(0, 1)), min_size=2, max_size=20))
    def test_bounded_intervals_hold_what_is_possible(self, pairs):
        run, control = zip(*pairs, strict=True)
        mean = st.mean_of(run, binary=False, bounded=True)
        if mean.interval is not None:
            assert 0 <= mean.interval.low <= mean.mean <= mean.interval.high <= 1
        difference = st.paired_difference(keyed(run), keyed(control), binary=False, bounded=True)
        if difference.interval is not None:
            assert -1 <= difference.interval.low <= difference.estimate <= difference.interval.high <= 1

    @given(some.integers(0, 80), some.integers(0, 80), some.integers(0, 80))
    def test_difference_interval_holds_the_estimate(self, gained, lost, same):
        n = gained + lost + same
        if n >= 2:
            interval = st.bonett_price(gained, lost, n)
            assert -1 <= interval.low <= (gained - lost) / n <= interval.high <= 1

    @given(scores, some.sampled_from([0.0, 0.5]))
    def test_direction_flips_the_verdict(self, values, smallest):
        difference = paired(values, [0.0] * len(values), binary=False)
        flipped = {"better": "worse", "worse": "better", "inconclusive": "inconclusive"}
        up, down = (st.verdict(difference, way, smallest) for way in ("maximize", "minimize"))
        assert down == flipped[up]

    @given(scores, some.randoms())
    def test_order_of_items_changes_nothing(self, values, luck):
        run, control = keyed(values), keyed([value / 2 for value in values])
        shuffled = list(run.items())
        luck.shuffle(shuffled)
        assert st.paired_difference(dict(shuffled), control, binary=False) == st.paired_difference(
            run, control, binary=False
        )

    @given(binary, some.lists(some.sampled_from([0.0, 1.0]), max_size=9))
    def test_unpaired_items_change_nothing(self, values, extra):
        run, control = keyed(values), keyed([1.0] * len(values))
        more = run | {f"extra {index}": value for index, value in enumerate(extra)}
        alone = st.paired_difference(run, control, binary=True)
        together = st.paired_difference(more, control, binary=True)
        assert alone is not None
        assert together is not None
        assert together.unpaired == len(extra)
        assert (alone.n, alone.estimate, alone.interval, alone.p_value) == (
            together.n,
            together.estimate,
            together.interval,
            together.p_value,
        )

    @given(some.lists(some.floats(0, 1), min_size=1, max_size=20))
    def test_holm_never_lowers_a_p_value(self, p_values):
        adjusted = st.holm(p_values)
        assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))


SIMULATIONS = 2000


def coverage(truth, intervals):
    inside = sum(interval is not None and interval.low <= truth <= interval.high for interval in intervals)
    return inside / len(intervals)


class TestSimulations:
    @pytest.mark.parametrize(("chance", "n"), [(0.5, 40), (0.3, 100), (0.85, 100), (0.93, 250)])
    def test_wilson_covers_the_truth(self, chance, n):
        luck = np.random.default_rng(1)
        found = [st.wilson(int(k), n) for k in luck.binomial(n, chance, SIMULATIONS)]
        assert COVERED[0] <= coverage(chance, found) <= COVERED[1]

    @pytest.mark.parametrize("n", [5, 30, 200])
    def test_student_covers_the_truth(self, n):
        luck = np.random.default_rng(2)
        found = [st.student(list(sample)) for sample in luck.normal(0.4, 0.2, (SIMULATIONS, n))]
        assert COVERED[0] <= coverage(0.4, found) <= COVERED[1]

    def test_student_covers_skewed_scores(self):
        luck = np.random.default_rng(3)
        found = [st.student(list(sample)) for sample in luck.beta(4, 1.5, (SIMULATIONS, 100))]
        assert COVERED[0] <= coverage(4 / 5.5, found) <= COVERED[1]

    def test_bounded_mean_covers_as_often(self):
        luck = np.random.default_rng(3)
        samples = [list(sample) for sample in luck.beta(0.3, 2, (SIMULATIONS, 12))]
        cut = [st.mean_of(sample, binary=False, bounded=True).interval for sample in samples]
        whole = [st.student(sample) for sample in samples]
        assert any(interval.low < 0 for interval in whole)
        assert coverage(0.3 / 2.3, cut) == coverage(0.3 / 2.3, whole)

    @pytest.mark.parametrize(("up", "down", "n"), [(0.1, 0.1, 100), (0.3, 0.1, 50), (0.6, 0.05, 100), (0.2, 0.2, 30)])
    def test_bonett_price_covers_the_truth(self, up, down, n):
        luck = np.random.default_rng(4)
        counts = luck.multinomial(n, [up, down, 1 - up - down], SIMULATIONS)
        found = [st.bonett_price(int(gained), int(lost), n) for gained, lost, _ in counts]
        assert COVERED[0] <= coverage(up - down, found) <= COVERED[1]

    def test_paired_scores_cover_the_truth(self):
        luck = np.random.default_rng(5)
        found = []
        for _ in range(SIMULATIONS):
            hard = luck.normal(0, 1, 60)  # items differ far more than runs do
            control, run = hard + luck.normal(0, 0.3, 60), hard + 0.2 + luck.normal(0, 0.3, 60)
            found.append(paired(run, control, binary=False).interval)
        assert COVERED[0] <= coverage(0.2, found) <= COVERED[1]

    @pytest.mark.parametrize("agreement", [0.5, 0.9])
    def test_no_effect_is_rarely_a_verdict(self, agreement):
        luck = np.random.default_rng(6)
        wrong = 0
        for _ in range(SIMULATIONS):
            control = luck.random(100) < 0.6
            run = np.where(luck.random(100) < agreement, control, luck.random(100) < 0.6)
            wrong += st.verdict(paired(run, control, binary=True), "maximize", 0.0) != "inconclusive"
        assert wrong / SIMULATIONS <= 0.055

    def test_no_effect_on_scores_is_rarely_a_verdict(self):
        luck = np.random.default_rng(7)
        wrong = 0
        for _ in range(SIMULATIONS):
            run, control = luck.beta(2, 2, 50), luck.beta(2, 2, 50)
            wrong += st.verdict(paired(run, control, binary=False), "maximize", 0.0) != "inconclusive"
        assert 0.035 <= wrong / SIMULATIONS <= 0.065

    def test_holm_keeps_the_family_error(self):
        luck = np.random.default_rng(8)
        families = luck.random((SIMULATIONS, 6))  # p-values without any effect
        wrong = sum(min(st.holm(list(family))) <= 0.05 for family in families)
        assert wrong / SIMULATIONS <= 0.065

    @pytest.mark.parametrize(("disagree", "n"), [(0.2, 100), (0.5, 200)])
    def test_detectable_difference_is_found_in_eighty_percent(self, disagree, n):
        detectable = st.detectable_binary(round(disagree * n), n)
        assert detectable is not None
        share = (round(disagree * n) + 2) / (n + 2)
        up, down = (share + detectable) / 2, (share - detectable) / 2
        counts = np.random.default_rng(9).multinomial(n, [up, down, 1 - up - down], SIMULATIONS)
        found = sum(st.bonett_price(int(gained), int(lost), n).low > 0 for gained, lost, _ in counts)
        assert 0.74 <= found / SIMULATIONS <= 0.86

    def test_detectable_mean_is_found_in_eighty_percent(self):
        luck, n = np.random.default_rng(10), 40
        unit = [math.sqrt((n - 1) / n) * x for x in [1, -1] * (n // 2)]  # deviation 1
        detectable = st.detectable_other(unit)
        found = sum(
            interval is not None and interval.low > 0
            for interval in (st.student(list(sample)) for sample in luck.normal(detectable, 1, (SIMULATIONS, n)))
        )
        assert 0.77 <= found / SIMULATIONS <= 0.83
