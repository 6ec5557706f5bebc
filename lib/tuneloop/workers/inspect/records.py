"""Data files of evaluations: JSON, JSONL, CSV and Parquet as rows that know their line, and loud column checks.

Shared by `create-inspect-task` and by the tasks that it writes. Needs no inspect-ai.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import InputError, MissingError, Problem, did_you_mean
from tuneloop.documents.files import read_text

MOST_FAULTS = 5  # of one column; more would hide the others
_SHAPES = "readable are .jsonl (one object a line), .json (a list of objects), .csv (with a header) and .parquet"


@dataclass(frozen=True)
class Record:
    """One row. `number` counts rows from 1; `line` is the line of the file, None where rows have no lines."""

    number: int
    line: int | None
    values: dict[str, Any]


@dataclass(frozen=True)
class Records:
    path: Path
    rows: Sequence[Record]

    @property
    def columns(self) -> list[str]:
        """The columns of all rows, in the order in which they first appear."""
        return list(dict.fromkeys(name for row in self.rows for name in row.values))

    def problem(self, row: Record, message: str, hint: str | None = None) -> Problem:
        """Return a fault of a row, with its line or, in a file without lines, its number."""
        place = message if row.line is not None else f"row {row.number}: {message}"
        return Problem(place, self.path, row.line, hint=hint)


def read_records(path: Path) -> Records:
    """Return the rows of a data file. Raises InputError with the place of every fault; MissingError without pyarrow."""
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        rows = _parquet(path)
    elif suffix in {".json", ".jsonl", ".csv"}:
        text = read_text(path).removeprefix("\ufeff")
        rows = _csv(text, path) if suffix == ".csv" else _json(text, path)
    elif path.is_file():
        raise InputError(Problem("not a data file that can be read here", path, hint=f"{_SHAPES}: convert it"))
    else:
        raise InputError(Problem("no such file", path, hint="a relative path starts where the command runs"))
    if not rows:
        raise InputError(Problem("the file has no rows", path, hint="give it one row at least"))
    return Records(path, rows)


def column_problems(records: Records, column: str, fault: Callable[[Any], str | None], hint: str) -> list[Problem]:
    """Return what is wrong with a column: not there, or `fault(value)` says so; the first few rows of each kind.

    `hint` is for values that are wrong; a column that is not there gets the nearest name.
    """
    lacking = [row for row in records.rows if column not in row.values]
    if len(lacking) == len(records.rows):
        near = did_you_mean(column, records.columns)
        return [Problem(f"no column `{column}` in any row", records.path, hint=near)]
    found = [
        records.problem(row, f"no column `{column}`", did_you_mean(column, list(row.values)))
        for row in lacking[:MOST_FAULTS]
    ]
    wrong = [
        (row, words)
        for row in records.rows
        if column in row.values and (words := fault(row.values[column])) is not None
    ]
    found += [records.problem(row, f"column `{column}` {words}", hint) for row, words in wrong[:MOST_FAULTS]]
    left = max(0, len(lacking) - MOST_FAULTS) + max(0, len(wrong) - MOST_FAULTS)
    if left:
        found.append(Problem(f"column `{column}`: {left} more rows like these", records.path, hint=hint))
    return found


def text_fault(value: Any) -> str | None:
    """Return what is wrong with a value that has to be text."""
    if value is None or value == "":
        return "is empty"
    if not isinstance(value, str):
        return f"is not text: {_shown(value)}"
    return None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _json(text: str, path: Path) -> list[Record]:
    if text.lstrip().startswith("["):
        try:
            values = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise InputError(_not_json(error, path, getattr(error, "lineno", None))) from None
        numbered: list[tuple[int | None, Any]] = [(None, value) for value in values]
    else:
        numbered = list(_json_lines(text, path))
    rows = [Record(number, line, value) for number, (line, value) in enumerate(numbered, start=1)]
    records = Records(path, rows)
    wrong = [row for row in rows if not isinstance(row.values, dict)]
    if wrong:
        hint = 'write rows like {"input": "...", "output": "..."}'
        message = "expected an object with columns, found {}"
        raise InputError(
            [records.problem(row, message.format(type(row.values).__name__), hint) for row in wrong[:MOST_FAULTS]]
        )
    return rows


def _json_lines(text: str, path: Path) -> Iterator[tuple[int, Any]]:
    problems = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            problems.append(_not_json(error, path, number))
        if len(problems) == MOST_FAULTS:
            break
    if problems:
        raise InputError(problems)


def _not_json(error: Exception, path: Path, line: int | None) -> Problem:
    words = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
    return Problem(f"not JSON: {words}", path, line, hint=_SHAPES)


def _csv(text: str, path: Path) -> list[Record]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[Record] = []
    problems: list[Problem] = []
    header: list[str] | None = None
    line = 1
    try:
        for cells in reader:
            if header is None:
                header = _header(cells, path)
            elif cells and len(cells) != len(header):
                message = f"{len(cells)} cells in a table of {len(header)} columns"
                problems.append(Problem(message, path, line, hint="put quotes around a cell that has a comma in it"))
            elif cells:
                rows.append(Record(len(rows) + 1, line, dict(zip(header, cells, strict=True))))
            line = reader.line_num + 1
    except csv.Error as error:
        problems.append(Problem(f"not CSV: {error}", path, line, hint=_SHAPES))
    if problems:
        raise InputError(problems[:MOST_FAULTS])
    return rows


def _header(cells: list[str], path: Path) -> list[str]:
    twice = sorted({name for name in cells if cells.count(name) > 1})
    if twice:
        named = ", ".join(f"`{name}`" for name in twice)
        raise InputError(Problem(f"the header names {named} twice", path, 1, hint="give each column a name of its own"))
    return cells


def _parquet(path: Path) -> list[Record]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import read_table
    except ModuleNotFoundError:
        message = "pyarrow is not installed, and the data are Parquet"
        raise MissingError(Problem(message, path, hint="pip install pyarrow, or convert the file to JSONL")) from None
    if not path.is_file():
        raise InputError(Problem("no such file", path, hint="a relative path starts where the command runs"))
    try:
        values = read_table(path).to_pylist()
    except (ArrowException, OSError, ValueError) as error:
        words = str(error).strip().splitlines()[0].rstrip(".")
        raise InputError(Problem(f"not Parquet: {words}", path, hint=_SHAPES)) from None
    return [Record(number, None, value) for number, value in enumerate(values, start=1)]
