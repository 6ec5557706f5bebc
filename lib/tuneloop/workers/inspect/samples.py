"""Samples: the rows of a data file as inspect-ai's, one function for each kind of target.

What `create-inspect-task` writes calls these, so that a task fails loudly, with file and line, before it asks
anything. Relative paths start at the task's file: inspect-ai loads a task in its folder.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tuneloop.documents.errors import InputError, Problem
from tuneloop.documents.records import MOST_FAULTS, Record
from tuneloop.workers.inspect.columns import Rows, column_problems, empty_fault, read_rows, shown, text_fault
from tuneloop.workers.inspect.numerals import number_fault

TargetIs = Literal["letter", "index", "text"]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_TEXT = "give each row a text there"
_NUMBER = "give each row a number there, such as 3.14 or 1,200"


@dataclass(frozen=True)
class Asked:
    """How a row becomes a question: the column, the user's turn around it, the system's turn before."""

    column: str
    prompt: str = "{input}"
    system: str | None = None


def text_samples(data: str, asked: Asked, target: str) -> Any:
    """Return a dataset whose targets are text. Raises InputError with every fault of the file."""
    return _samples(data, asked, target, text_fault, _TEXT)


def number_samples(data: str, asked: Asked, target: str) -> Any:
    """Return a dataset whose targets are numbers, or the text of one. Raises InputError with every fault."""
    return _samples(data, asked, target, number_fault, _NUMBER)


def choice_samples(data: str, asked: Asked, target: str, choices: Sequence[str], target_is: TargetIs) -> Any:
    """Return a dataset with choices, its targets the letters of the right ones. Raises InputError with every fault.

    `choices` names one column that holds a list of texts, or several that hold a text each.
    """
    rows = read_rows(Path(data))
    _raise_if_any([*_asked_problems(rows, asked), *choice_problems(rows, choices)])
    letters, problems = letters_of(rows, target, choices, target_is)
    _raise_if_any(problems)
    answers = zip(letters, (choices_of(row, choices) for row in rows.records), strict=True)
    return _dataset(rows, asked, list(answers))


def choice_problems(rows: Rows, choices: Sequence[str]) -> list[Problem]:
    """Return what is wrong with the choices of the rows."""
    if len(choices) == 1:
        hint = 'write them like ["first", "second"], or name a column for each with `--choices`'
        return column_problems(rows, choices[0], _choices_fault, hint)
    found = [problem for column in choices for problem in column_problems(rows, column, text_fault, _TEXT)]
    if found:
        return found
    same = [row for row in rows.records if len(set(choices_of(row, choices))) < len(choices)]
    hint = "a model that says either would be right and wrong"
    return [rows.problem(row, "two choices are the same", hint) for row in same[:MOST_FAULTS]]


def choices_of(row: Record, choices: Sequence[str]) -> list[str]:
    return list(row.value[choices[0]]) if len(choices) == 1 else [row.value[name] for name in choices]


def letters_of(rows: Rows, target: str, choices: Sequence[str], target_is: TargetIs) -> tuple[list[str], list[Problem]]:
    """Return the letter of the right choice of each row, and what is wrong with the targets."""

    def letter(row: Record) -> str | None:
        texts = choices_of(row, choices)
        place = _PLACES[target_is](row.value.get(target), texts)
        return None if place is None or not 0 <= place < len(texts) else LETTERS[place]

    missing = column_problems(rows, target, empty_fault, _TEXT)
    if missing:
        return [], missing
    letters = [letter(row) for row in rows.records]
    wrong = [row for row, found in zip(rows.records, letters, strict=True) if found is None]
    problems = [
        rows.problem(
            row, f"column `{target}` is no {target_is} of a choice: {shown(row.value[target])}", _MEANS[target_is]
        )
        for row in wrong[:MOST_FAULTS]
    ]
    return [found or "" for found in letters], problems


def prompt_fault(prompt: Any) -> str | None:
    """Return what is wrong with the text around an input."""
    # `-T` of inspect reads its value as YAML, which makes a mapping of an unquoted `capitalize: {input}`.
    if not isinstance(prompt, str) or prompt.count("{input}") != 1:
        return f"the prompt is no text with `{{input}}` in it once: {prompt!r}"
    return None


def _place_of_letter(value: Any, _: Sequence[str]) -> int | None:
    return LETTERS.find(value.strip()) if isinstance(value, str) and len(value.strip()) == 1 else None


def _place_of_index(value: Any, _: Sequence[str]) -> int | None:
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdecimal():
        return int(value) if len(value) < MOST_FAULTS else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _place_of_text(value: Any, texts: Sequence[str]) -> int | None:
    return list(texts).index(value) if value in texts else None


_PLACES: dict[TargetIs, Callable[[Any, Sequence[str]], int | None]] = {
    "letter": _place_of_letter,
    "index": _place_of_index,
    "text": _place_of_text,
}
_MEANS: dict[TargetIs, str] = {
    "letter": "write A for the first choice, B for the second",
    "index": "write 0 for the first choice, 1 for the second",
    "text": "write the choice letter for letter",
}


def _choices_fault(value: Any) -> str | None:
    if not isinstance(value, list) or not 2 <= len(value) <= len(LETTERS):
        return f"is no list of 2 to {len(LETTERS)} texts"
    if any(text_fault(item) for item in value):
        return "holds a choice that is no text"
    return "holds the same choice twice" if len(set(value)) < len(value) else None


def _samples(data: str, asked: Asked, target: str, fault: Callable[[Any], str | None], hint: str) -> Any:
    rows = read_rows(Path(data))
    _raise_if_any([*_asked_problems(rows, asked), *column_problems(rows, target, fault, hint)])
    return _dataset(rows, asked, [(str(row.value[target]), None) for row in rows.records])


def _asked_problems(rows: Rows, asked: Asked) -> list[Problem]:
    found = column_problems(rows, asked.column, text_fault, _TEXT)
    fault = prompt_fault(asked.prompt)
    return found if fault is None else [*found, Problem(fault, hint='write it like "capitalize: {input}"')]


def _dataset(rows: Rows, asked: Asked, answers: Sequence[tuple[str, list[str] | None]]) -> Any:
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import ChatMessageSystem, ChatMessageUser

    before = [] if asked.system is None else [ChatMessageSystem(content=asked.system)]

    def turns(row: Record) -> list[Any]:
        return [*before, ChatMessageUser(content=asked.prompt.replace("{input}", row.value[asked.column]))]

    samples = [
        Sample(id=row.row, input=turns(row), target=target, choices=choices)
        for row, (target, choices) in zip(rows.records, answers, strict=True)
    ]
    return MemoryDataset(samples, name=rows.path.stem, location=str(rows.path))


def _raise_if_any(problems: list[Problem]) -> None:
    if problems:
        raise InputError(problems)
