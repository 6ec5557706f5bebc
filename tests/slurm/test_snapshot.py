"""One picture of a cluster for all monitors: how often SLURM is asked, by whom, and what silence means."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneloop.documents.errors import UnreachableError
from tuneloop.documents.locks import exclusive
from tuneloop.jobs.answers import Answer
from tuneloop.jobs.executors import Native
from tuneloop.jobs.slurm.memory import GRACE_S, RUNAWAY_S, Memory, from_bytes, to_bytes
from tuneloop.jobs.slurm.pace import FIRST_S, FLOOR_S, MOST_S, jittered, next_pause
from tuneloop.jobs.slurm.snapshot import Snapshot
from tuneloop.jobs.transport import Called

T0 = 1_800_000_000.0
DISABLED = "Slurm accounting storage is disabled"


@dataclass
class Scheduler:
    """A cluster whose answers the test writes. Counts what it was asked."""

    queue: dict[str, str] = field(default_factory=dict)  # "8|N/A" -> "RUNNING|None"
    accounting: dict[str, str] = field(default_factory=dict)  # "8" -> "COMPLETED|0:0|submit|start|end"
    down: str = ""
    accounting_down: str = ""
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def call(self, argv: Sequence[str], *, stdin: str = "", timeout: float = 60, environment: object = None) -> Called:
        self.asked.append(tuple(argv))
        if "squeue" in argv:
            rows = "".join(f"{key}|{row}\n" for key, row in self.queue.items())
            return Called(1, "", self.down) if self.down else Called(0, rows, "")
        if "sacct" in argv:
            ids = argv[-1].split(",")
            rows = [f"{key}|{row}\n" for key, row in self.accounting.items() if key.split("_")[0] in ids]
            return Called(1, "", self.accounting_down) if self.accounting_down else Called(0, "".join(rows), "")
        return Called(0, "jo\n", "")  # id -un

    def count(self, command: str) -> int:
        return sum(command in argv for argv in self.asked)


def native(id_: int, task: int | None = None) -> Native:
    return Native("there", str(id_), task)


@pytest.fixture
def scheduler() -> Scheduler:
    return Scheduler()


@pytest.fixture
def snapshot(scheduler: Scheduler, tmp_path: Path) -> Snapshot:
    return Snapshot("there", scheduler, tmp_path, chance=lambda: 0.5)


def another(snapshot: Snapshot, transport: object | None = None) -> Snapshot:
    """A monitor in another process: the file is all that they share."""
    return Snapshot("there", transport or snapshot.transport, snapshot.file.parent, chance=lambda: 0.5)  # type: ignore[arg-type]


def ended(state: str, code: str = "0:0", submitted: float = T0) -> str:
    return f"{state}|{code}|{submitted:.0f}|{submitted + 1:.0f}|{submitted + 2:.0f}"


def test_one_squeue_answers_for_all_jobs(scheduler, snapshot) -> None:
    scheduler.queue = {f"{id_}|N/A": "RUNNING|None" for id_ in range(1000)}
    answers = snapshot.answers({native(id_): T0 for id_ in range(1000)}, T0 + 1)
    assert {answer.state for answer in answers.values()} == {"running"}
    assert (len(answers), len(scheduler.asked)) == (1000, 1)


@pytest.mark.parametrize("jobs", [10, 100, 1000])
def test_calls_of_a_round_do_not_grow_with_the_jobs(scheduler, snapshot, jobs) -> None:
    asked = {native(7, task): T0 for task in range(jobs)}
    scheduler.queue = {f"7|{task}": "RUNNING|None" for task in range(jobs)}
    snapshot.answers(asked, T0 + 1)
    scheduler.queue = {}
    scheduler.accounting = {f"7_{task}": ended("COMPLETED") for task in range(jobs)}
    answers = snapshot.answers(asked, T0 + 20)
    assert set(answers.values()) == {Answer("done", "", final=True)}
    assert (scheduler.count("squeue"), scheduler.count("sacct")) == (2, 1)


def test_accounting_is_asked_in_chunks_and_only_for_what_left_the_queue(scheduler, snapshot) -> None:
    scheduler.queue = {"1|N/A": "RUNNING|None"}
    scheduler.accounting = {str(id_): ended("COMPLETED") for id_ in range(2, 1002)}
    answers = snapshot.answers({native(id_): T0 for id_ in range(1, 1002)}, T0 + 1)
    asked = [argv[-1].split(",") for argv in scheduler.asked if "sacct" in argv]
    assert [len(ids) for ids in asked] == [400, 400, 200]
    assert "1" not in {id_ for ids in asked for id_ in ids}
    assert len(answers) == 1001


def test_monitors_share_a_round(scheduler, snapshot) -> None:
    scheduler.queue = {"1|N/A": "RUNNING|None", "2|N/A": "PENDING|Priority"}
    assert snapshot.answers({native(1): T0}, T0 + 1)[native(1)].state == "running"
    assert another(snapshot).answers({native(2): T0}, T0 + 2)[native(2)].state == "queued"
    assert len(scheduler.asked) == 1


def test_two_clusters_share_nothing(scheduler, snapshot, tmp_path) -> None:
    other = Snapshot("elsewhere", Scheduler(queue={"1|N/A": "PENDING|Priority"}), tmp_path)
    scheduler.queue = {"1|N/A": "RUNNING|None"}
    assert snapshot.answers({native(1): T0}, T0 + 1)[native(1)].state == "running"
    assert other.answers({native(1): T0}, T0 + 1)[native(1)].state == "queued"


@pytest.mark.parametrize("renewed", [False, True])
def test_nobody_asks_twice_in_ten_seconds(scheduler, snapshot, renewed) -> None:
    scheduler.queue = {"1|N/A": "RUNNING|None"}
    for second in range(100):
        if renewed:
            another(snapshot).renew(T0 + second / 10)
        another(snapshot).answers({native(1): T0, native(second + 2): T0}, T0 + second / 10)
    assert len(scheduler.asked) <= 2  # a squeue, and a sacct for what is not in it


def test_the_pace_slows_down_while_nothing_changes_and_recovers(scheduler, snapshot) -> None:
    scheduler.queue = {"1|N/A": "RUNNING|None"}
    rounds = follow(snapshot, scheduler, {native(1): T0}, T0, seconds=3600)
    pauses = [round(after - before) for before, after in pairwise(rounds)]
    assert pauses[0] == 12
    assert pauses[:5] == sorted(pauses[:5])
    assert max(pauses) == MOST_S
    scheduler.queue["1|N/A"] = "COMPLETING|None"
    scheduler.queue["2|N/A"] = "PENDING|Priority"
    start = T0 + 7200
    rounds = follow(snapshot, scheduler, {native(1): T0, native(2): T0}, start, seconds=60)
    assert rounds[1] - rounds[0] <= 15


def follow(
    snapshot: Snapshot, scheduler: Scheduler, asked: dict[Native, float], start: float, *, seconds: int
) -> list[float]:
    """Ask once a second; return when SLURM was asked."""
    rounds = []
    for second in range(seconds):
        before = scheduler.count("squeue")
        snapshot.answers(asked, start + second)
        if scheduler.count("squeue") > before:
            rounds.append(start + second)
    return rounds


def test_who_just_submitted_does_not_wait_for_minutes(scheduler, snapshot) -> None:
    scheduler.queue = {"1|N/A": "RUNNING|None"}
    follow(snapshot, scheduler, {native(1): T0}, T0, seconds=1000)
    now = T0 + 1001
    scheduler.queue["2|N/A"] = "PENDING|Priority"
    assert another(snapshot).answers({native(2): now}, now + FLOOR_S)[native(2)].state == "queued"


def test_who_cancels_shortens_the_wait_of_all_monitors(scheduler, snapshot) -> None:
    scheduler.queue = {"1|N/A": "RUNNING|None"}
    rounds = follow(snapshot, scheduler, {native(1): T0}, T0, seconds=1000)
    scheduler.queue = {"1|N/A": "CANCELLED|None"}
    now = rounds[-1] + FLOOR_S
    assert snapshot.answers({native(1): T0}, now)[native(1)].state == "running"
    another(snapshot).renew(now)
    assert another(snapshot).answers({native(1): T0}, now)[native(1)].state == "cancelled"


def test_a_scheduler_that_does_not_answer_is_no_news(scheduler, snapshot) -> None:
    scheduler.queue = {"1|N/A": "RUNNING|None"}
    asked = {native(1): T0}
    before = snapshot.answers(asked, T0 + 1)
    scheduler.down = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
    rounds = follow(snapshot, scheduler, asked, T0 + 20, seconds=3600)
    assert snapshot.answers(asked, T0 + 3700) == before
    assert (snapshot.news.taken, snapshot.news.silent) == (T0 + 1, scheduler.down)
    pauses = [after - before for before, after in pairwise(rounds)]
    assert pauses[:3] == pytest.approx([2 * FIRST_S, 4 * FIRST_S, 8 * FIRST_S], abs=1)
    scheduler.down = ""
    assert snapshot.answers(asked, T0 + 8000)[native(1)].state == "running"
    assert (snapshot.news.taken, snapshot.news.silent) == (T0 + 8000, "")


def test_a_broken_connection_is_no_news(snapshot) -> None:
    class Broken:
        def call(
            self, argv: Sequence[str], *, stdin: str = "", timeout: float = 60, environment: object = None
        ) -> Called:
            raise UnreachableError("the connection broke")

    monitor = another(snapshot, Broken())
    assert monitor.answers({native(1): T0}, T0 + 1) == {}
    assert monitor.answers({native(1): T0}, T0 + 9999) == {}
    assert monitor.news.silent == "the connection broke"


def test_a_greeting_instead_of_a_list_is_no_news(scheduler, snapshot) -> None:
    scheduler.queue = {"Welcome to the cluster": "maintenance on Monday"}
    assert snapshot.answers({native(1): T0}, T0 + 1) == {}
    assert snapshot.news.silent


@pytest.mark.parametrize("slow", ["a timeout", "a refusal"])
def test_time_without_answers_is_no_time_of_grace(scheduler, snapshot, slow) -> None:
    asked = {native(1): T0}
    snapshot.answers(asked, T0 + 1)  # in neither place
    if slow == "a timeout":
        scheduler.down = "no answer"
    else:
        scheduler.accounting_down = "Connection refused"
    follow(snapshot, scheduler, asked, T0 + 20, seconds=5 * GRACE_S)
    scheduler.down, scheduler.accounting_down = "", ""
    assert snapshot.answers(asked, T0 + 9000) == {}
    scheduler.accounting = {"1": ended("COMPLETED")}
    assert snapshot.answers(asked, T0 + 9020) == {native(1): Answer("done", "", final=True)}


def test_what_nobody_knows_is_lost_after_its_time_of_grace(scheduler, snapshot) -> None:
    asked = {native(1): T0}
    follow(snapshot, scheduler, asked, T0 + 1, seconds=GRACE_S)
    assert snapshot.answers(asked, T0 + GRACE_S) == {}
    follow(snapshot, scheduler, asked, T0 + GRACE_S, seconds=300)
    answers = snapshot.answers(asked, T0 + 600)
    assert (answers[native(1)].state, answers[native(1)].final) == ("lost", True)


def test_a_task_that_only_its_array_remembers_was_cancelled_before_it_began(scheduler, snapshot) -> None:
    """Measured: SLURM keeps no record of such a task, in the queue or in accounting."""
    asked = {native(7, task): T0 for task in range(3)}
    scheduler.queue = {"7|0": "RUNNING|None", "7|[1-2%1]": "PENDING|JobArrayTaskLimit"}
    assert snapshot.answers(asked, T0 + 1)[native(7, 2)].state == "queued"
    scheduler.queue = {"7|0": "RUNNING|None", "7|1": "PENDING|JobArrayTaskLimit"}
    assert snapshot.answers(asked, T0 + 20)[native(7, 2)].state == "queued", "once is no news"
    assert snapshot.answers(asked, T0 + 40)[native(7, 2)] == Answer("cancelled", "before it began", final=True)
    assert snapshot.answers(asked, T0 + 60)[native(7, 1)].state == "queued"


@pytest.mark.parametrize(("first", "disabled"), [("RUNNING|None", ""), ("PENDING|Priority", DISABLED)])
def test_a_task_that_may_have_begun_is_not_called_cancelled(scheduler, snapshot, first, disabled) -> None:
    asked = {native(7, task): T0 for task in range(2)}
    scheduler.accounting_down = disabled
    scheduler.queue = {"7|0": "RUNNING|None", "7|1": first}
    snapshot.answers(asked, T0 + 1)
    del scheduler.queue["7|1"]
    for after in range(20, GRACE_S, 40):
        assert snapshot.answers(asked, T0 + after)[native(7, 1)].state in ("running", "queued")


def test_a_job_that_accounting_calls_alive_is_not_lost_soon(scheduler, snapshot) -> None:
    asked = {native(1): T0}
    scheduler.accounting = {"1": f"RUNNING|0:0|{T0:.0f}|{T0:.0f}|Unknown"}
    follow(snapshot, scheduler, asked, T0 + 1, seconds=RUNAWAY_S - 400)
    assert snapshot.answers(asked, T0 + RUNAWAY_S - 399) == {}
    follow(snapshot, scheduler, asked, T0 + RUNAWAY_S - 398, seconds=1100)
    assert snapshot.answers(asked, T0 + 2 * RUNAWAY_S)[native(1)].state == "lost"


def test_an_older_job_with_the_same_id_is_no_news(scheduler, snapshot) -> None:
    scheduler.accounting = {"1": ended("COMPLETED", submitted=T0 - 100_000)}
    assert snapshot.answers({native(1): T0}, T0 + 1) == {}


def test_an_id_that_was_used_before_starts_anew(scheduler, snapshot) -> None:
    scheduler.accounting = {"1": ended("COMPLETED")}
    assert snapshot.answers({native(1): T0}, T0 + 1)[native(1)].final
    scheduler.queue = {"1|N/A": "PENDING|Priority"}
    later = T0 + 100_000
    assert snapshot.answers({native(1): later}, later + 1)[native(1)].state == "queued"


def test_a_picture_from_before_the_submission_says_nothing(scheduler, snapshot) -> None:
    scheduler.queue = {"1|N/A": "COMPLETED|None", "2|N/A": "RUNNING|None"}
    snapshot.answers({native(2): T0}, T0 + 1)
    assert snapshot.answers({native(1): T0 + 3}, T0 + 4) == {}


def test_who_asks_for_long_keeps_nobody_from_the_last_answers(scheduler, snapshot, monkeypatch) -> None:
    monkeypatch.setattr("tuneloop.jobs.slurm.snapshot._PATIENCE_S", 0.05)
    scheduler.queue = {"1|N/A": "RUNNING|None"}
    snapshot.answers({native(1): T0}, T0 + 1)
    written = snapshot.file.read_bytes()
    with exclusive(snapshot.lock, wait=0, busy="held"):
        assert another(snapshot).answers({native(1): T0, native(2): T0}, T0 + 500)[native(1)].state == "running"
    assert (len(scheduler.asked), snapshot.file.read_bytes()) == (1, written)


def test_final_answers_are_remembered_and_cost_nothing(scheduler, snapshot) -> None:
    scheduler.accounting = {"1": ended("FAILED", "3:0")}
    answers = snapshot.answers({native(1): T0}, T0 + 1)
    assert answers[native(1)] == ("failed", "exit code 3", True)
    calls = len(scheduler.asked)
    assert another(snapshot).answers({native(1): T0}, T0 + 100_000) == answers
    assert len(scheduler.asked) == calls


def test_what_accounting_says_of_a_job_in_the_queue_is_not_final(scheduler, snapshot) -> None:
    """It was preempted, and SLURM has queued it again."""
    scheduler.queue = {"1|N/A": "PENDING|BeginTime"}
    scheduler.accounting = {"1": ended("PREEMPTED")}
    answer = snapshot.answers({native(1): T0}, T0 + 1)[native(1)]
    assert (answer.state, answer.final, scheduler.count("sacct")) == ("queued", False, 0)


def test_a_lost_node_is_final_only_when_the_job_left_the_queue(scheduler, snapshot) -> None:
    asked = {native(1): T0}
    scheduler.queue = {"1|N/A": "NODE_FAIL|NodeDown"}
    assert snapshot.answers(asked, T0 + 1)[native(1)] == ("lost", "its node failed", False)
    scheduler.queue = {}
    scheduler.accounting = {"1": ended("NODE_FAIL")}
    assert snapshot.answers(asked, T0 + 20)[native(1)] == ("lost", "its node failed", True)


def test_an_end_that_slurm_may_undo_waits_for_accounting(scheduler, snapshot) -> None:
    asked = {native(1): T0}
    scheduler.queue = {"1|N/A": "NODE_FAIL|NodeDown"}
    snapshot.answers(asked, T0 + 1)
    scheduler.queue = {}  # and accounting has no row yet
    assert not snapshot.answers(asked, T0 + 20)[native(1)].final
    follow(snapshot, scheduler, asked, T0 + 30, seconds=600)
    assert snapshot.answers(asked, T0 + 700)[native(1)] == ("lost", "its node failed", True)


def test_a_job_that_was_requeued_by_hand_goes_again(scheduler, snapshot) -> None:
    scheduler.accounting = {"1": ended("FAILED", "3:0")}
    snapshot.answers({native(1): T0}, T0 + 1)
    scheduler.queue = {"1|N/A": "RUNNING|None", "2|N/A": "RUNNING|None"}
    answers = snapshot.answers({native(1): T0, native(2): T0}, T0 + 20)
    assert answers[native(1)].state == "running"


def test_accounting_adds_what_the_queue_does_not_say(scheduler, snapshot) -> None:
    scheduler.queue = {"1|N/A": "FAILED|NonZeroExitCode", "2|N/A": "CANCELLED|None", "3|N/A": "COMPLETED|None"}
    scheduler.accounting = {"1": ended("FAILED", "3:0"), "2": ended("CANCELLED by 1000"), "3": ended("COMPLETED")}
    answers = snapshot.answers({native(id_): T0 for id_ in (1, 2, 3)}, T0 + 1)
    assert answers[native(1)].reason == "exit code 3"
    assert answers[native(2)] == ("cancelled", "by jo", True)
    assert [argv[-1] for argv in scheduler.asked if "sacct" in argv] == ["1,2"]
    scheduler.accounting = {}
    assert snapshot.answers({native(id_): T0 for id_ in (1, 2, 4)}, T0 + 40)[native(1)].reason == "exit code 3"


def test_accounting_that_lags_behind_does_not_undo_the_queue(scheduler, snapshot) -> None:
    scheduler.queue = {"1|N/A": "FAILED|NonZeroExitCode"}
    scheduler.accounting = {"1": ended("COMPLETED")}  # its run before it was requeued by hand
    assert snapshot.answers({native(1): T0}, T0 + 1)[native(1)].state == "failed"


def test_without_accounting_the_queue_has_the_last_word(scheduler, snapshot) -> None:
    scheduler.accounting_down = DISABLED
    scheduler.queue = {"1|N/A": "PREEMPTED|None", "2|N/A": "RUNNING|None", "3|N/A": "RUNNING|None"}
    asked = {native(id_): T0 for id_ in (1, 2, 3)}
    snapshot.answers(asked, T0 + 1)
    scheduler.queue = {"2|N/A": "TIMEOUT|TimeLimit"}
    answers = snapshot.answers(asked, T0 + 20)
    assert answers[native(1)] == ("lost", "preempted", True)
    assert answers[native(2)] == ("failed", "the time limit was reached", True)
    assert answers[native(3)].state == "running"  # it may only have left the list a moment ago
    follow(snapshot, scheduler, asked, T0 + 30, seconds=600)
    assert snapshot.answers(asked, T0 + 700)[native(3)].state == "lost"
    assert scheduler.count("sacct") == 1


def test_missing_accounting_is_asked_for_again_after_an_hour(scheduler, snapshot) -> None:
    scheduler.accounting_down = DISABLED
    snapshot.answers({native(1): T0}, T0 + 1)
    scheduler.queue = {"2|N/A": "RUNNING|None"}
    snapshot.answers({native(2): T0, native(3): T0 + 3000}, T0 + 3500)
    assert scheduler.count("sacct") == 1
    snapshot.answers({native(2): T0, native(4): T0 + 3700}, T0 + 3800)
    assert scheduler.count("sacct") == 2


@pytest.mark.parametrize("rubbish", [b"", b"{", b"\xff\xfe", b"[]", b'{"schema": "tuneloop.snapshot/0"}'])
def test_a_spoilt_file_is_started_anew(scheduler, snapshot, rubbish) -> None:
    snapshot.file.parent.mkdir(exist_ok=True)
    snapshot.file.write_bytes(rubbish)
    scheduler.queue = {"1|N/A": "RUNNING|None"}
    assert snapshot.answers({native(1): T0}, T0 + 1)[native(1)].state == "running"
    assert from_bytes(snapshot.file.read_bytes()) is not None


def test_a_clock_that_was_set_back_stops_nothing(scheduler, snapshot) -> None:
    scheduler.queue = {"1|N/A": "RUNNING|None"}
    snapshot.answers({native(1): T0}, T0 + 100_000)
    snapshot.answers({native(1): T0}, T0 + 1)
    assert scheduler.count("squeue") == 2


def test_who_was_killed_while_asking_has_asked(scheduler, snapshot) -> None:
    class Killed:
        def call(
            self, argv: Sequence[str], *, stdin: str = "", timeout: float = 60, environment: object = None
        ) -> Called:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        another(snapshot, Killed()).answers({native(1): T0}, T0 + 1)
    snapshot.answers({native(1): T0}, T0 + 2)
    assert scheduler.asked == []
    snapshot.answers({native(1): T0}, T0 + 1 + FLOOR_S)
    assert scheduler.count("squeue") == 1


def test_a_full_disk_costs_only_the_sharing(scheduler, tiny_disk) -> None:
    from places import fill

    fill(tiny_disk)
    monitor = Snapshot("there", scheduler, tiny_disk / "state", chance=lambda: 0.5)
    scheduler.queue = {"1|N/A": "RUNNING|None"}
    for second in range(9):
        assert monitor.answers({native(1): T0}, T0 + second)[native(1)].state == "running"
    assert len(scheduler.asked) == 1


def test_what_is_remembered_survives_the_file(scheduler, snapshot) -> None:
    scheduler.queue = {"1|N/A": "RUNNING|None", "2|3": "NODE_FAIL|NodeDown"}
    snapshot.answers({native(1): T0, native(2, 3): T0, native(9): T0}, T0 + 1)
    memory = from_bytes(snapshot.file.read_bytes())
    assert memory is not None
    assert set(memory.jobs) == {"1", "2_3", "9"}
    assert from_bytes(to_bytes(memory)) == memory
    assert json.loads(snapshot.file.read_text())["schema"] == Memory.schema


def test_jobs_that_nobody_asks_for_are_forgotten(scheduler, snapshot) -> None:
    scheduler.queue = {"1|N/A": "RUNNING|None", "2|N/A": "RUNNING|None"}
    snapshot.answers({native(1): T0, native(2): T0}, T0 + 1)
    snapshot.answers({native(2): T0}, T0 + 90_000)
    memory = from_bytes(snapshot.file.read_bytes())
    assert memory is not None
    assert set(memory.jobs) == {"2"}


@given(st.floats(FLOOR_S, MOST_S), st.booleans(), st.booleans(), st.floats(0, 1))
def test_the_pause_stays_between_its_bounds(pause: float, answered: bool, changed: bool, chance: float) -> None:
    following = next_pause(pause, answered=answered, changed=changed)
    assert FLOOR_S <= jittered(following, lambda: chance) <= MOST_S
    assert jittered(FIRST_S, lambda: chance) <= 15


MONITOR = """
import subprocess, sys, time
from pathlib import Path
from tuneloop.jobs.executors import Native
from tuneloop.jobs.slurm.snapshot import Snapshot
from tuneloop.jobs.transport import Called

class Counted:
    def call(self, argv, *, stdin="", timeout=60, environment=None):
        with open(sys.argv[2], "a") as file:
            file.write(argv[-3] + "\\n")
        time.sleep(0.5)
        return Called(0, "1|N/A|RUNNING|None\\n", "")

answers = Snapshot("there", Counted(), Path(sys.argv[1])).answers({Native("there", "1"): time.time() - 60})
print(answers[Native("there", "1")].state)
"""


def test_monitors_that_race_make_one_call(tmp_path) -> None:
    calls = tmp_path / "calls"
    command = [sys.executable, "-c", MONITOR, str(tmp_path / "state"), str(calls)]
    monitors = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    said = [monitor.communicate()[0].strip() for monitor in monitors]
    assert said == ["running"] * 6
    assert len(calls.read_text().splitlines()) == 1
