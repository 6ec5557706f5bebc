"""The journal: what we asked for, one JSON object a line, on the disk before the act that depends on it.

Events: `added retired consented waived submitting submitted refused cancel-asked adjusted`. It is written by whoever
acts, on the submitting side only, under a lock: for milliseconds, or while a scheduler is asked and takes what is
handed over. A torn last line is what a kill leaves: it is ignored, and ended with a mark before the next append. Any
other bad line is an error with its number.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tuneloop.documents.errors import InputError, Problem
from tuneloop.documents.files import append_line
from tuneloop.documents.locks import exclusive
from tuneloop.documents.logs import timestamp
from tuneloop.experiment.layout import Layout

Kind = Literal[
    "added", "retired", "consented", "waived", "submitting", "submitted", "refused", "cancel-asked", "adjusted"
]
_TORN = b" #torn"  # ends a line that a kill cut off; JSON has no comments
_TAIL = 65536  # bytes; longer than any event


@dataclass(frozen=True)
class Event:
    seq: int
    time: str
    kind: str
    data: Mapping[str, Any]


class Journal:
    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.path = layout.journal

    def read(self) -> list[Event]:
        """Return all events. Raises InputError with the number of a bad line that is not the last."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return []
        lines = data.split(b"\n")
        # What follows the last newline is torn, or nothing.
        return [event for number, line in enumerate(lines[:-1], 1) if (event := self._event(line, number))]

    @contextlib.contextmanager
    def writing(self) -> Iterator["Writer"]:
        """Hold the journal's lock; read again inside, since another command may have acted. Raises BusyError."""
        busy = "another command is writing this experiment's journal"
        with exclusive(self.layout.journal_lock, wait=30, busy=busy, hint="run the same command again"):
            yield Writer(self)

    def append(self, kind: Kind, **data: Any) -> None:
        with self.writing() as writer:
            writer.append(kind, **data)

    def _event(self, line: bytes, number: int) -> Event | None:
        if line.endswith(_TORN):
            return None
        try:
            value = json.loads(line)
            return Event(value.pop("seq"), value.pop("time"), value.pop("event"), value)
        except (ValueError, KeyError, AttributeError):
            raise InputError(
                Problem("not a journal event", self.path, number, hint="put the line back as it was")
            ) from None


class Writer:
    """Appends while the lock is held."""

    def __init__(self, journal: Journal) -> None:
        self._path = journal.path
        self._seq = _last_seq(journal)

    def append(self, kind: Kind, **data: Any) -> None:
        self._seq += 1
        line = {"seq": self._seq, "time": timestamp(), "event": kind, **data}
        append_line(self._path, json.dumps(line, ensure_ascii=False), _TORN.decode())


def _last_seq(journal: Journal) -> int:
    """Return the highest sequence number from the end of the file: an append must not cost more as it grows."""
    try:
        with journal.path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL))
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return 0
    for line in reversed(lines):
        try:
            return int(json.loads(line)["seq"])
        except (ValueError, KeyError, TypeError):
            continue
    return journal.read()[-1].seq if len(lines) > 1 else 0
