"""One set-up for the logs of every level: a line an event, UTC, appended.

`2026-01-31T12:00:00Z scaffold-torchtune wrote rank8_lr1e-5/finetune.yaml`
"""

from datetime import UTC, datetime
from pathlib import Path


def timestamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def timestamp_ms() -> str:
    """Return the time to the millisecond, where the order of two events must show."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def utc(at: float) -> str:
    """Return seconds since 1970 as a timestamp."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds(time: str) -> float:
    """Return a timestamp as seconds since 1970."""
    return datetime.fromisoformat(time).timestamp()


def duration(seconds: float) -> str:
    """Return seconds as people say them: `40 s`, `3 min`, `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


class EventLog:
    """The log `<name>.log` in a folder. Losing a line in a crash is allowed: the journal is the record."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.log"
        self.name = name

    def event(self, text: str) -> None:
        line = " ".join(text.split())
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{timestamp()} {self.name} {line}\n")
