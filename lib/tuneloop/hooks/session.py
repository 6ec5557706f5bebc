"""When a session begins: which experiments of this project are going, and what to type next.

It reads what runners and commands wrote about their experiments, looks at no other folder and asks no cluster.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from tuneloop.documents import cache
from tuneloop.documents.locks import is_held
from tuneloop.hooks.words import ago, shown

MOST = 399  # characters that a session's beginning is told at most
_NAME = 60
_CLUSTER = 20
_MOST_FILES = 500  # the newest ones: a folder of the cache is not searched for ever
_PLAIN = re.compile(r"[\w./@+-]{1,60}\Z", re.ASCII)  # a path that can be typed as it is
Said = Mapping[str, object]


def answer(event: Mapping[str, object]) -> Said | None:
    """Return what the session is told, None where nothing is going."""
    project = Path(os.environ.get("CLAUDE_PROJECT_DIR") or str(event.get("cwd") or ".")).resolve()
    text = summary(project)
    return {"hookSpecificOutput": {"hookEventName": "SessionStart", "additionalContext": text}} if text else None


def summary(project: Path) -> str:
    """Return what goes on under a folder, in at most MOST characters; nothing where nothing does."""
    told = [_words(entry, project) for entry in _going(project)]
    if not told:
        return ""
    end = " `tuneloop status EXP` says more."
    for number in range(len(told), 0, -1):
        more = f"; and {len(told) - number} more" if number < len(told) else ""
        text = f"Tuneloop: {'; '.join(told[:number])}{more}.{end}"
        if len(text) <= MOST:
            return text
    return f"Tuneloop: {len(told)} experiments are going.{end}"


class _Entry(NamedTuple):
    """What was remembered of an experiment with jobs left."""

    folder: Path
    counts: dict[str, int]
    alive: bool  # a runner of this machine has it
    clusters: str  # whose schedulers have jobs of it
    here: bool  # this machine has some as well
    time: float  # when that was so, in seconds since 1970


def _words(entry: _Entry, project: Path) -> str:
    place = os.path.relpath(entry.folder, project)
    name = shown(place, _NAME) if place != "." else "this folder"
    said = ", ".join(f"{number} {state}" for state, number in entry.counts.items())
    if entry.clusters:
        said += f", on {entry.clusters} as of {ago(time.time() - entry.time)}"
    if entry.alive or (entry.clusters and not entry.here):
        return f"{name}: {said}"
    again = f"`tuneloop run-experiment {place}` goes on" if _PLAIN.match(place) else "`run-experiment` goes on"
    return f"{name} has stopped{' on this machine' if entry.clusters else ''}: {said}; {again}"


def _going(project: Path) -> Iterator[_Entry]:
    """Yield what is remembered of each experiment with jobs left."""
    for path in _newest(cache.status_folder()):
        try:
            value = json.loads(path.read_bytes())
            folder, lock = Path(value["experiment"]), Path(value["lock"])
            counts = {shown(state, 20): int(number) for state, number in value["counts"].items()}
            clusters = " and ".join(shown(name, _CLUSTER) for name in value.get("clusters", ()))
            written = float(value.get("time", 0))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        if project in (folder, *folder.parents) and folder.is_dir():
            yield _Entry(folder, counts, _alive(folder / lock), clusters, bool(value.get("here")), written)


def _newest(folder: Path) -> list[Path]:
    found = [(path.stat().st_mtime, path) for path in folder.glob("*.json")]
    return [path for _, path in sorted(found, reverse=True)[:_MOST_FILES]]


def _alive(lock: Path) -> bool:
    try:
        return is_held(lock)
    except OSError:
        return False
