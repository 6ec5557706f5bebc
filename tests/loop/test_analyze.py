"""Which settings of evaluations reach the report."""

from pathlib import Path
from typing import Any

from tuneloop.experiment.work import JobKey, Verdict
from tuneloop.jobs.board import Board
from tuneloop.jobs.facts import Attempt
from tuneloop.jobs.state import Intent, JobStatus
from tuneloop.loop.analyze import _used

CAP, LONGER, TRAIN = JobKey("eval/control/base/cap"), JobKey("eval/a/e0/longer"), JobKey("train/a")


def attempt(code: int, **facts: Any) -> Attempt:
    verdict = Verdict(code == 0, "", facts)
    return Attempt(Path("a"), "t", 0, "1", "d", "now", 1, None, None, alive=False, code=code, verdict=verdict)


def test_settings_come_from_what_was_verified() -> None:
    statuses = {
        CAP: JobStatus(
            CAP,
            "done",
            attempts=(
                attempt(0, generation={"max_tokens": 8}, scorers={}, samples=5),
                attempt(1, generation={"max_tokens": 9}),
            ),
        ),
        LONGER: JobStatus(LONGER, "stale", attempts=(attempt(0, generation={"max_tokens": 8}),)),
        TRAIN: JobStatus(TRAIN, "done", attempts=(attempt(0, loss=1.0),)),
    }
    board = Board([], statuses, Intent(), frozenset(), frozenset(), {})
    assert _used(board) == {CAP: {"generation": {"max_tokens": 8}}, TRAIN: {}}
