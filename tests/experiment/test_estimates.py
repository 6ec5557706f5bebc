"""Estimates learn from what jobs of the same experiment used, and say so."""

from hypothesis import given
from hypothesis import strategies as st

from tuneloop.experiment.estimates import corrected
from tuneloop.experiment.work import Estimate, JobKey, Usage, eval_key, train_key

A, B, C = (train_key(name) for name in "abc")
CAP, LONG, NEXT = eval_key("a", 0, "cap"), eval_key("a", 0, "long"), eval_key("b", 0, "cap")


def reckoned(*keys: JobKey, seconds: float = 100, memory_mb: int = 1000) -> dict[JobKey, Estimate]:
    return {key: Estimate(seconds, memory_mb, 1.0, steps=7, basis="sizes") for key in keys}


def test_without_anything_seen_nothing_changes() -> None:
    assert corrected(reckoned(A, B), {}) == reckoned(A, B)
    assert corrected(reckoned(A), {"train/gone": Usage(1, 1, 1)}) == reckoned(A)


def test_what_ran_costs_what_it_did_cost() -> None:
    found = corrected(reckoned(A), {A: Usage(40.0, 60.0, 900.4)})[A]
    assert found == Estimate(40.0, 901, 1.0, steps=7, basis="measured in an earlier attempt of the job")


def test_the_others_are_corrected_by_time_in_sum_and_the_worst_memory() -> None:
    costs = reckoned(A, B) | {C: Estimate(300, 2000, 1.0, basis="sizes")}
    found = corrected(costs, {A: Usage(40.0, 1, 500), B: Usage(60.0, 1, 800)})[C]
    assert (found.seconds, found.memory_mb) == (150.0, 1761)
    assert found.basis == "sizes; corrected by 2 jobs of this experiment: time x 0.5, memory x 0.88"


def test_an_evaluation_learns_from_its_own_name_first() -> None:
    costs = reckoned(CAP, LONG, NEXT)
    seen = {str(CAP): Usage(10, 1, 1000), str(LONG): Usage(1000, 1, 1000)}
    assert corrected(costs, seen)[NEXT].seconds == 10
    assert corrected(costs, {str(LONG): seen[str(LONG)]})[NEXT].seconds == 1000


@given(st.floats(0.01, 1e6), st.floats(0.01, 1e5), st.floats(0, 1e6), st.floats(0, 1e6))
def test_no_figure_is_lost_or_negative(seconds: float, wall: float, cpu: float, memory: float) -> None:
    found = corrected(reckoned(A, B, seconds=seconds), {A: Usage(wall, cpu, memory)})
    assert found.keys() == {A, B}
    assert all(item.seconds >= 0 and item.memory_mb > 0 and item.steps == 7 for item in found.values())
