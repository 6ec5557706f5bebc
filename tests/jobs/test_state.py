"""Every state, as a function of journal, facts and needs: no process, no disk."""

from pathlib import Path
from typing import Any

import pytest

from tuneloop.documents.errors import InputError
from tuneloop.experiment.work import JobKey, JobSpec, Need, Shape, State, Verdict
from tuneloop.jobs.answers import Answer
from tuneloop.jobs.facts import Attempt
from tuneloop.jobs.journal import Event
from tuneloop.jobs.native import Native
from tuneloop.jobs.state import fold, states

TRAIN, EVAL, COLLECT = JobKey("train/a"), JobKey("eval/a/e0/cap"), JobKey("collect")


def spec(key: JobKey, *needs: Need, digest: str = "d") -> JobSpec:
    run = None if key == COLLECT else "a"
    return JobSpec(key, "echo", run, "s", "a", needs, (), digest, Shape("local"), False, 1.0, "log")


SPECS = [spec(TRAIN), spec(EVAL, Need(TRAIN, "ok")), spec(COLLECT, Need(TRAIN, "any"), Need(EVAL, "any"))]


def attempt(token: str = "t", restart: int = 0, **changes: Any) -> Attempt:
    plain: dict[str, Any] = {"digest": "d", "alive": False, "code": None, "verdict": None}
    return Attempt(
        path=Path("p"),
        token=token,
        restart=restart,
        id=token,
        started=f"2026-01-01T00:00:{restart:02d}Z",
        pid=1,
        group=None,
        gpu=None,
        **plain | changes,
    )


def events(*items: tuple[str, dict[str, Any]]) -> list[Event]:
    return [Event(number, "now", kind, data) for number, (kind, data) in enumerate(items, 1)]  # type: ignore[arg-type]


def submitted(*keys: JobKey, token: str = "t") -> list[tuple[str, dict[str, Any]]]:
    return [
        ("submitting", {"token": token, "keys": list(keys), "cluster": "local"}),
        ("submitted", {"token": token, "native": ["local", token, None]}),
    ]


ALL = submitted(TRAIN, EVAL, COLLECT)
OK = {"code": 0, "verdict": Verdict(True, "fine")}

CASES: list[tuple[str, list[tuple[str, dict[str, Any]]], dict[JobKey, list[Attempt]], dict[JobKey, State]]] = [
    ("nothing asked", [], {}, {TRAIN: "planned", EVAL: "planned", COLLECT: "planned"}),
    ("handed over", ALL, {}, {TRAIN: "queued", EVAL: "waiting", COLLECT: "waiting"}),
    ("an open submission is not one", ALL[:1], {}, {TRAIN: "planned"}),
    ("running", ALL, {TRAIN: [attempt(alive=True)]}, {TRAIN: "running", EVAL: "waiting"}),
    ("verified", ALL, {TRAIN: [attempt(**OK)]}, {TRAIN: "done", EVAL: "queued", COLLECT: "waiting"}),
    ("failed", ALL, {TRAIN: [attempt(code=1)]}, {TRAIN: "failed", EVAL: "blocked", COLLECT: "queued"}),
    (
        "exit 0 but not verified",
        ALL,
        {TRAIN: [attempt(code=0, verdict=Verdict(False, "torn"))]},
        {TRAIN: "failed", EVAL: "blocked"},
    ),
    ("vanished once, restarts", ALL, {TRAIN: [attempt()]}, {TRAIN: "queued", EVAL: "waiting"}),
    ("vanished too often", ALL, {TRAIN: [attempt(), attempt(restart=1)]}, {TRAIN: "lost", EVAL: "blocked"}),
    (
        "cancelled before it began",
        [*ALL, ("cancel-asked", {"keys": [TRAIN], "by": "person"})],
        {},
        {TRAIN: "cancelled", EVAL: "blocked"},
    ),
    (
        "cancelled while running",
        [*ALL, ("cancel-asked", {"keys": [TRAIN], "by": "person"})],
        {TRAIN: [attempt(code=143)]},
        {TRAIN: "cancelled"},
    ),
    (
        "cancelled too late",
        [*ALL, ("cancel-asked", {"keys": [TRAIN], "by": "person"})],
        {TRAIN: [attempt(**OK)]},
        {TRAIN: "done"},
    ),
    (
        "tried again after a cancel",
        [*ALL, ("cancel-asked", {"keys": [TRAIN], "by": "person"}), *submitted(TRAIN, token="u")],
        {TRAIN: [attempt(code=143)]},
        {TRAIN: "queued"},
    ),
    ("made from other inputs", ALL, {TRAIN: [attempt(**OK, digest="old")]}, {TRAIN: "stale", EVAL: "blocked"}),
    ("by hand", [], {TRAIN: [attempt(token="hand-1", **OK)]}, {TRAIN: "done", EVAL: "planned"}),
    ("by hand, failed", [], {TRAIN: [attempt(token="hand-1", code=3)]}, {TRAIN: "failed"}),
    (
        "a report counts for its own submission",
        [*ALL, *submitted(COLLECT, token="u")],
        {TRAIN: [attempt(**OK)], EVAL: [attempt(**OK)], COLLECT: [attempt(code=0)]},
        {EVAL: "done", COLLECT: "queued"},
    ),
    ("refused", [ALL[0], ("refused", {"token": "t", "reason": "never arrived"})], {}, {TRAIN: "planned"}),
]


@pytest.mark.parametrize("name, journal, facts, expected", CASES, ids=[case[0] for case in CASES])
def test_state(
    name: str,
    journal: list[tuple[str, dict[str, Any]]],
    facts: dict[JobKey, list[Attempt]],
    expected: dict[JobKey, State],
) -> None:
    found = states(SPECS, fold(events(*journal)), facts, retries=1)
    assert {key: found[key].state for key in expected} == expected


def test_a_changed_design_makes_done_stale() -> None:
    found = states(SPECS, fold(events(*ALL)), {TRAIN: [attempt(**OK)]}, outdated={TRAIN})
    assert found[TRAIN].state == "stale"
    assert found[TRAIN].reason == "the design has changed since"


def test_failure_names_the_verdict_first() -> None:
    bad = attempt(code=1, verdict=Verdict(False, "epoch_1 does not load"))
    assert states(SPECS, fold(events(*ALL)), {TRAIN: [bad]})[TRAIN].reason == "epoch_1 does not load"


def test_set_aside_results_want_a_new_yes() -> None:
    asked = [*ALL, ("cancel-asked", {"keys": [TRAIN], "by": "person"}), ("retired", {"keys": [TRAIN], "by": "replace"})]
    assert states(SPECS, fold(events(*asked)), {})[TRAIN].state == "planned"


def test_a_missing_journal_line_is_named() -> None:
    with pytest.raises(InputError, match="event 1 of the journal is about a submission that no line makes"):
        fold(events(("submitted", {"token": "t", "native": []})))


# 00:00:00 of the day on which `attempt` begins, in seconds since 1970.
DAY = 1767225600.0
NATIVE = Native("dev", "7", None)
HANDED = [
    ("submitting", {"token": "t", "keys": [TRAIN], "cluster": "dev"}),
    ("submitted", {"token": "t", "native": NATIVE}),
]


def train_state(answer: Answer, said: float, *attempts: Attempt) -> tuple[State, str]:
    """Return the state of a job when its scheduler said `answer`, `said` seconds after the day began."""
    found = states(
        SPECS,
        fold(events(*HANDED)),
        {TRAIN: attempts},
        scheduled={"dev"},
        answers={NATIVE: answer},
        taken={"dev": DAY + said},
    )
    return found[TRAIN].state, found[TRAIN].reason


PENDING, ACTIVE = Answer("queued", "no free CPUs", final=False), Answer("running", "", final=False)


def test_what_a_job_did_after_its_scheduler_spoke_counts() -> None:
    first = "2026-01-01T00:00:10.000Z"
    began = attempt(alive=True, restart=9)
    assert train_state(PENDING, 8, began) == ("running", "")
    assert train_state(PENDING, 8, attempt(code=3, restart=9)) == ("failed", "exit code 3")
    ended = attempt(code=3, ended=first)
    assert train_state(ACTIVE, 5, ended) == ("failed", "exit code 3")
    assert train_state(ACTIVE, 11, ended) == ("running", "")


def test_what_a_lost_node_left_behind_is_not_the_job() -> None:
    survivor = attempt(alive=True, restart=1)
    assert train_state(PENDING, 30, survivor) == ("queued", "no free CPUs")
    assert train_state(PENDING, 30, survivor, attempt(alive=True, restart=40)) == ("running", "")


def test_a_final_answer_is_not_outlived_by_a_clock_that_is_ahead() -> None:
    late = attempt(code=143, ended="2026-01-01T00:05:00.000Z")
    assert train_state(Answer("cancelled", "by ann", final=True), 10, late) == ("cancelled", "by ann")


def test_a_job_that_waits_names_what_it_waits_for() -> None:
    handed = [
        ("submitting", {"token": "e", "keys": [EVAL], "cluster": "dev"}),
        ("submitted", {"token": "e", "native": Native("dev", "8", None)}),
    ]
    waits = Answer("waiting", "a job that it needs has not ended", final=False)
    new = Answer("queued", "", final=False)
    held = Answer("queued", "held by ann", final=False)
    for answer, own, expected in [
        (ACTIVE, waits, ("waiting", "for train/a")),
        (ACTIVE, new, ("waiting", "for train/a")),
        (ACTIVE, held, ("queued", "held by ann")),
        (Answer("failed", "out of memory", final=True), waits, ("blocked", "train/a is failed")),
    ]:
        answers = {NATIVE: answer, Native("dev", "8", None): own}
        found = states(SPECS, fold(events(*HANDED, *handed)), {}, scheduled={"dev"}, answers=answers)
        assert (found[EVAL].state, found[EVAL].reason) == expected
