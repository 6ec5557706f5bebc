"""Facts: what the jobs wrote into their own attempt folders. Read here, never written.

A process id proves nothing; an attempt lives while its lock is held.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneloop.documents.locks import is_held
from tuneloop.experiment.layout import Layout
from tuneloop.experiment.work import JobKey, JobSpec, Usage, Verdict


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
    group: int | None  # the process group of the job itself
    gpu: str | None  # the devices it was given
    alive: bool
    code: int | None = None
    ended: str | None = None
    verdict: Verdict | None = None
    usage: Usage | None = None

    @property
    def verified(self) -> bool:
        return self.code == 0 and (self.verdict is None or self.verdict.ok)


class Facts:
    """Reads attempts; what has ended never changes, so it is read once."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._ended: dict[Path, Attempt] = {}

    def of(self, spec: JobSpec) -> list[Attempt]:
        """Return the attempts at a job, oldest first."""
        folder = self.layout.folder / spec.attempts
        try:
            names = [entry.name for entry in folder.iterdir() if not entry.name.startswith(".")]
        except FileNotFoundError:
            return []
        found = [attempt for name in names if (attempt := self._attempt(folder / name)) is not None]
        return sorted(found, key=lambda attempt: (attempt.started, attempt.token, attempt.restart))

    def all(self, specs: Iterable[JobSpec]) -> dict[JobKey, list[Attempt]]:
        return {spec.key: self.of(spec) for spec in specs}

    def _attempt(self, path: Path) -> Attempt | None:
        if path in self._ended:
            return self._ended[path]
        start = _json(path / "start.json")
        if start is None:
            return None
        # The lock is asked before the exit is read: the other way round, an end in between looks like a kill.
        alive = is_held(path / "lock")
        end = _json(path / "exit.json")
        attempt = Attempt(
            path=path,
            token=start["token"],
            restart=start["restart"],
            id=start["id"],
            digest=start["digest"],
            started=start["time"],
            pid=start["pid"],
            group=(_json(path / "group.json") or {}).get("group"),
            gpu=start.get("gpu"),
            alive=alive and end is None,
            code=None if end is None else end["code"],
            ended=None if end is None else end["time"],
            verdict=_verdict(_json(path / "verified.json")),
            usage=_usage(_json(path / "usage.json")),
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


def _json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _verdict(data: dict[str, Any] | None) -> Verdict | None:
    return None if data is None else Verdict(bool(data.get("ok")), str(data.get("reason", "")), data.get("facts") or {})


def _usage(data: dict[str, Any] | None) -> Usage | None:
    return None if data is None else Usage(data["wall_s"], data["cpu_s"], data["peak_memory_mb"])
