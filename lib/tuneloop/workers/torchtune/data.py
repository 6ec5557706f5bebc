"""Samples: a file of one format read and checked, and a sample as the turns of a conversation.

Training, counting and verification read through here. Which formats there are is `experiment/formats.py`'s business,
what a kind of file is `documents/records.py`'s. Needs neither torch nor torchtune.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import InputError, Problem, Problems, did_you_mean
from tuneloop.documents.records import MOST_FAULTS, Record, parse_json, read_records, type_of
from tuneloop.experiment.formats import FORMATS
from tuneloop.workers.torchtune.components.tokenizer import Turn

_SPEAKERS = ("system", "user", "assistant")
# ShareGPT's names for them.
_ALIASES = {"human": "user", "gpt": "assistant"}


@dataclass(frozen=True)
class Reading:
    """How a file is read: its format, role to column name, and what is put around what it holds."""

    format: str
    columns: tuple[tuple[str, str], ...] = ()
    prompt: str | None = None  # the user turn, with {input} where the input goes
    system: str | None = None
    train_on_input: bool = False

    def column(self, role: str) -> str:
        return dict(self.columns).get(role, role)

    def named(self, role: str) -> bool:
        """Tell whether the design names the column of a role, so that every sample must have it."""
        return any(role == name for name, _ in self.columns)


def reading(
    file_format: str,
    columns: Mapping[str, str] | None = None,
    prompt: str | None = None,
    system: str | None = None,
    *,
    train_on_input: bool = False,
) -> Reading:
    """Return how to read a file. Raises InputError for an unknown format or role."""
    if file_format not in FORMATS:
        raise InputError(f"unknown format `{file_format}`", hint=did_you_mean(file_format, list(FORMATS)))
    known = FORMATS[file_format].columns
    unknown = [role for role in columns or {} if role not in known]
    if unknown:
        raise InputError([Problem(f"unknown column role `{role}`", hint=did_you_mean(role, known)) for role in unknown])
    return Reading(file_format, tuple(sorted((columns or {}).items())), prompt, system, train_on_input)


def read_samples(path: Path, how: Reading) -> list[dict[str, Any]]:
    """Return the samples of a file. Raises InputError with the place of every fault, five of a file at most.

    The list is shared between callers: do not change it.
    """
    changed = path.stat().st_mtime_ns if path.exists() else 0
    return _read_samples(path, how, changed)


@lru_cache(maxsize=32)
def _read_samples(path: Path, how: Reading, _changed: int) -> list[dict[str, Any]]:
    records = read_records(path)
    problems = Problems()
    for record in records:
        if len(problems.found) >= MOST_FAULTS:
            break
        _check(record, how, path, problems)
    problems.raise_if_any()
    return [record.value for record in records]


def turns(sample: Mapping[str, Any], how: Reading) -> list[Turn]:
    """Return an instruct or chat sample as a conversation.

    What is not the assistant's is masked, unless inputs are trained too.
    """
    if how.format == "instruct":
        said = [("user", _asked(sample[how.column("input")], how)), ("assistant", sample[how.column("output")])]
    else:
        said = messages(sample[how.column("messages")])
    return _turns(said, how)


def answers(sample: Mapping[str, Any], how: Reading) -> tuple[list[Turn], list[Turn]]:
    """Return the chosen and the rejected conversation of a preference; what they share is masked."""
    chosen, rejected = (_turns(said, how) for said in _conversations(sample, how))
    shared = _shared(chosen, rejected)
    return _masked(chosen, shared), _masked(rejected, shared)


def messages(value: Any) -> list[tuple[str, str]]:
    """Return a list of messages as (role, content), OpenAI's names or ShareGPT's. Raises ValueError with the fault.

    A text is read as JSON: the cell of a CSV file holds nothing else.
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = parse_json(value)
        except ValueError as error:
            raise ValueError(f"the list of messages cannot be read: {error}") from None
    if not isinstance(value, list) or not value:
        raise ValueError("expected a list of messages")
    return [_message(item) for item in value]


def _message(item: Any) -> tuple[str, str]:
    said = item if isinstance(item, dict) else {}
    role, content = said.get("role", said.get("from")), said.get("content", said.get("value"))
    if role is None or type(content) is not str:
        raise ValueError("a message needs `role` and a text `content`")
    role = _ALIASES.get(str(role), role)
    if role not in _SPEAKERS:
        raise ValueError(f"unknown role {role!r}; known: {', '.join(_SPEAKERS)}")
    return role, content


def _asked(text: str, how: Reading) -> str:
    return text if how.prompt is None else how.prompt.replace("{input}", text)


def _turns(said: Sequence[tuple[str, str]], how: Reading) -> list[Turn]:
    masked = not how.train_on_input
    first = [] if how.system is None else [Turn("system", how.system, True)]
    rest = [(role, text) for role, text in said if not (first and role == "system")]
    return [*first, *(Turn(role, text, role != "assistant" and masked) for role, text in rest)]


def _conversations(sample: Mapping[str, Any], how: Reading) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return both conversations whole. Raises ValueError with what is wrong with one."""
    asked = sample.get(how.column("input"))
    if asked is None:
        before = []
    elif isinstance(asked, str):
        before = [("user", _asked(asked, how))]
    else:
        before = messages(asked)
    both = []
    for role in ("chosen", "rejected"):
        value = sample[how.column(role)]
        said = [("assistant", value)] if isinstance(value, str) else messages(value)
        both.append([*before, *said])
    return both[0], both[1]


def _shared(one: Sequence[Turn], other: Sequence[Turn]) -> int:
    """Return how many turns two conversations begin with in common."""
    count = 0
    while count < min(len(one), len(other)) and one[count] == other[count]:
        count += 1
    return count


def _masked(said: Sequence[Turn], shared: int) -> list[Turn]:
    return [turn._replace(masked=True) if place < shared else turn for place, turn in enumerate(said)]


def _check(record: Record, how: Reading, path: Path, problems: Problems) -> None:
    sample = record.value
    if not isinstance(sample, dict):
        message = f"expected an object with columns, found {type_of(sample)}"
        problems.found.append(record.problem(message, path, _shape(how)))
        return
    known = FORMATS[how.format]
    needed = [role for role in known.columns if role in known.roles or how.named(role)]
    missing = [role for role in needed if how.column(role) not in sample]
    for role in missing:
        problems.found.append(
            record.problem(f"no column `{how.column(role)}`", path, _where(role, how.column(role), list(sample)))
        )
    if not missing and (fault := _value_fault(sample, how)):
        problems.found.append(record.problem(fault, path, _shape(how)))


def _where(role: str, column: str, columns: Sequence[str]) -> str:
    """Return the hint for a missing column: the one that was meant, or those that there are."""
    from difflib import get_close_matches

    near = get_close_matches(column, columns, n=1, cutoff=0.6)
    if near:
        return f"did you mean `{near[0]}`? set `columns: {{{role}: {near[0]}}}`"
    here = ", ".join(f"`{name}`" for name in columns)
    return f"columns here: {here}; set `columns: {{{role}: NAME}}`"


def _value_fault(sample: Mapping[str, Any], how: Reading) -> str | None:
    """Return what is wrong with the values of a sample that has its columns."""
    if how.format == "chat":
        return _chat_fault(sample, how)
    if how.format == "preference":
        return _preference_fault(sample, how)
    for role in FORMATS[how.format].roles:
        column = how.column(role)
        if not isinstance(sample[column], str):
            return f"column `{column}` is not text, it is {type_of(sample[column])}"
    column = how.column("text")
    return f"column `{column}` is empty" if how.format == "text" and not sample[column].strip() else None


def _chat_fault(sample: Mapping[str, Any], how: Reading) -> str | None:
    column = how.column("messages")
    try:
        said = messages(sample[column])
    except ValueError as error:
        return f"column `{column}`: {error}"
    return None if said[-1][0] == "assistant" else f"column `{column}`: the last message is not the assistant's"


def _preference_fault(sample: Mapping[str, Any], how: Reading) -> str | None:
    for role in ("input", "chosen", "rejected"):
        column = how.column(role)
        value = sample.get(column)
        if not isinstance(value, str | list) and not (role == "input" and value is None):
            return f"column `{column}` is neither text nor a list of messages, it is {type_of(value)}"
    try:
        both = _conversations(sample, how)
    except ValueError as error:
        return str(error)
    for role, said in zip(("chosen", "rejected"), both, strict=True):
        if said[-1][0] != "assistant":
            return f"column `{how.column(role)}`: the last message is not the assistant's"
        if len(said) == 1:
            return f"column `{how.column(role)}` is an answer to nothing: there is no column `{how.column('input')}`"
    if both[0][0] != both[1][0]:
        return "the chosen and the rejected conversation begin differently"
    shorter = min(len(said) for said in both)
    if both[0][:shorter] == both[1][:shorter]:
        alike = len(both[0]) == len(both[1])
        return "chosen and rejected are the same" if alike else "one conversation goes on where the other one ends"
    return None


def _shape(how: Reading) -> str:
    """Return the hint that shows a sample as it should be."""
    example = json.loads(FORMATS[how.format].example)
    shown = {how.column(role): value for role, value in example.items()}
    return f"write it like {json.dumps(shown, ensure_ascii=False)}"
