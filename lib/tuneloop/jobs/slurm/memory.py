"""What is remembered of a cluster between rounds, and how an answer of SLURM changes it. Nothing is asked here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from tuneloop.jobs.answers import Answer
from tuneloop.jobs.slurm.answers import FINER, AccountRow, Place, QueueRow, from_accounting, from_queue
from tuneloop.jobs.slurm.pace import FIRST_S, FLOOR_S
from tuneloop.jobs.state import ENDED

GRACE_S = 180  # how long a job may be in neither place before it is lost: both are late now and then
RUNAWAY_S = 3600  # how long accounting may go on calling a job alive that the queue does not have


@dataclass
class Known:
    """A job that somebody asked for. Times are seconds since 1970."""

    submitted: float
    since: float  # when it was first asked for
    asked: float  # when it was last asked for, to the hour
    answer: Answer | None = None
    missing: float | None = None  # since when neither queue nor accounting has an end of it
    told: bool = False  # the answer is accounting's

    @property
    def final(self) -> bool:
        return self.answer is not None and self.answer.final

    def in_queue(self, row: QueueRow) -> None:
        """Take in the row of the queue."""
        self.missing = None
        answer = from_queue(row)
        if answer is None or (self.told and self.answer and _agree(answer, self.answer)):
            return
        self.answer, self.told = answer, False

    def wants_accounting(self, row: QueueRow | None) -> bool:
        return not self.final if row is None else row.state in FINER and not self.told

    def in_accounting(self, row: AccountRow | None, queue: QueueRow | None, name: Callable[[int], str | None]) -> bool:
        """Take in the row of accounting; return whether it said how the job ended."""
        if row is None or (queue is not None and row.state != queue.state):
            return False
        answer = from_accounting(row, name)
        if answer is not None:
            self.answer, self.missing, self.told = answer, None, True
        return answer is not None

    def is_taken_out(self, now: float) -> None:
        """Take in that the queue has the rest of an array and not this task, which accounting does not know either.

        Measured: a task that is cancelled before it began leaves no record in any place.
        """
        never_began = self.answer is None or self.answer.state in ("queued", "waiting")
        if never_began and self.missing is not None and now - self.missing >= FLOOR_S:
            self.answer = Answer("cancelled", "before it began", final=True)

    def is_missing(self, now: float, *, patience: float, accounted: bool) -> None:
        """Take in that nobody has an end of the job, though queue and accounting, where there is one, answered."""
        self.missing = now if self.missing is None else self.missing
        waited = now - self.missing > patience
        if self.answer is not None and self.answer.state in ENDED:
            # The queue had told its end before it forgot the job.
            if waited or not accounted:
                self.answer = self.answer._replace(final=True)
        elif waited:
            self.answer = Answer("lost", "neither the queue nor accounting knows how it ended", final=True)


def _agree(queue: Answer, account: Answer) -> bool:
    cancelled = {"cancelled", "blocked"}
    return queue.state == account.state or {queue.state, account.state} == cancelled


@dataclass
class Memory:
    """One cluster as one user's monitors know it. Times are seconds since 1970."""

    schema: Literal["tuneloop.snapshot/1"] = "tuneloop.snapshot/1"
    tried: float | None = None  # the last round
    taken: float | None = None  # the last round in which the queue answered
    pause: float = FIRST_S  # until the next round, without its jitter
    due: float = 0
    silent: str = ""  # what it said instead of an answer
    no_accounting: float = 0  # it has no accounting, and is not asked again before this time
    queue: str = ""  # what squeue printed
    jobs: dict[str, Known] = field(default_factory=dict)


_MEMORY = TypeAdapter(Memory)


def to_bytes(memory: Memory) -> bytes:
    return _MEMORY.dump_json(memory) + b"\n"


def from_bytes(data: bytes) -> Memory | None:
    """Return what was remembered, or None where the text is not whole or of another version."""
    try:
        return _MEMORY.validate_json(data)
    except ValidationError:
        return None


def key_of(place: Place) -> str:
    return place[0] if place[1] is None else f"{place[0]}_{place[1]}"


def place_of(key: str) -> Place:
    job, _, task = key.partition("_")
    return job, int(task) if task else None


def marks(jobs: Mapping[str, Known]) -> dict[str, tuple[str, bool]]:
    """Return what counts as a change between two rounds: another state, or a job that is missing now."""
    return {key: (known.answer.state if known.answer else "", known.missing is None) for key, known in jobs.items()}
