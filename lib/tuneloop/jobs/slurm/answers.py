"""What squeue and sacct print, and what it means in our words. Text in, answers out; nothing is asked here.

Both are asked for columns without free text, since a job's name or comment may hold any letter. Lines that are not
understood are counted and left alone: sites print greetings, and other versions print more.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

from tuneloop.experiment.work import State
from tuneloop.jobs.answers import Answer
from tuneloop.jobs.slurm.reasons import AGAIN, HELD, NEVER, words

Place = tuple[str, int | None]  # the id of a job or array, and the place in the array
Row = TypeVar("Row")

# -a lists hidden partitions, too; -r one line for each place in an array, which else is cut short at 64 letters.
QUEUE = ("squeue", "--me", "-a", "-h", "-r", "-t", "all", "-o", "%F|%K|%T|%r")
_ACCOUNT = ("sacct", "-X", "-n", "-P", "-o", "JobID,State,ExitCode,Submit,Start,End", "-j")
# Seconds since 1970: a cluster may live in another time zone.
ACCOUNT_ENVIRONMENT: Mapping[str, str] = {"SLURM_TIME_FORMAT": "%s"}
CHUNK = 400  # ids in one sacct: a line of arguments has its limits

SKEW_S = 300  # by how much clocks of two machines may differ before a row is taken for another job's


class QueueRow(NamedTuple):
    state: str
    reason: str


class AccountRow(NamedTuple):
    """One run of a job. Times are seconds since 1970, None where there is none yet."""

    submit: float | None
    start: float | None
    end: float | None
    state: str
    by: int | None = None  # the user who cancelled it
    code: int = 0
    signal: int = 0


class Read(NamedTuple, Generic[Row]):
    rows: dict[Place, Row]
    ignored: int  # lines that were not understood


class Meaning(NamedTuple):
    state: State
    words: str = ""
    ended: bool = False


# SLURM's job states, base and flags (22.05 to 24.11), in our vocabulary. What depends on more than the state is
# decided below: PENDING by its reason, FAILED by its exit code, CANCELLED by who did it.
STATES: Mapping[str, Meaning] = {
    "PENDING": Meaning("queued"),
    "REQUEUED": Meaning("queued", AGAIN),
    "REQUEUE_FED": Meaning("queued", AGAIN),
    "REQUEUE_HOLD": Meaning("queued", HELD["job requeued in held state"]),
    "SPECIAL_EXIT": Meaning("queued", HELD["job requeued in held state"]),
    "RESV_DEL_HOLD": Meaning("queued", HELD["ReservationDeleted"]),
    "CONFIGURING": Meaning("running", "its nodes are starting"),
    "POWER_UP_NODE": Meaning("running", "its nodes are starting"),
    "RUNNING": Meaning("running"),
    "RESIZING": Meaning("running"),
    "SIGNALING": Meaning("running"),
    "EXPEDITING": Meaning("running"),
    "COMPLETING": Meaning("running", "ending"),
    "STAGE_OUT": Meaning("running", "its results leave the burst buffer"),
    "SUSPENDED": Meaning("running", "suspended"),
    "STOPPED": Meaning("running", "suspended"),
    "COMPLETED": Meaning("done", ended=True),
    "FAILED": Meaning("failed", ended=True),
    "TIMEOUT": Meaning("failed", "the time limit was reached", ended=True),
    "OUT_OF_MEMORY": Meaning("failed", "out of memory", ended=True),
    "DEADLINE": Meaning("failed", "its deadline passed", ended=True),
    "CANCELLED": Meaning("cancelled", ended=True),
    "NODE_FAIL": Meaning("lost", "its node failed", ended=True),
    "BOOT_FAIL": Meaning("lost", "its node did not start", ended=True),
    "PREEMPTED": Meaning("lost", "preempted", ended=True),
    "REVOKED": Meaning("lost", "taken away by another cluster of the federation", ended=True),
}
# States in which SLURM itself may start a job again, as long as it is in the queue.
_RETURNS = frozenset({"NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "REVOKED"})
# Ended states of which accounting knows more than the queue: the exit code, and who cancelled.
FINER = frozenset({"FAILED", "CANCELLED"})

_NEVER = "DependencyNeverSatisfied"

# What slurmd reports as a signal and is none (measured on 22.05 and 24.11).
_SIGNALS = {53: "its output folder or working folder could not be used", 125: "out of memory"}

_JOB = re.compile(r"([0-9]{1,19})(?:_([0-9]{1,7}|\[.*\]))?")
_TASKS = re.compile(r"([0-9]{1,7})(?:-([0-9]{1,7})(?::([0-9]{1,7}))?)?")
_MOST_TASKS = 100_000  # a range that names more is not written out
_CODE = re.compile(r"([0-9]{1,9}):([0-9]{1,9})")
_STATE = re.compile(r"([A-Z_]+)\+?(?: by ([0-9]{1,10}))?")


def account_command(ids: Sequence[str]) -> tuple[str, ...]:
    """Return the sacct that asks for jobs and arrays, to be run with `ACCOUNT_ENVIRONMENT`."""
    return (*_ACCOUNT, ",".join(ids))


def parse_queue(text: str) -> Read[QueueRow]:
    """Read what `QUEUE` printed. A row for a range that was not written out has None for its place."""

    def rows(line: str) -> Iterator[tuple[Place, QueueRow]]:
        columns = line.split("|", 3)  # the reason is the last: it may hold anything
        if len(columns) == 4 and _JOB.fullmatch(columns[0]) and _STATE.fullmatch(columns[2]):
            for task in _tasks(columns[1]):
                yield (columns[0], task), QueueRow(columns[2], columns[3].strip())

    return _read(text, rows, prefer=lambda row: (row.state not in STATES or not STATES[row.state].ended, row))


def parse_accounting(text: str) -> Read[AccountRow]:
    """Read what `account_command` printed; of several runs of a job the newest counts."""

    def rows(line: str) -> Iterator[tuple[Place, AccountRow]]:
        columns = line.split("|")
        if len(columns) != 6:
            return
        job, state, code = _JOB.fullmatch(columns[0]), _STATE.fullmatch(columns[1]), _CODE.fullmatch(columns[2])
        if job and state and code:
            times = [_time(column) for column in columns[3:]]
            by = None if state[2] is None else int(state[2])
            row = AccountRow(times[0], times[1], times[2], state[1], by, int(code[1]), int(code[2]))
            for task in _tasks(job[2] or "N/A"):
                yield (job[1], task), row

    return _read(text, rows, prefer=lambda row: tuple(-1 if column is None else column for column in row))


def _read(
    text: str, rows: Callable[[str], Iterator[tuple[Place, Row]]], prefer: Callable[[Row], tuple[object, ...]]
) -> Read[Row]:
    found: dict[Place, Row] = {}
    ignored = 0
    for line in text.split("\n"):
        understood = list(rows(line))
        ignored += bool(line.strip()) and not understood
        for place, row in understood:
            found[place] = max(found.get(place, row), row, key=prefer)
    return Read(found, ignored)


def _tasks(column: str) -> Sequence[int | None]:
    """Return the places in an array that a column names: `N/A`, `3`, `0-5%2`, `[1,4-8:2]`; none if not understood."""
    if column == "N/A":
        return (None,)
    text = column.removeprefix("[").removesuffix("]").partition("%")[0]
    if text.endswith("..."):  # cut short by SLURM
        return (None,)
    found: list[int | None] = []
    for part in text.split(","):
        match = _TASKS.fullmatch(part)
        if match is None:
            return ()
        places = range(int(match[1]), int(match[2] or match[1]) + 1, max(1, int(match[3] or 1)))
        if len(found) + len(places) > _MOST_TASKS:
            return (None,)
        found += places
    return found


def _time(text: str) -> float | None:
    """Return a time as seconds since 1970: printed so, or by a site's older SLURM as a local time."""
    try:
        return float(text) if text.isascii() and text.isdecimal() else datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def row_of(rows: Mapping[Place, Row], place: Place) -> Row | None:
    """Return the row of a job: its own, else that of the rest of its array."""
    return rows.get(place, rows.get((place[0], None)))


def from_queue(row: QueueRow) -> Answer | None:
    """Return what the queue says of a job that is in it; None for a state that is not known here."""
    meaning = STATES.get(row.state)
    if meaning is None:
        return None
    if row.state == "PENDING":
        return _pending(row.reason)
    if row.state == "CANCELLED" and row.reason.startswith(_NEVER):
        # SLURM gave up on it (--kill-on-invalid-dep), or somebody did: only accounting can tell.
        return Answer("blocked", NEVER, final=False)
    reason = words(row.reason) if row.state == "FAILED" else meaning.words
    return Answer(meaning.state, reason, final=meaning.ended and row.state not in _RETURNS)


def _pending(reason: str) -> Answer:
    if reason.startswith(_NEVER):
        return Answer("blocked", NEVER, final=False)  # it would wait for ever, but it can be changed
    state: State = "waiting" if reason == "Dependency" else "queued"
    return Answer(state, AGAIN if reason == "NonZeroExitCode" else words(reason), final=False)


def from_accounting(row: AccountRow, name: Callable[[int], str | None]) -> Answer | None:
    """Return how accounting says a job ended, None for no news: accounting runs behind the queue.

    `name` returns the name of a user by number, or None.
    """
    meaning = STATES.get(row.state)
    if meaning is None or not meaning.ended or row.end is None:
        return None
    if row.state == "FAILED":
        return Answer("failed", _failure(row), final=True)
    if row.state == "CANCELLED":
        if row.by is not None:
            return Answer("cancelled", f"by {name(row.by) or f'user {row.by}'}", final=True)
        # Nobody is on record: what never began was given up by SLURM, what began was ended while it was starting.
        return Answer("cancelled", "", final=True) if _began(row) else Answer("blocked", NEVER, final=True)
    return Answer(meaning.state, meaning.words, final=True)


def _began(row: AccountRow) -> bool:
    """Tell whether a job was started; one that never was may have its end for its start."""
    return row.start is not None and (row.start != row.end or (row.code, row.signal) != (0, 0))


def _failure(row: AccountRow) -> str:
    if row.signal:
        return _SIGNALS.get(row.signal, f"ended by signal {row.signal}")
    return f"exit code {row.code}"


def of_another(row: AccountRow, submitted: float) -> bool:
    """Tell whether a row belongs to an older job: ids are used again when a cluster counts from 1 anew."""
    return row.submit is not None and row.submit < submitted - SKEW_S
