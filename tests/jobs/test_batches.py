"""Batches: every job exactly once, after what it needs and after nothing else, whatever the experiment."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.experiment.work import COLLECT, JobKey, JobSpec, Need, Shape, Token
from tuneloop.jobs.batches import After, Batch, Place, Places, Sizes, batches

SHAPES = [Shape("dev"), Shape("dev", gpus=1), Shape("dev", minutes=600)]
ELSEWHERE = "other"


def spec(key: str, *needs: Need, worker: str = "echo", shape: Shape = SHAPES[0]) -> JobSpec:
    run = key.split("/")[1] if "/" in key else None
    return JobSpec(JobKey(key), worker, run, key.replace("/", "_"), "a", needs, (), "d", shape, False, 1.0, "log")


@dataclass(frozen=True)
class Case:
    specs: list[JobSpec]
    sizes: Sizes
    going: Places


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """An experiment of which some jobs are done, some are going, and the rest is to be handed over."""
    runs, evaluations = draw(st.integers(0, 8)), draw(st.integers(0, 3))
    specs = []
    for run in range(runs):
        cited = [Need(JobKey("train/base"), "ok", ELSEWHERE)] if draw(st.booleans()) else []
        specs.append(spec(f"train/r{run}", *cited, shape=draw(st.sampled_from(SHAPES))))
        own = Need(specs[-1].key, "ok")
        specs += [
            spec(f"eval/r{run}/e{epoch}/cap", own, worker="echo-eval", shape=draw(st.sampled_from(SHAPES[:2])))
            for epoch in range(evaluations)
        ]
    for number, cited_run in enumerate(draw(st.lists(st.integers(0, runs - 1), max_size=4)) if runs else ()):
        own = Need(JobKey(f"train/r{cited_run}"), "ok")  # an eval-only run, of a checkpoint of this experiment
        specs.append(spec(f"eval/x{number}/e0/cap", own, worker="echo-eval"))
    specs.append(spec("eval/control/base/cap", worker="echo-eval"))
    specs.append(spec(COLLECT, *(Need(item.key, "any") for item in specs), worker="analysis"))
    fate = {item.key: draw(st.sampled_from(["new", "new", "going", "done"])) for item in specs}
    token = st.sampled_from([Token("old1"), Token("old2")])
    going: dict[tuple[str | None, JobKey], Place] = {
        (None, item.key): Place(draw(token), number) for number, item in enumerate(specs) if fate[item.key] == "going"
    }
    if draw(st.booleans()):
        going[ELSEWHERE, JobKey("train/base")] = Place(Token("theirs"), 3)
    new = draw(st.permutations([item for item in specs if fate[item.key] == "new"]))
    return Case(list(new), Sizes(draw(st.integers(1, 5)), draw(st.integers(1, 5))), going)


def waits(batch: Batch, task: int) -> Iterator[tuple[str, Token, int | None]]:
    """Yield what one job of a batch waits for: the end, the submission, and its task or all of it."""
    for after in batch.after:
        yield ("ok", after.token, task) if after.when == "each" else (after.when, after.token, after.task)


def faults(case: Case, made: list[Batch]) -> list[str]:
    """Return every rule that is broken."""
    by_key = {item.key: item for item in case.specs}
    places = dict(case.going)
    places |= {
        (None, key): Place(batch.token, task)
        for batch in made
        for key, task in zip(batch.keys, batch.tasks, strict=False)
    }
    found, seen = [], {place.token for place in case.going.values()}
    if sorted(key for batch in made for key in batch.keys) != sorted(by_key):
        found.append("a job is missing or handed over twice")
    for batch in made:
        seen_before = frozenset(seen)
        seen.add(batch.token)
        each = any(after.when == "each" for after in batch.after)
        if not 1 <= len(batch.keys) <= (min(case.sizes) if each else case.sizes.largest):
            found.append("a batch is too large")
        if each and len(batch.keys) == 1:
            found.append("a single job waits for an array")  # sbatch takes it for all of it
        if len(set(batch.tasks)) != len(batch.tasks) or not len(batch.keys) == len(batch.scripts) == len(batch.tasks):
            found.append("two jobs are one task")
        if {after.token for after in batch.after} - seen_before:
            found.append("a batch waits for what comes later")
        for key, script, task in zip(batch.keys, batch.scripts, batch.tasks, strict=True):
            item = by_key[key]
            if (item.shape, item.script) != (batch.shape, script):
                found.append(f"{key} has another's shape or script")
            wanted = {(need.when, places.get((need.experiment, need.job))) for need in item.needs}
            needed = {
                (when, place.token, place.task if when == "ok" else None) for when, place in wanted if place is not None
            }
            if set(waits(batch, task)) != needed:
                found.append(f"{key} waits for {sorted(waits(batch, task), key=str)}, not {sorted(needed, key=str)}")
    return found


@settings(max_examples=60, deadline=None)
@given(cases())
def test_every_job_goes_once_after_exactly_what_it_needs(case: Case) -> None:
    assert faults(case, batches(case.specs, case.sizes, case.going)) == []


@settings(max_examples=60, deadline=None)
@given(cases(), st.data())
def test_wherever_the_order_is_cut_at_most_one_array_of_trainings_lacks_what_follows_from_it(
    case: Case, data: st.DataObject
) -> None:
    made = batches(case.specs, case.sizes, case.going)
    cut = data.draw(st.integers(0, len(made)))
    taken, left = made[:cut], made[cut:]
    trainings = {batch.token for batch in taken if batch.keys[0].startswith("train/")}
    follow = [{after.token for after in batch.after} & trainings for batch in left if batch.keys[0].startswith("eval/")]
    assert len(set[Token]().union(*follow)) <= 1
    if any(COLLECT in batch.keys for batch in taken):
        assert not left


def planted() -> dict[str, tuple[str, list[Batch]]]:
    """Bad batches, each with the rule that it breaks."""
    case = CASE
    train, evaluation = batches(case.specs, case.sizes, case.going)
    assert (len(train.keys), len(evaluation.keys)) == (2, 2)
    return {
        "left out": ("missing or handed over twice", [train]),
        "twice": ("missing or handed over twice", [train, evaluation, replace(train, token=Token("x"))]),
        "too large": ("too large", [replace(train, keys=train.keys * 3), evaluation]),
        "one task": ("one task", [replace(train, tasks=(0, 0)), evaluation]),
        "too early": ("comes later", [evaluation, train]),
        "no wait": ("waits for", [train, replace(evaluation, after=())]),
        "another's": ("waits for", [train, replace(evaluation, tasks=tuple(reversed(evaluation.tasks)))]),
        "alone": (
            "a single job waits",
            [train, replace(evaluation, keys=evaluation.keys[:1], tasks=(0,), scripts=("s",))],
        ),
        "all of them": ("waits for", [train, replace(evaluation, after=(After(train.token, "ok"),))]),
    }


CASE = Case(
    [
        *(spec(f"train/r{run}") for run in range(2)),
        *(spec(f"eval/r{run}/e0/cap", Need(JobKey(f"train/r{run}"), "ok"), worker="echo-eval") for run in range(2)),
    ],
    Sizes(5, 5),
    {},
)


@pytest.mark.parametrize("name", planted())
def test_the_rules_find_a_planted_fault(name: str) -> None:
    rule, made = planted()[name]
    with_lengths = [batch if len(batch.keys) == len(batch.tasks) else None for batch in made]
    if None in with_lengths:
        made = [replace(batch, tasks=tuple(range(len(batch.keys))), scripts=("s",) * len(batch.keys)) for batch in made]
    assert any(rule in fault for fault in faults(CASE, made))
