"""Words for people on stdout, JSON for programs, diagnostics on stderr."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tuneloop.documents.errors import Problem

MOST_JSON = 20_000  # bytes; more than that costs an agent its context

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
All = Annotated[bool, typer.Option("--all", help="With --json: everything, however long.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would happen and change nothing.")]
Folder = Annotated[Path, typer.Argument(metavar="EXP", help="The experiment's folder.", show_default=False)]


def say(text: str = "") -> None:
    sys.stdout.write(f"{text}\n")


def note(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def write_json(value: Mapping[str, Any], *, whole: bool = True) -> None:
    """Print one document. Unless `whole`, its longest list is cut to stay under 20 kB, and says so."""
    text = json.dumps(value, indent=1, default=str)
    if not whole and len(text) > MOST_JSON:
        text = json.dumps(_shortened(dict(value)), indent=1, default=str)
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


def _shortened(value: dict[str, Any]) -> dict[str, Any]:
    lists = {key: item for key, item in value.items() if isinstance(item, list)}
    longest = max(lists, key=lambda key: len(json.dumps(lists[key], default=str)), default=None)
    if longest is None:
        return value
    rest = MOST_JSON - len(json.dumps(value | {longest: []}, indent=1, default=str)) - 200
    kept: list[Any] = []
    for item in lists[longest]:
        rest -= len(json.dumps(item, indent=3, default=str)) + 4
        if rest < 0:
            break
        kept.append(item)
    return value | {longest: kept, "truncated": f"{len(kept)} of {len(lists[longest])} {longest}; --all for the rest"}


def _near(problem: Problem) -> str:
    """Return a problem with its file as a person in this folder would name it."""
    text = str(problem)
    if problem.source is not None and problem.source.is_absolute():
        near = os.path.relpath(problem.source)
        if not near.startswith("../.."):
            text = text.replace(str(problem.source), near, 1)
    return text
