"""Facts: what the jobs wrote into their own attempt folders. Read here, never written.

A process id proves nothing; an attempt lives while its lock is held.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tuneloop.documents.locks import is_held
from tuneloop.experiment.layout import Layout
from tuneloop.experiment.standstill import TIME_LIMIT
from tuneloop.experiment.work import JobKey, JobSpec, Usage, Verdict

_SMALL = 8192  # bytes; a fact has some hundred


@dataclass(frozen=True)
class Attempt:
    """One try at a job. `code` is None while it lives, and after it was killed."""

    path: Path
    token: str
    restart: int
    id: str
    digest: str
    started: str
    pid: int  # of the process that claimed it
    group: int | None  # the process group of the job itself, where it may still live
    gpu: str | None  # the devices it was given
    alive: bool
    host: str = ""
    code: int | None = None
    ended: str | None = None
    verdict: Verdict | None = None
    signal: int | None = None  # by which it was asked to end

    @cached_property
    def usage(self) -> Usage | None:
        """What it used; read when somebody asks, since `status` of a thousand runs does not."""
        data = _json(f"{self.path}/usage.json")
        known = Usage.__dataclass_fields__
        return None if data is None else Usage(**{name: value for name, value in data.items() if name in known})

    @property
    def late(self) -> bool:
        """Tell whether it was ended shortly before its time limit."""
        return self.signal == TIME_LIMIT and self.code not in (0, None)

    @property
    def verified(self) -> bool:
        return self.code == 0 and (self.verdict is None or self.verdict.ok)


class Facts:
    """Reads attempts; what has ended never changes, so it is read once."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._ended: dict[str, Attempt] = {}

    def of(self, spec: JobSpec) -> list[Attempt]:
        """Return the attempts at a job, oldest first."""
        folder = f"{self.layout.folder}/{spec.attempts}"
        try:
            names = os.listdir(folder)  # noqa: PTH208  (text is all that is needed)
        except FileNotFoundError:
            return []
        found = [self._attempt(f"{folder}/{name}") for name in names if not name.startswith(".")]
        whole = [attempt for attempt in found if attempt is not None]
        return sorted(whole, key=lambda attempt: (attempt.started, attempt.token, attempt.restart))

    def all(self, specs: Iterable[JobSpec]) -> dict[JobKey, list[Attempt]]:
        return {spec.key: self.of(spec) for spec in specs}

    def _attempt(self, path: str) -> Attempt | None:
        if path in self._ended:
            return self._ended[path]
        start = _json(f"{path}/start.json")
        if start is None:
            return None
        end, alive, group = _json(f"{path}/exit.json"), False, None
        if end is None:
            # The lock is asked before the exit is read for good: without that, an end in between looks like a kill.
            alive = is_held(Path(path, "lock"))
            end = _json(f"{path}/exit.json")
            group = (_json(f"{path}/group.json") or {}).get("group")
        attempt = Attempt(
            path=Path(path),
            token=start["token"],
            restart=start["restart"],
            id=start["id"],
            digest=start["digest"],
            started=start["time"],
            pid=start["pid"],
            group=group,
            gpu=start.get("gpu"),
            alive=alive and end is None,
            host=start.get("host", ""),
            code=None if end is None else end["code"],
            ended=None if end is None else end["time"],
            verdict=_verdict(_json(f"{path}/verified.json")),
            signal=None if end is None else end.get("signal"),
        )
        if end is not None:
            self._ended[path] = attempt
        return attempt


def progress(attempt: Attempt) -> Mapping[str, Any] | None:
    """Return the last line of the attempt's `metrics.jsonl`: `step`, `steps` and what else the job tells."""
    try:
        with (attempt.path / "metrics.jsonl").open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 4096))
            lines = file.read().split(b"\n")
    except OSError:
        return None
    for line in reversed(lines[:-1]):
        try:
            value = json.loads(line)
        except ValueError:
            continue
        return value if isinstance(value, dict) else None
    return None


def _json(path: str) -> dict[str, Any] | None:
    # Text and system calls instead of `Path` and `open`: three files an attempt, and `status` reads thousands.
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            text = os.read(handle, _SMALL)
            while len(text) % _SMALL == 0 and (more := os.read(handle, _SMALL)):
                text += more
        finally:
            os.close(handle)
        value = json.loads(text.decode())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _verdict(data: dict[str, Any] | None) -> Verdict | None:
    return None if data is None else Verdict(bool(data.get("ok")), str(data.get("reason", "")), data.get("facts") or {})
