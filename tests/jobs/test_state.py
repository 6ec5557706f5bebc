"""Every state, as a function of journal, facts and needs: no process, no disk."""

from pathlib import Path
from typing import Any

import pytest

from tuneloop.documents.errors import InputError
from tuneloop.experiment.work import JobKey, JobSpec, Need, Shape, State, Verdict
from tuneloop.jobs.facts import Attempt
from tuneloop.jobs.journal import Event
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
