"""One picture of a cluster for all monitors of a user: who comes first asks, the others read what was answered.

A round is one squeue for all jobs, and one sacct (or more, for thousands) for those that left the queue without a
known end. What was answered lies in a file that may be deleted at any time. A scheduler that does not answer is no
news: the last good picture stays, with its age, and no job becomes lost meanwhile.
"""

import hashlib
import random
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from tuneloop.documents.errors import BusyError, TuneloopError, UnreachableError
from tuneloop.documents.files import write_bytes
from tuneloop.documents.locks import exclusive
from tuneloop.documents.plain import plain
from tuneloop.jobs.answers import Answer, News
from tuneloop.jobs.executors import Native
from tuneloop.jobs.slurm.answers import (
    ACCOUNT_ENVIRONMENT,
    CHUNK,
    QUEUE,
    AccountRow,
    Place,
    QueueRow,
    account_command,
    from_queue,
    of_another,
    parse_accounting,
    parse_queue,
    row_of,
)
from tuneloop.jobs.slurm.memory import (
    GRACE_S,
    RUNAWAY_S,
    Known,
    Memory,
    from_bytes,
    key_of,
    marks,
    place_of,
    to_bytes,
)
from tuneloop.jobs.slurm.pace import FIRST_S, FLOOR_S, MOST_S, jittered, next_pause
from tuneloop.jobs.transport.processes import NOTHING, Called

TIMEOUT_S = 60.0  # of one command; squeue itself gives up after 9 s when nobody listens
_PATIENCE_S = 5.0  # how long to wait for somebody who is asking just now
_HOUR = 3600.0
_FORGET_S = 24 * _HOUR  # a job that nobody asked for this long
_DISABLED = "accounting storage is disabled"
_NOT_THERE = 127  # what a shell says of a command that does not exist


class Caller(Protocol):
    """The part of a transport that is needed here."""

    def call(
        self, argv: Sequence[str], *, stdin: str = "", timeout: float = 60, environment: Mapping[str, str] = NOTHING
    ) -> Called:
        """Run a command where the cluster's tools are. Raises UnreachableError when no answer came."""


class Snapshot:
    """What SLURM says of jobs. `cluster` names what `transport` reaches, the same for all profiles that reach it."""

    def __init__(
        self, cluster: str, transport: Caller, folder: Path, *, chance: Callable[[], float] = random.random
    ) -> None:
        key = hashlib.sha256(cluster.encode()).hexdigest()[:16]
        self.file, self.lock = folder / f"{key}.json", folder / f"{key}.lock"
        self.transport, self.chance = transport, chance
        self.news = News()
        self._own = Memory()  # where the file cannot be written, this process at least keeps the pace
        self._names: dict[int, str | None] = {}

    def answers(self, natives: Mapping[Native, float], now: float | None = None) -> dict[Native, Answer]:
        """Return what is known of jobs, given when each was handed over; one without an answer is left out."""
        now = time.time() if now is None else now
        with self._locked() as mine:
            memory = self._read(now)
            asked = _register(memory, natives, now)
            if mine and _is_due(memory, asked, now):
                self._round(memory, now)
            if mine:
                self._write(memory)
        self.news = News(memory.taken, memory.due, memory.silent)
        return {native: known.answer for native, known in zip(natives, asked, strict=True) if known.answer is not None}

    def renew(self, now: float | None = None) -> None:
        """Let whoever asks next have a picture of 10 s ago at most, not of minutes: jobs were cancelled, say."""
        with self._locked() as mine:
            memory = self._read(time.time() if now is None else now)
            memory.due, memory.pause = 0, FIRST_S
            if mine:
                self._write(memory)

    @contextmanager
    def _locked(self) -> Iterator[bool]:
        """Hold the lock of the file; yield False where somebody is asking: that keeps nobody from the last answers."""
        with ExitStack() as stack:
            mine = True
            try:
                stack.enter_context(exclusive(self.lock, wait=_PATIENCE_S, busy="somebody is asking the cluster"))
            except BusyError:
                mine = False
            except OSError:
                pass  # a folder that cannot be written has no lock and no file: each process for itself
            yield mine

    def _read(self, now: float) -> Memory:
        with suppress(OSError):
            memory = from_bytes(self.file.read_bytes())
            if memory is not None and (memory.tried or 0) >= (self._own.tried or 0):
                self._own = memory
        if (self._own.tried or 0) > now + MOST_S:  # the clock was set back: nothing in it can be compared
            self._own = Memory()
        return self._own

    def _write(self, memory: Memory) -> None:
        with suppress(TuneloopError, OSError):
            write_bytes(self.file, to_bytes(memory), mode=0o600, sync=False)

    def _round(self, memory: Memory, now: float) -> None:
        memory.tried = now
        self._write(memory)  # who is killed while asking has asked
        for key in [key for key, known in memory.jobs.items() if now - known.asked > _FORGET_S]:
            del memory.jobs[key]
        before = marks(memory.jobs)
        queue = self._queue(memory)
        if queue is None:
            for known in memory.jobs.values():
                known.missing = None  # the time of grace is a time with answers
        else:
            memory.taken, memory.silent = now, ""
            self._look(memory, queue, now)
        changed = marks(memory.jobs) != before
        memory.pause = next_pause(memory.pause, answered=queue is not None, changed=changed)
        memory.due = now + jittered(memory.pause, self.chance)

    def _queue(self, memory: Memory) -> Mapping[Place, QueueRow] | None:
        """Ask for all jobs in the queue; return None, and note what was said, where there is no answer."""
        called = self._call(QUEUE)
        if isinstance(called, str):
            memory.silent = called
            return None
        read = parse_queue(called.out)
        if called.code != 0 or (read.ignored and not read.rows):
            said = [line.strip() for line in plain(called.err).splitlines() if line.strip()]
            memory.silent = said[-1] if said else f"squeue gave no list (exit code {called.code})"
            return None
        memory.queue = called.out
        return read.rows

    def _look(self, memory: Memory, queue: Mapping[Place, QueueRow], now: float) -> None:
        wanting: dict[str, QueueRow | None] = {}
        arrays = {job for job, _ in queue}
        for key, known in memory.jobs.items():
            row = row_of(queue, place_of(key))
            if row is not None:
                known.in_queue(row)
            if known.wants_accounting(row):
                wanting[key] = row
        accounting, answered = self._accounting(memory, {place_of(key)[0] for key in wanting}, now)
        accounted = memory.no_accounting <= now
        for key, row in wanting.items():
            known = memory.jobs[key]
            told = row_of(accounting, place_of(key))
            if told is not None and of_another(told, known.submitted):
                told = None
            if known.in_accounting(told, row, self._name) or row is not None:
                continue
            if answered:
                known.is_missing(now, patience=GRACE_S if told is None else RUNAWAY_S, accounted=accounted)
                job, task = place_of(key)
                if accounted and told is None and task is not None and job in arrays:
                    known.is_taken_out(now)
            else:
                known.missing = None

    def _accounting(self, memory: Memory, ids: Collection[str], now: float) -> tuple[dict[Place, AccountRow], bool]:
        """Ask accounting for jobs; return its rows, and whether it answered: none at all is an answer, too."""
        rows: dict[Place, AccountRow] = {}
        if memory.no_accounting > now:
            return rows, True
        ordered = sorted(ids, key=int)
        for start in range(0, len(ordered), CHUNK):
            called = self._call(account_command(ordered[start : start + CHUNK]), ACCOUNT_ENVIRONMENT)
            if isinstance(called, str):
                return rows, False
            if called.code != 0:
                disabled = called.code == _NOT_THERE or _DISABLED in (called.out + called.err).lower()
                memory.no_accounting = now + _HOUR if disabled else 0
                return rows, disabled
            rows |= parse_accounting(called.out).rows
        return rows, True

    def _call(self, command: Sequence[str], environment: Mapping[str, str] = NOTHING) -> Called | str:
        """Run a command of SLURM's; return what was in the way where it cannot be reached."""
        try:
            return self.transport.call(command, timeout=TIMEOUT_S, environment=environment)
        except UnreachableError as error:
            return error.problems[0].message

    def _name(self, user: int) -> str | None:
        """Return the name of a user there; another machine may give this number to somebody else."""
        if user not in self._names:
            called = self._call(["id", "-un", str(user)])
            name = "" if isinstance(called, str) or called.code != 0 else plain(called.out).strip()
            self._names[user] = name or None
        return self._names[user]


def _register(memory: Memory, natives: Mapping[Native, float], now: float) -> list[Known]:
    """Return what is known of jobs; those that nobody asked for before are looked up in the last picture."""
    asked, new = [], []
    for native, submitted in natives.items():
        place = (native.id, native.task)
        known = memory.jobs.get(key_of(place))
        if known is None or known.submitted != submitted:
            known = memory.jobs[key_of(place)] = Known(submitted, since=now, asked=now)
            new.append((place, known))
        elif now - known.asked > _HOUR:
            known.asked = now
        asked.append(known)
    rows = parse_queue(memory.queue).rows if new else {}
    for place, known in new:
        row = row_of(rows, place)
        if row is not None and memory.taken is not None and memory.taken > known.submitted:
            known.answer = from_queue(row)
    return asked


def _is_due(memory: Memory, asked: Collection[Known], now: float) -> bool:
    if all(known.final for known in asked):
        return False
    if memory.tried is None:
        return True
    tried = memory.tried
    newcomers = any(known.answer is None and known.since > tried for known in asked)
    return now - tried >= FLOOR_S and (newcomers or now >= memory.due)
