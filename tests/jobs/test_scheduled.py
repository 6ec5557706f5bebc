"""States of jobs that a scheduler has: its word, the facts and no news, as a function."""

from pathlib import Path
from typing import Any

import pytest

from tuneloop.experiment.standstill import TIME_LIMIT
from tuneloop.experiment.work import JobKey, JobSpec, Need, Shape, State, Verdict
from tuneloop.jobs.answers import Answer
from tuneloop.jobs.facts import Attempt
from tuneloop.jobs.journal import Event
from tuneloop.jobs.native import Native
from tuneloop.jobs.state import JobStatus, fold, states

TRAIN, EVAL = JobKey("train/a"), JobKey("eval/a/e0/cap")
SPECS = [
    JobSpec(TRAIN, "echo", "a", "s", "a", (), (), "d", Shape("dev"), False, 1.0, "log"),
    JobSpec(EVAL, "echo", "a", "s", "a", (Need(TRAIN),), (), "d", Shape("dev"), False, 1.0, "log"),
]
OK = {"code": 0, "verdict": Verdict(True, "fine")}
PENDING = Answer("queued", "no free node", False)
RUNNING = Answer("running", "", False)


def attempt(restart: int = 0, **changes: Any) -> Attempt:
    plain: dict[str, Any] = {"digest": "d", "alive": False, "code": None, "verdict": None}
    started = f"2026-01-01T00:00:{restart:02d}Z"
    return Attempt(Path("p"), "t", restart, id="t", started=started, pid=1, group=None, gpu=None, **plain | changes)


def found(attempts: list[Attempt], answer: Answer | None, *, asked: bool = False) -> dict[JobKey, JobStatus]:
    entries: list[tuple[Any, dict[str, Any]]] = [
        ("submitting", {"token": "t", "keys": [TRAIN, EVAL], "tasks": [3, 4], "cluster": "dev"}),
        ("submitted", {"token": "t", "native": ["dev", "17", 0]}),
        *([("cancel-asked", {"keys": [TRAIN]})] if asked else []),
    ]
    events = [Event(number, "now", kind, data) for number, (kind, data) in enumerate(entries, 1)]
    answers = {} if answer is None else {Native("dev", "17", 3): answer}
    return states(SPECS, fold(events), {TRAIN: attempts}, scheduled={"dev"}, answers=answers)


@pytest.mark.parametrize(
    ("case", "attempts", "answer", "expected"),
    [
        ("it waits in the queue", [], PENDING, ("queued", "no free node")),
        ("it runs", [attempt()], RUNNING, ("running", "")),
        ("it is verified while the queue still has it", [attempt(**OK)], RUNNING, ("done", "")),
        ("it was preempted and waits again", [attempt(code=143)], PENDING, ("queued", "no free node")),
        ("a lost node's process holds its lock", [attempt(alive=True)], PENDING, ("queued", "no free node")),
        ("it starts a second time", [attempt(code=143), attempt(1)], RUNNING, ("running", "")),
        ("its own words say more", [attempt(code=7)], Answer("failed", "exit code 9", True), ("failed", "exit code 7")),
        (
            "the scheduler ended it",
            [attempt(code=143)],
            Answer("failed", "the time limit was reached", True),
            ("failed", "the time limit was reached"),
        ),
        (
            "its time limit ended it, and it did not go back",
            [attempt(code=143, signal=TIME_LIMIT)],
            Answer("failed", "exit code 143", True),
            ("failed", "the time limit ended it"),
        ),
        ("it goes back", [attempt(code=143, signal=TIME_LIMIT)], PENDING, ("queued", "no free node")),
        ("it never came to a claim", [], Answer("failed", "exit code 127", True), ("failed", "exit code 127")),
        ("its node failed for good", [attempt()], Answer("lost", "its node failed", True), ("lost", "its node failed")),
        ("forgotten, but it said why", [attempt(code=3)], Answer("lost", "gone", True), ("failed", "exit code 3")),
        ("somebody cancelled it", [], Answer("cancelled", "by ada", True), ("cancelled", "by ada")),
        ("completed without a result", [attempt()], Answer("done", "", True), ("lost", None)),
        ("its result was refused", [attempt()], Answer("done", "no rights", True), ("lost", "no rights")),
        ("no news before it began", [], None, ("queued", "")),
        ("no news since it began", [attempt()], None, ("running", "no news from its cluster")),
        ("no news, and a signal ended it", [attempt(code=143)], None, ("running", "no news from its cluster")),
        ("no news, and it failed by itself", [attempt(code=3)], None, ("failed", "exit code 3")),
        ("no news, and it is verified", [attempt(**OK)], None, ("done", "")),
    ],
)
def test_the_state_of_a_scheduled_job(
    case: str, attempts: list[Attempt], answer: Answer | None, expected: tuple[State, str | None]
) -> None:
    status = found(attempts, answer)[TRAIN]
    state, reason = expected
    assert status.state == state
    assert reason is None or status.reason == reason
    assert status.native == Native("dev", "17", 3)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (PENDING, "queued"),
        (RUNNING, "running"),
        (Answer("cancelled", "by ada", True), "cancelled"),
        (Answer("failed", "exit code 143", True), "cancelled"),
        (Answer("lost", "gone", True), "cancelled"),
    ],
)
def test_what_was_asked_to_end_is_cancelled_when_its_scheduler_is_done_with_it(answer: Answer, expected: State) -> None:
    status = found([attempt(code=143)], answer, asked=True)[TRAIN]
    assert status.state == expected
    assert status.reason == ("" if expected == "cancelled" else "asked to end")


def test_no_news_of_a_parent_blocks_nobody() -> None:
    assert found([attempt(code=143)], None)[EVAL].state == "waiting"


def test_a_job_whose_parent_failed_is_blocked_whatever_is_known_of_itself() -> None:
    assert found([attempt(code=7)], Answer("failed", "exit code 7", True))[EVAL].state == "blocked"
