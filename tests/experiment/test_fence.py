"""Of all attempts at a job, the newest alone may put results into their place."""

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from lab import until
from tuneloop.documents.errors import BusyError, FailedError
from tuneloop.documents.files import write_json
from tuneloop.experiment import fence
from tuneloop.experiment.fence import SupersededError, entering, look, newest
from tuneloop.experiment.standstill import RESUMED, TIME_LIMIT, refuse_standstill


@pytest.fixture
def attempts(tmp_path: Path) -> Path:
    folder = tmp_path / ".attempts" / "train"
    folder.mkdir(parents=True)
    return folder


def begin(attempts: Path, name: str) -> Path:
    with entering(attempts, name):
        (attempts / name).mkdir()
    return attempts / name


@pytest.mark.parametrize("successor", ["t.1", "t.10", "u.0", "a-much-longer-token.0", "s.0"])
def test_a_newer_attempt_shuts_the_older_one_out(attempts: Path, successor: str) -> None:
    older = begin(attempts, "t.0")
    look(older)
    newer = begin(attempts, successor)
    look(newer)
    with pytest.raises(SupersededError, match=f"superseded by {successor}"), newest(older):
        pytest.fail("a superseded attempt got in")


def test_an_earlier_restart_that_comes_late_does_not_begin(attempts: Path) -> None:
    begin(attempts, "t.10")
    with pytest.raises(SupersededError, match=r"superseded by t\.10"), entering(attempts, "t.9"):
        pytest.fail("a lost node's copy began")
    look(attempts / "t.10")


def test_an_attempt_that_could_not_begin_shuts_nobody_out(attempts: Path) -> None:
    older = begin(attempts, "t.0")
    with pytest.raises(OSError, match="full"), entering(attempts, "t.1"):
        raise OSError("full")
    look(older)


def test_attempts_that_nobody_claimed_are_let_in(attempts: Path) -> None:
    (attempts / "by-hand").mkdir()
    look(attempts / "by-hand")


def hold(attempt: Path) -> None:
    with newest(attempt):
        (attempt / "inside").touch()
        signal.pause()


def test_a_holder_is_waited_for_and_its_death_lets_the_next_in(attempts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = begin(attempts, "t.0")
    holder = multiprocessing.get_context("spawn").Process(target=hold, args=(attempt,))
    holder.start()
    until((attempt / "inside").exists)
    monkeypatch.setattr(fence, "_WAIT_S", 0.2)
    with pytest.raises(BusyError, match="keeps its results' place"):
        begin(attempts, "t.1")
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    look(begin(attempts, "t.1"))


def ended(attempt: Path, by: int | None, resumed: int | None) -> None:
    attempt.mkdir()
    write_json(attempt / "exit.json", {"code": 143, "signal": by})
    if resumed is not None:
        write_json(attempt / RESUMED, {"epochs": resumed})


@pytest.mark.parametrize(
    ("by", "resumed", "epochs", "stands"),
    [
        (TIME_LIMIT, None, 0, True),
        (TIME_LIMIT, None, 1, False),
        (TIME_LIMIT, 2, 2, True),
        (TIME_LIMIT, 2, 3, False),
        (signal.SIGTERM, 2, 2, False),  # preempted
        (None, 0, 0, False),  # its node was lost
    ],
)
def test_a_time_limit_without_a_new_epoch_is_a_standstill(
    tmp_path: Path, by: int | None, resumed: int | None, epochs: int, *, stands: bool
) -> None:
    ended(tmp_path / "t.1", by, resumed)
    if stands:
        with pytest.raises(FailedError, match="no epoch fits into the time limit"):
            refuse_standstill(tmp_path / "t.2", epochs)
    else:
        refuse_standstill(tmp_path / "t.2", epochs)
    refuse_standstill(tmp_path / "t.3", epochs)  # what is not right before it does not count
    refuse_standstill(tmp_path / "u.2", epochs)
    refuse_standstill(tmp_path / "t.0", epochs)
