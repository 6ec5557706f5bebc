"""Columns of evaluation data: which there are, and loud checks of what each row holds.

Shared by `create-inspect-task` and by the tasks that it writes. Needs no inspect-ai.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import Problem, did_you_mean
from tuneloop.documents.records import MOST_FAULTS, Record, read_objects, type_of

_MOST_SHOWN = 60  # characters of a value in a message


@dataclass(frozen=True)
class Rows:
    """The rows of a data file, one at least; the value of each maps columns to what they hold."""

    path: Path
    records: Sequence[Record]

    @property
    def columns(self) -> list[str]:
        """The columns of all rows, in the order in which they first appear."""
        return list(dict.fromkeys(name for record in self.records for name in record.value))

    def problem(self, record: Record, message: str, hint: str) -> Problem:
        return record.problem(message, self.path, hint)


def read_rows(path: Path) -> Rows:
    """Return the rows of JSON, JSONL, CSV or Parquet. Raises InputError with the place of every fault."""
    return Rows(path, read_objects(path))


def column_problems(rows: Rows, column: str, fault: Callable[[Any], str | None], hint: str) -> list[Problem]:
    """Return what is wrong with a column: not there, or `fault(value)` says so; the first few rows of each kind.

    `hint` is for values that are wrong; a column that is not there gets the nearest name.
    """
    lacking = [record for record in rows.records if column not in record.value]
    if len(lacking) == len(rows.records):
        near = did_you_mean(column, rows.columns)
        return [Problem(f"no column `{column}` in any row", rows.path, hint=near)]
    found = [
        rows.problem(record, f"no column `{column}`", did_you_mean(column, list(record.value)))
        for record in lacking[:MOST_FAULTS]
    ]
    wrong = [
        (record, words)
        for record in rows.records
        if column in record.value and (words := fault(record.value[column])) is not None
    ]
    found += [rows.problem(record, f"column `{column}` {words}", hint) for record, words in wrong[:MOST_FAULTS]]
    left = max(0, len(lacking) - MOST_FAULTS) + max(0, len(wrong) - MOST_FAULTS)
    if left:
        found.append(Problem(f"column `{column}`: {left} more rows like these", rows.path, hint=hint))
    return found


def empty_fault(value: Any) -> str | None:
    """Return what is wrong with a value that has to be there."""
    return "is empty" if value is None or value == "" else None


def text_fault(value: Any) -> str | None:
    """Return what is wrong with a value that has to be text."""
    if isinstance(value, str) or value is None:
        return empty_fault(value)
    return f"is {type_of(value)}, not text: {shown(value)}"


def shown(value: Any) -> str:
    """Return a value as a message quotes it."""
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}..."
