"""Words for people on stdout, JSON for programs, diagnostics on stderr."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuneloop.documents.errors import Problem

if TYPE_CHECKING:
    from tuneloop.experiment.work import Check

MOST_JSON = 20_000  # bytes; more than that costs an agent its context

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
All = Annotated[bool, typer.Option("--all", help="With --json: everything, however long.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would happen and change nothing.")]
Folder = Annotated[Path, typer.Argument(metavar="EXP", help="The experiment's folder.", show_default=False)]


def say(text: str = "") -> None:
    sys.stdout.write(f"{text}\n")


def note(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def write_json(value: Mapping[str, Any], *, whole: bool = False) -> None:
    """Print one document. Unless `whole`, its longest lists are cut to stay under 20 kB, and it says so."""
    text = json.dumps(value, indent=1, default=str)
    if not whole and len(text) > MOST_JSON:
        text = json.dumps(_shortened(value), indent=1, default=str)
    say(text)


def write_error(problems: Sequence[Problem], code: int, *, as_json: bool) -> None:
    if as_json:
        write_json({"schema": "tuneloop.error/1", "exit": code, "problems": [item.as_dict() for item in problems]})
        return
    for problem in problems:
        note(f"error: {_near(problem)}")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return left-aligned columns, two spaces apart."""
    cells = [list(header), *[list(row) for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def say_checks(checks: "Sequence[Check]") -> None:
    """Print one line a check, and below a fault what mends it."""
    for item in checks:
        say(f"  {'ok   ' if item.ok else 'fault'}  {item.message}")
        if item.hint and not item.ok:
            say(f"         {item.hint}")


def _shortened(value: Mapping[str, Any]) -> dict[str, Any]:
    """Cut lists, the longest first, until the document is short enough."""
    short, cut = dict(value), []
    lists = {name: _length(item) for name, item in value.items() if isinstance(item, list)}
    for name in sorted(lists, key=lists.__getitem__, reverse=True):
        rest = MOST_JSON - _length(short | {name: []}) - 100 * (len(lists) + 1)  # for what it says about the cuts
        kept = _first(value[name], rest)
        short[name] = kept
        cut.append(f"{len(kept)} of {len(value[name])} {name}")
        if _length(short) + 100 * len(cut) < MOST_JSON:
            break
    return short | {"truncated": f"{', '.join(cut)}; --all for the rest"}


def _first(items: Sequence[Any], room: int) -> list[Any]:
    kept = []
    for item in items:
        room -= _length([[item]]) - 8  # its text at this depth, with its indent, comma and line end
        if room < 0:
            break
        kept.append(item)
    return kept


def _length(value: Any) -> int:
    return len(json.dumps(value, indent=1, default=str))


def _near(problem: Problem) -> str:
    """Return a problem with its file as a person in this folder would name it."""
    text = str(problem)
    if problem.source is not None and problem.source.is_absolute():
        near = os.path.relpath(problem.source)
        if not near.startswith("../.."):
            text = text.replace(str(problem.source), near, 1)
    return text
