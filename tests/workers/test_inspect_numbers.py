"""Numbers in answers, and calibration against a plain reading of its definition."""

import math
from decimal import Decimal
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneloop.workers.inspect.calibration import brier, calibration_error, shares
from tuneloop.workers.inspect.numerals import last_numeral, number_of, within

CONFIDENCE = st.floats(0, 1) | st.integers(0, 10).map(lambda tenth: tenth / 10)


@pytest.mark.parametrize(
    "text, found",
    [
        ("The answer is 42.", "42"),
        ("3 apples and 4 pears make 7", "7"),
        ("1,234.5 in all", "1,234.5"),
        ("-3", "-3"),
        ("minus \u22123.5", "\u22123.5"),
        ("10-5", "5"),
        ("6.02e23", "6.02e23"),
        (".5", ".5"),
        ("$12", "12"),
        ("50%", "50"),
        ("H2O", None),
        ("none", None),
        ("", None),
        ("7e9999", "7"),
        ("version 1.2.3", "1.2"),
        ("١٢", None),  # digits that Python's \d would take
    ],
)
def test_the_last_number_is_read(text: str, found: str | None) -> None:
    assert last_numeral(text) == found


@given(
    st.integers(-(10**12), 10**12) | st.floats(allow_nan=False, allow_infinity=False, min_value=-1e90, max_value=1e90)
)
def test_a_number_that_stands_alone_is_itself(value: float) -> None:
    text = f"{value:,}" if isinstance(value, int) else repr(value)
    assert last_numeral(f"It is {text}.") == text
    assert number_of(text) == number_of(value) == Decimal(repr(value))


@pytest.mark.parametrize("value", [True, None, "", "3 apples", "nan", float("inf"), float("nan"), [3], "1,23"])
def test_what_is_no_number_is_none(value: object) -> None:
    assert number_of(value) is None


@pytest.mark.parametrize(
    "answer, target, absolute, relative, inside",
    [
        ("1.1", "1.0", 0.1, 0, True),  # 1.1 - 1.0 > 0.1 in binary fractions
        ("1.11", "1.0", 0.1, 0, False),
        ("99", "100", 0, 0.01, True),
        ("-101", "-100", 0, 0.01, True),
        ("98.9", "100", 0, 0.01, False),
        ("98.9", "100", 2, 0.01, True),  # the larger one holds
        ("0", "0", 0, 0, True),
        ("0.001", "0", 0, 0.5, False),  # a share of nothing is nothing
        ("9e999", "1", 1e300, 0, False),
    ],
)
def test_tolerances(answer: str, target: str, absolute: float, relative: float, inside: bool) -> None:
    assert within(Decimal(answer), Decimal(target), absolute, relative) is inside


def reference(confidences: list[float], right: list[bool], bins: int) -> float:
    """The definition, word for word: sum over bins of |B|/n times |acc(B) - conf(B)|."""
    n, total = len(confidences), 0.0
    for m in range(1, bins + 1):
        low, high = (m - 1) / bins, m / bins
        inside = [i for i, c in enumerate(confidences) if low < c <= high or (m == 1 and c == 0)]
        if inside:
            accuracy = sum(right[i] for i in inside) / len(inside)
            confidence = sum(confidences[i] for i in inside) / len(inside)
            total += len(inside) / n * abs(accuracy - confidence)
    return total


@given(st.lists(st.tuples(CONFIDENCE, st.booleans()), min_size=1, max_size=60), st.integers(1, 20))
def test_calibration_error_is_its_definition(answers: list[tuple[float, bool]], bins: int) -> None:
    confidences, right = [item[0] for item in answers], [item[1] for item in answers]
    found = calibration_error(confidences, right, bins)
    assert found == pytest.approx(reference(confidences, right, bins), abs=1e-12)
    assert 0 <= found <= 1


def test_calibration_error_by_hand() -> None:
    # Bins (0.5, 0.6]: one of two right at 0.55; (0.9, 1]: both right at 0.95. Then 2/4 * 0.05 + 2/4 * 0.05.
    assert calibration_error([0.55, 0.55, 0.95, 0.95], [True, False, True, True]) == pytest.approx(0.05)
    assert calibration_error([1.0, 1.0], [True, True]) == 0
    assert calibration_error([1.0], [False]) == 1
    with pytest.raises(ValueError, match="needs answers"):
        calibration_error([], [])


LETTERS = "ABCDE"


@given(st.dictionaries(st.sampled_from(LETTERS), st.floats(-2000, 0), max_size=5), st.sampled_from(LETTERS))
def test_shares_add_up_and_keep_their_ratios(logprobs: dict[str, float], target: str) -> None:
    found = shares(logprobs, LETTERS)
    assert sum(found.values()) == pytest.approx(1)
    assert all(found[name] == 0 for name in LETTERS if logprobs and name not in logprobs)
    for (one, high), (other, low) in permutations(logprobs.items(), 2):
        if found[other] > 1e-12:
            assert found[one] / found[other] == pytest.approx(math.exp(high - low), rel=1e-6)
    assert 0 <= brier(found, target) <= 2 + 1e-12


def test_brier_by_hand() -> None:
    assert brier({"A": 1.0, "B": 0.0}, "A") == 0
    assert brier({"A": 1.0, "B": 0.0}, "B") == 2
    assert brier({"A": 0.5, "B": 0.25, "C": 0.25}, "A") == pytest.approx(0.25 + 2 * 0.0625)
    assert brier(shares({}, "AB"), "A") == pytest.approx(0.5)
