"""What two versions of SLURM really printed, row by row, and what must hold for any text."""

from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneloop.experiment.work import State
from tuneloop.jobs.answers import Answer
from tuneloop.jobs.slurm.answers import (
    QUEUE,
    SKEW_S,
    STATES,
    AccountRow,
    QueueRow,
    account_command,
    from_accounting,
    from_queue,
    of_another,
    parse_accounting,
    parse_queue,
    row_of,
)
from tuneloop.jobs.slurm.reasons import NEVER, words

RECORDED = Path(__file__).parent / "recorded"
VERSIONS = ["22.05", "24.11"]
BOTH = pytest.mark.parametrize("version", VERSIONS)

RUNS = Answer("running", "", final=False)
DONE = Answer("done", "", final=True)
WAITS = Answer("waiting", "a job that it needs has not ended", final=False)
BLOCKED = Answer("blocked", NEVER, final=False)
CANCELLED = Answer("cancelled", "", final=True)
REQUEUED = Answer("queued", words("BeginTime"), final=False)
BY_ROOT = Answer("cancelled", "by root", final=True)
NO_NEWS = None

FAILED_3 = Answer("failed", "another exit code than 0", final=True)
LAUNCH = Answer("failed", "ended by a signal, or could not be launched", final=True)


def failed(reason: str) -> Answer:
    return Answer("failed", reason, final=True)


def lost(reason: str, *, final: bool) -> Answer:
    return Answer("lost", reason, final=final)


# The moment, the job, its place in an array, and what the queue says: of both versions, or one for each.
IN_QUEUE = [
    ("preempted", "low_requeue", None, REQUEUED),
    ("preempted", "preemptor", None, RUNS),
    ("preempted", "resources", None, Answer("queued", "no free node with what it asks for", final=False)),
    ("preempted", "priority", None, Answer("queued", "jobs of others go first", final=False)),
    ("requeued", "ok", None, DONE),
    ("requeued", "fail3", None, FAILED_3),
    ("requeued", "killed9", None, (LAUNCH, failed("ended by signal 9"))),
    ("requeued", "interpreter", None, FAILED_3),
    ("requeued", "output_folder", None, (LAUNCH, DONE)),  # the newer one makes the folder
    ("requeued", "cancelled_running", None, CANCELLED),
    ("requeued", "cancelled_pending", None, CANCELLED),
    ("requeued", "held", None, Answer("queued", words("JobHeldUser"), final=False)),
    ("requeued", "timeout", None, RUNS),
    ("requeued", "begin", None, REQUEUED),
    ("requeued", "nodefail", None, lost("its node failed", final=False)),
    ("requeued", "low_cancel", None, lost("preempted", final=False)),
    ("requeued", "nodefail_requeue", None, REQUEUED),
    ("requeued", "requeued", None, REQUEUED),
    ("requeued", "requeued_held", None, Answer("queued", words("job requeued in held state"), final=False)),
    ("requeued", "suspended", None, Answer("running", "suspended", final=False)),
    ("requeued", "array", 0, DONE),
    ("requeued", "array", 3, FAILED_3),
    ("requeued", "corr", 3, BLOCKED),
    ("requeued", "waits", None, WAITS),
    ("requeued", "waits_cancelled", None, CANCELLED),
    ("requeued", "cancelled_array", 0, CANCELLED),
    ("requeued", "cancelled_array", 4, CANCELLED),
    ("late", "timeout", None, failed("the time limit was reached")),
    ("late", "after_all", None, BLOCKED),
    ("late", "waits", None, BLOCKED),
    ("late", "dep_kill", None, BLOCKED),
    ("late", "corr", 4, DONE),
    ("late", "nodefail_requeue", None, RUNS),
    ("late", "requeued", None, RUNS),
]
IN_ACCOUNTING = [
    ("requeued", "ok", None, DONE),
    ("requeued", "fail3", None, failed("exit code 3")),
    ("requeued", "killed9", None, failed("ended by signal 9")),
    ("requeued", "interpreter", None, failed("exit code 2")),
    ("requeued", "output_folder", None, (failed("its output folder or working folder could not be used"), DONE)),
    ("requeued", "cancelled_running", None, BY_ROOT),
    ("requeued", "cancelled_pending", None, BY_ROOT),
    ("requeued", "low_cancel", None, lost("preempted", final=True)),
    ("requeued", "nodefail", None, lost("its node failed", final=True)),
    # Accounting says of a requeued job how its first run ended, or that it waits; the queue has it.
    ("requeued", "nodefail_requeue", None, (lost("its node failed", final=True), NO_NEWS)),
    ("requeued", "requeued", None, NO_NEWS),
    ("requeued", "requeued_held", None, NO_NEWS),
    ("requeued", "suspended", None, NO_NEWS),
    ("requeued", "timeout", None, NO_NEWS),  # the queue had it as ended before
    ("requeued", "held", None, NO_NEWS),
    ("requeued", "array", 3, failed("exit code 1")),
    ("requeued", "waits_cancelled", None, BY_ROOT),
    ("requeued", "cancelled_array", 0, BY_ROOT),
    ("requeued", "cancelled_array", 3, BY_ROOT),  # one row for `[1-5%1]`
    ("late", "timeout", None, failed("the time limit was reached")),
    ("late", "dep_kill", None, Answer("blocked", NEVER, final=True)),
    ("late", "after_all", None, NO_NEWS),
    ("late", "deadline", None, (NO_NEWS, failed("its deadline passed"))),
    ("late", "array", 5, DONE),
    ("late", "requeued", None, NO_NEWS),
    ("late", "later", None, NO_NEWS),
    ("forged", "oom", None, failed("out of memory")),
    ("forged", "boot_fail", None, lost("its node did not start", final=True)),
]


def recorded(version: str, name: str) -> str:
    return (RECORDED / version / f"{name}.txt").read_text()


def job(version: str, name: str) -> str:
    return dict(line.split() for line in recorded(version, "jobs").splitlines())[name]


def expected(version: str, answers: object) -> object:
    if isinstance(answers, tuple) and not isinstance(answers, Answer):
        return answers[VERSIONS.index(version)]
    return answers


def named(user: int) -> str | None:
    return {0: "root"}.get(user)


@BOTH
@pytest.mark.parametrize("moment, name, task, answer", IN_QUEUE)
def test_the_queue_of_both_versions_is_understood(version, moment, name, task, answer) -> None:
    row = row_of(parse_queue(recorded(version, f"queue_{moment}")).rows, (job(version, name), task))
    assert row is not None
    assert from_queue(row) == expected(version, answer)


@BOTH
@pytest.mark.parametrize("moment, name, task, answer", IN_ACCOUNTING)
def test_the_accounting_of_both_versions_is_understood(version, moment, name, task, answer) -> None:
    row = row_of(parse_accounting(recorded(version, f"accounting_{moment}")).rows, (job(version, name), task))
    assert row is not None
    assert from_accounting(row, named) == expected(version, answer)


@BOTH
def test_every_recorded_line_is_understood(version: str) -> None:
    for moment, least in [("preempted", 4), ("requeued", 40), ("late", 40)]:
        read = parse_queue(recorded(version, f"queue_{moment}"))
        assert (len(read.rows) >= least, read.ignored) == (True, 0)
        assert all(row.state in STATES for row in read.rows.values())
    read_accounting = parse_accounting(recorded(version, "accounting_late"))
    assert (len(read_accounting.rows) >= 40, read_accounting.ignored) == (True, 0)


def test_every_state_has_a_meaning_in_our_vocabulary() -> None:
    assert {meaning.state for meaning in STATES.values()} <= set(get_args(State))
    for word, meaning in STATES.items():
        answer = from_queue(QueueRow(word, "None"))
        assert answer is not None
        assert answer.state == meaning.state
        ended = from_accounting(AccountRow(1.0, 2.0, 3.0, word), named)
        assert (ended is not None) == meaning.ended


def test_a_state_of_a_newer_slurm_is_no_news() -> None:
    assert from_queue(QueueRow("HIBERNATING", "None")) is None
    assert from_accounting(AccountRow(1, 2, 3, "HIBERNATING"), named) is None


def test_an_end_without_its_time_is_no_news() -> None:
    assert from_accounting(AccountRow(1, 2, None, "COMPLETED"), named) is None


def test_who_cancelled_is_named_where_the_name_is_known() -> None:
    rows = parse_accounting("7|CANCELLED by 4711|0:0|1|2|3\n").rows
    assert from_accounting(rows["7", None], named) == Answer("cancelled", "by user 4711", final=True)


def test_a_reason_may_hold_anything() -> None:
    text = "2|N/A|PENDING|ReqNodeNotAvail, UnavailableNodes:n[1-3]\n3|N/A|PENDING|a|b c|d\n"
    rows = parse_queue(text).rows
    assert from_queue(rows["2", None]) == (
        "queued",
        "a node that it asks for is down, drained or reserved (UnavailableNodes:n[1-3])",
        False,
    )
    assert from_queue(rows["3", None]) == ("queued", "a|b c|d", False)


@pytest.mark.parametrize(
    "column, tasks",
    [
        ("N/A", [None]),
        ("3", [3]),
        ("0-2%2", [0, 1, 2]),
        ("[1,4-8:2]", [1, 4, 6, 8]),
        ("[1-3,5,...]", [None]),
        ("[0-4000000]", [None]),
        ("nonsense", []),
        ("", []),
    ],
)
def test_pending_parts_of_an_array_are_written_out(column: str, tasks: list[int | None]) -> None:
    read = parse_queue(f"26|{column}|PENDING|JobArrayTaskLimit")
    assert [task for _, task in read.rows] == tasks
    assert read.ignored == (not tasks)


def test_a_range_that_was_cut_short_stands_for_the_rest_of_the_array() -> None:
    rows = parse_queue("26|[7,9,...]|PENDING|Priority\n26|3|RUNNING|None").rows
    assert row_of(rows, ("26", 3)) == ("RUNNING", "None")
    assert row_of(rows, ("26", 11)) == ("PENDING", "Priority")


def test_the_newest_run_of_a_job_counts() -> None:
    lines = ["8|PREEMPTED|0:0|100|101|102", "8|COMPLETED|0:0|103|110|120"]
    for text in ("\n".join(lines), "\n".join(reversed(lines))):
        assert from_accounting(parse_accounting(text).rows["8", None], named) == DONE


def test_an_older_job_with_the_same_id_is_told_apart() -> None:
    handed_over = 1_000_000.0
    assert of_another(AccountRow(handed_over - SKEW_S - 1, 1, 2, "COMPLETED"), handed_over)
    assert not of_another(AccountRow(handed_over - 5, 1, 2, "COMPLETED"), handed_over)  # clocks differ
    assert not of_another(AccountRow(handed_over + 900, 1, 2, "COMPLETED"), handed_over)  # requeued since
    assert not of_another(AccountRow(None, 1, 2, "COMPLETED"), handed_over)


def test_times_are_read_as_printed_by_a_site_that_ignores_the_format() -> None:
    row = parse_accounting("8|COMPLETED|0:0|2026-01-31T23:59:59|2026-02-01T00:00:00|Unknown").rows["8", None]
    assert row.start is not None
    assert row.submit is not None
    assert (row.start - row.submit, row.end) == (1, None)


def test_commands_ask_for_no_free_text() -> None:
    """A job's name or comment may hold newlines and bars."""
    for command, columns in [(QUEUE, "%F|%K|%T|%r"), (account_command(["1"]), "JobID,State,ExitCode,Submit,Start,End")]:
        assert columns in command
    assert account_command(["1", "2"])[-1] == "1,2"


LINES = st.one_of(
    st.text(max_size=40),
    st.from_regex(r"[0-9]{1,3}\|(N/A|[0-9]|\[[0-9]-[0-9](%2)?\])\|[A-Z_]{4,12}\|[ -~]{0,20}", fullmatch=True),
    st.from_regex(
        r"[0-9]{1,3}(_[0-9])?\|(CANCELLED by [0-9]|FAILED|COMPLETED)\|[0-9]:[0-9]{1,2}(\|([0-9]{1,3}|None)){3}",
        fullmatch=True,
    ),
)


@given(st.text())
def test_no_text_is_a_reason_to_fail(text: str) -> None:
    for queue_row in parse_queue(text).rows.values():
        from_queue(queue_row)
    for row in parse_accounting(text).rows.values():
        from_accounting(row, named)
    words(text)


@given(st.lists(LINES, max_size=12), st.randoms())
def test_the_order_of_lines_does_not_matter(lines: list[str], chance) -> None:
    shuffled = lines.copy()
    chance.shuffle(shuffled)
    assert parse_queue("\n".join(lines)) == parse_queue("\n".join(shuffled))
    assert parse_accounting("\n".join(lines)) == parse_accounting("\n".join(shuffled))


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="\n|"), min_size=1), max_size=5))
def test_unknown_lines_are_counted_and_change_nothing(greetings: list[str]) -> None:
    known = "2|0|RUNNING|None\n"
    read = parse_queue(known + "\n".join(greetings))
    assert read.rows == parse_queue(known).rows
    assert read.ignored == sum(bool(line.strip()) for line in greetings)


@pytest.mark.parametrize(
    ("row", "state"),
    [
        ("7|CANCELLED|0:0|1|None|3", "blocked"),  # never begun: given up with what it needs
        ("7_4|CANCELLED|0:0|1|3|3", "blocked"),  # the same, of an array
        ("7_0|CANCELLED|15:0|1|3|3", "cancelled"),  # scancel in the second in which it began
        ("7|CANCELLED|0:0|1|2|3", "cancelled"),
    ],
)
def test_a_cancelled_job_without_a_name_was_given_up_only_if_it_never_began(row: str, state: str) -> None:
    [found] = parse_accounting(f"{row}\n").rows.values()
    answer = from_accounting(found, lambda _user: None)
    assert answer is not None
    assert (answer.state, answer.final) == (state, True)
