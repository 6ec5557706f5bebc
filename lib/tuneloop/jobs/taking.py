"""Logs and tables that were written on another machine, taken over from where their copies wait.

What was taken over is on record, so a command that is killed between the copy and the taking over loses nothing. A
line of a log comes once, unless a command is killed between its being appended and that being on record: then twice.
"""

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tuneloop.documents.blocks import block_text
from tuneloop.documents.errors import InputError
from tuneloop.documents.files import append_line, read_bytes, read_text, remove_file, write_json
from tuneloop.experiment.layout import Layout
from tuneloop.jobs.summary import update_block

_BLOCKS = ("status", "results")  # of the summary, which the job that collects writes there
_RECORD = "taken.json"


@dataclass(frozen=True)
class _Taken:
    of: str  # the name of the folder there
    logs: dict[str, int] = field(default_factory=dict)  # bytes of each log
    blocks: dict[str, str] = field(default_factory=dict)  # sha256 of each block of the summary


def begin(waiting: Path, name: str) -> None:
    """Begin anew when what waits was copied from another folder than the one that is called `name` now."""
    if _recorded(waiting).of != name:
        for file in [*waiting.glob("*.log"), *waiting.glob("*.md")]:
            remove_file(file)
        write_json(waiting / _RECORD, asdict(_Taken(name)))


def take_over(layout: Layout, waiting: Path) -> None:
    """Append new lines to the experiment's logs, and replace the tables of its summary that are new."""
    taken = _recorded(waiting)
    for log in sorted(waiting.glob("*.log")):
        _take_lines(layout, log, taken)
    summary = waiting / layout.summary.name
    if summary.is_file():
        _take_blocks(layout, read_text(summary), taken, waiting)


def _take_lines(layout: Layout, log: Path, taken: _Taken) -> None:
    data, known = read_bytes(log), taken.logs.get(log.name, 0)
    end = data.rfind(b"\n") + 1  # a line that is being written comes when it is whole
    new = data[known if known <= end else 0 : end].rstrip(b"\n")  # a shorter log is another log
    if new:  # this machine's lines stand between those of the jobs
        append_line(layout.folder / log.name, new.decode(errors="replace"))
    if end != known:
        taken.logs[log.name] = end
        write_json(log.parent / _RECORD, asdict(taken))


def _take_blocks(layout: Layout, text: str, taken: _Taken, waiting: Path) -> None:
    for name in _BLOCKS:
        block = block_text(text, name)
        mark = hashlib.sha256((block or "").encode()).hexdigest()
        if block is None or mark == taken.blocks.get(name):
            continue
        with suppress(InputError):  # a document that a person is in the middle of editing gets them the next time
            if block != block_text(read_text(layout.summary), name):
                update_block(layout, name, block)
            taken.blocks[name] = mark
            write_json(waiting / _RECORD, asdict(taken))


def _recorded(waiting: Path) -> _Taken:
    with suppress(OSError, ValueError, TypeError):
        return _Taken(**json.loads((waiting / _RECORD).read_bytes()))
    return _Taken("")
