"""Data files: reading instruct and chat samples, and turning a sample into the turns of a conversation.

Training, counting and verification read through here. Needs neither torch nor torchtune.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import InputError, Problem, Problems, did_you_mean
from tuneloop.documents.files import read_text
from tuneloop.workers.torchtune.components.tokenizer import Turn

FORMATS = ("instruct", "chat")
SUFFIXES = (".json", ".jsonl")
# Roles of the columns, with the names that a file has when the design says nothing.
ROLES = {"instruct": ("input", "output"), "chat": ("messages",)}
_SPEAKERS = ("system", "user", "assistant")
_MOST_FAULTS = 5
_READABLE = "the readable formats are JSON (a list of objects) and JSONL (one object a line)"


@dataclass(frozen=True)
class Reading:
    """How a file is read: its format, and role to column name."""

    format: str
    columns: tuple[tuple[str, str], ...]
    system: str | None = None
    train_on_input: bool = False

    def column(self, role: str) -> str:
        return dict(self.columns).get(role, role)


def reading(
    file_format: str, columns: Mapping[str, str] | None, system: str | None = None, train_on_input: bool = False
) -> Reading:
    """Return how to read a file. Raises InputError for an unknown format or role."""
    if file_format not in FORMATS:
        raise InputError(
            f"the worker torchtune does not read the format `{file_format}` yet", hint="known: `instruct`, `chat`"
        )
    known = ROLES[file_format]
    unknown = [role for role in columns or {} if role not in known]
    if unknown:
        raise InputError([Problem(f"unknown column role `{role}`", hint=did_you_mean(role, known)) for role in unknown])
    return Reading(file_format, tuple(sorted((columns or {}).items())), system, train_on_input)


def read_samples(path: Path, how: Reading) -> list[dict[str, Any]]:
    """Return the samples of a JSONL file, or of a JSON list. Raises InputError with the line of every fault.

    The list is shared between callers: do not change it.
    """
    if path.is_file() and path.suffix.lower() not in SUFFIXES:
        raise InputError(Problem("neither a .json nor a .jsonl file", path, hint=f"{_READABLE}: convert it"))
    changed = path.stat().st_mtime_ns if path.exists() else 0
    return _read_samples(path, how, changed)


@lru_cache(maxsize=32)
def _read_samples(path: Path, how: Reading, _changed: int) -> list[dict[str, Any]]:
    numbered = _numbered(read_text(path), path)
    problems = Problems()
    for line, sample in numbered:
        if len(problems.found) >= _MOST_FAULTS:
            break
        _check(sample, how, path, line, problems)
    if not numbered:
        problems.add("the file is empty", source=path, hint="give it one sample at least")
    problems.raise_if_any()
    return [sample for _, sample in numbered]


def turns(sample: Mapping[str, Any], how: Reading) -> list[Turn]:
    """Return a sample as a conversation; what is not the assistant's is masked, unless inputs are trained too."""
    masked = not how.train_on_input
    first = [] if how.system is None else [Turn("system", how.system, True)]
    if how.format == "instruct":
        user = Turn("user", sample[how.column("input")], masked)
        return [*first, user, Turn("assistant", sample[how.column("output")], False)]
    said = [
        Turn(item["role"], item["content"], item["role"] != "assistant" and masked)
        for item in sample[how.column("messages")]
        if not (first and item["role"] == "system")
    ]
    return [*first, *said]


def _numbered(text: str, path: Path) -> list[tuple[int, Any]]:
    if text.lstrip().startswith("["):
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(Problem(f"not JSON: {error.msg}", path, error.lineno, hint=_READABLE)) from None
        return list(enumerate(value, start=1))
    found, problems = [], Problems()
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            found.append((number, json.loads(line)))
        except json.JSONDecodeError as error:
            problems.add(f"not JSON: {error.msg}", source=path, line=number, hint=_READABLE)
        if len(problems.found) >= _MOST_FAULTS:
            break
    problems.raise_if_any()
    return found


def _check(sample: Any, how: Reading, path: Path, line: int, problems: Problems) -> None:
    if not isinstance(sample, dict):
        problems.add(
            f"expected an object with columns, found {type(sample).__name__}", source=path, line=line, hint=_shape(how)
        )
        return
    for role in ROLES[how.format]:
        column = how.column(role)
        if column not in sample:
            hint = f"columns here: {', '.join(f'`{name}`' for name in sample)}; set `columns: {{{role}: NAME}}`"
            problems.add(f"no column `{column}`", source=path, line=line, hint=hint)
        elif how.format == "instruct" and not isinstance(sample[column], str):
            problems.add(f"column `{column}` is not text", source=path, line=line, hint=_shape(how))
        elif how.format == "chat":
            fault = _chat_fault(sample[column])
            if fault:
                problems.add(f"column `{column}`: {fault}", source=path, line=line, hint=_shape(how))


def _shape(how: Reading) -> str:
    """Return the hint that shows a sample as it should be."""
    if how.format == "chat":
        said = '[{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]'
        return f'write it like {{"{how.column("messages")}": {said}}}'
    columns = ", ".join(f'"{how.column(role)}": "..."' for role in ROLES[how.format])
    return f"write it like {{{columns}}}"


def _chat_fault(messages: Any) -> str | None:
    """Return what is wrong with a list of {role, content}."""
    if not isinstance(messages, list) or not messages:
        return "expected a list of messages"
    for item in messages:
        if not isinstance(item, dict) or not isinstance(item.get("content"), str):
            return "a message needs `role` and a text `content`"
        if item.get("role") not in _SPEAKERS:
            return f"unknown role {item.get('role')!r}; known: {', '.join(_SPEAKERS)}"
    if messages[-1]["role"] != "assistant":
        return "the last message is not the assistant's"
    return None


def packs(lengths: Sequence[int], most: int) -> int:
    """Return how many packs torchtune's PackedDataset makes of samples in this order, without splitting one."""
    count, filled = 0, 0
    for length in lengths:
        if filled + length > most:
            count, filled = count + 1, 0
        filled += length
    return count + (filled > 0)
