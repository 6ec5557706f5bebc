"""What a job asks for: always enough, never much too much, and the same for jobs that cost nearly the same."""

from hypothesis import given
from hypothesis import strategies as st

from tuneloop.experiment.shapes import shape_of, within
from tuneloop.experiment.work import Estimate, Machine, Shape, Site

MACHINE = Machine("here", gpus=1, cpus=4, python="python")
DAY = Machine("here", gpus=1, cpus=4, python="python", site=Site(minutes=1440))


def asked(memory_mb: int, seconds: float) -> Shape:
    return shape_of(Estimate(seconds, memory_mb, 0.0), MACHINE)


@given(st.integers(1, 2_000_000), st.floats(0, 1e6))
def test_there_is_room_and_not_much_more(memory_mb: int, seconds: float) -> None:
    shape = asked(memory_mb, seconds)
    assert memory_mb * 1.25 <= shape.memory_mb <= max(memory_mb * 1.25 + 257, memory_mb * 1.25 * 1.125 + 2)
    assert seconds * 4 / 60 <= shape.minutes <= max(30, seconds * 4 / 60 * 2)


@given(st.integers(1, 2_000_000), st.floats(0, 1e6), st.floats(1, 3))
def test_who_costs_more_never_asks_for_less(memory_mb: int, seconds: float, times: float) -> None:
    less, more = asked(memory_mb, seconds), asked(int(memory_mb * times), seconds * times)
    assert less.memory_mb <= more.memory_mb
    assert less.minutes <= more.minutes


@given(st.integers(1000, 1_000_000), st.floats(60, 1e6))
def test_there_are_few_shapes(memory_mb: int, seconds: float) -> None:
    alike = {asked(int(memory_mb * (1 + step / 1000)), seconds * (1 + step / 1000)) for step in range(20)}
    assert len(alike) <= 3  # 2 % cross one step of each at most


def test_the_ladder_of_minutes_and_the_steps_of_memory() -> None:
    ladder = sorted({asked(1, minutes * 15.0).minutes for minutes in range(1, 800)})
    assert ladder == [15, 30, 60, 90, 120, 180, 240, 360, 480, 720, 960]
    assert [asked(memory, 1).memory_mb for memory in (1, 205, 1000, 1700, 20_000)] == [256, 512, 1280, 2304, 26_624]


def test_the_rest_is_the_machine_s_unless_the_job_knows_better() -> None:
    cost = Estimate(60, 1000, 0.0)
    assert shape_of(cost, MACHINE) == Shape("here", 1, 1, 4, 1280, 15)
    assert shape_of(cost, MACHINE, nodes=2, gpus=8) == Shape("here", 2, 8, 4, 1280, 15)


def of_hours(hours: float, resumes_after: float | None = None) -> int:
    """Return the minutes that a job asks for where a day is the most."""
    after = None if resumes_after is None else resumes_after * 3600
    return shape_of(Estimate(hours * 3600, 1000, 0.0), DAY, resumes_after=after).minutes


def test_what_fits_by_its_estimate_asks_for_the_site_s_limit_at_most() -> None:
    assert [of_hours(hours) for hours in (1, 5.9, 6, 6.1, 7, 24)] == [240, 1440, 1440, 1440, 1440, 1440]


def test_what_goes_on_later_gets_the_limit_where_an_epoch_fits() -> None:
    assert of_hours(100, resumes_after=10) == 1440
    assert of_hours(100, resumes_after=24) == 1440
    assert of_hours(1, resumes_after=0.1) == 240
    assert of_hours(100, resumes_after=25) > 1440


def test_what_must_be_done_at_once_and_does_not_fit_asks_for_what_it_needs() -> None:
    assert of_hours(25) > 1440


@given(st.floats(0, 1e6), st.integers(1, 10_000))
def test_a_limit_never_makes_a_job_ask_for_less_than_it_is_expected_to_take(seconds: float, limit: int) -> None:
    minutes = within(Machine("here", 0, 1, "python", Site(minutes=limit)), asked(1, seconds).minutes, seconds)
    assert minutes * 60 >= seconds
    assert minutes <= max(asked(1, seconds).minutes, limit)
