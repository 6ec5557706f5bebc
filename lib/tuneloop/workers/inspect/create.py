"""A task file for the data at hand: what was asked for becomes a spec, checked against every row, and then a text.

Reads the data; runs nothing of inspect-ai and writes nothing.
"""

import builtins
import keyword
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, get_args

from tuneloop.documents.errors import InputError, Problem
from tuneloop.workers.inspect.columns import Rows, column_problems, text_fault
from tuneloop.workers.inspect.numerals import number_fault
from tuneloop.workers.inspect.samples import (
    LETTERS,
    TargetIs,
    choice_problems,
    letters_of,
    prompt_fault,
)
from tuneloop.workers.inspect.source import assigned

Kind = Literal["exact", "choice", "numeric", "pattern", "graded"]
# Columns that are taken where none is named: the roles of a design, and the words of inspect-ai.
_USUAL = {"input": ("input",), "target": ("output", "target"), "choices": ("choices",)}
# Which kinds an option is for; the others are for all.
_ONLY: dict[str, tuple[Kind, ...]] = {
    "choices": ("choice",),
    "target_is": ("choice",),
    "tolerance": ("numeric",),
    "relative_tolerance": ("numeric",),
    "pattern": ("pattern",),
    "ignore_case": ("exact", "pattern"),
    "judge": ("graded",),
    "judge_arg": ("graded",),
    "max_tokens": ("exact", "numeric", "pattern", "graded"),
}
# Names that the task file uses itself.
_TAKEN = {"Asked", "GenerateConfig", "Task", "generate", "graded", "multiple_choice", "numeric", "pattern", "task"}
_TAKEN |= {"brier_score", "choice_samples", "most_likely", "number_samples", "text_samples", "verbatim"}
_ANSWER_TOKENS = 256  # for an answer that may explain itself
_JUDGE_TOKENS = 1024  # a judge reasons before it grades
_SECRET = re.compile(r"(^|_)(key|secret|password|token)$", re.IGNORECASE)
_TEMPLATE = "{question}\n\n{choices}\n\nAnswer with one letter of {letters}."


@dataclass(frozen=True)
class Wish:
    """What somebody asked for. None, or an empty list: nothing was said."""

    kind: Kind
    name: str
    data: str  # as the task file names it
    input: str | None = None
    target: str | None = None
    prompt: str | None = None
    system: str | None = None
    choices: Sequence[str] = ()
    target_is: TargetIs | None = None
    tolerance: float | None = None
    relative_tolerance: float | None = None
    pattern: str | None = None
    ignore_case: bool = False
    judge: str | None = None
    judge_arg: Mapping[str, Any] = field(default_factory=dict)
    max_tokens: int | None = None


@dataclass(frozen=True)
class TaskSpec:
    """Everything that the task file says."""

    kind: Kind
    name: str  # of the function
    data: str
    input: str
    target: str
    prompt: str
    system: str | None
    max_tokens: int
    held: Mapping[str, Any]  # constants of the kind


def identifier(text: str) -> str:
    """Return a text as the name of a Python function."""
    name = re.sub(r"\W", "_", text, flags=re.ASCII)
    taken = keyword.iskeyword(name) or hasattr(builtins, name) or name in _TAKEN
    return f"task_{name}" if taken or not name.isidentifier() else name


def resolve(rows: Rows, wish: Wish) -> TaskSpec:
    """Return the spec. Raises InputError with every fault of the options and of the data."""
    problems = list(_option_problems(wish))
    chosen = {role: _column(rows, role, getattr(wish, role), problems) for role in ("input", "target")}
    prompt = "{input}" if wish.prompt is None else wish.prompt
    if fault := prompt_fault(prompt):
        problems.append(Problem(fault, hint='write it like `--prompt "capitalize: {input}"`'))
    asked, target = chosen["input"], chosen["target"]
    if asked is not None:
        problems += column_problems(rows, asked, text_fault, "give each row a text there, or name another `--input`")
    held = _held(rows, wish, target, problems)
    if problems or asked is None or target is None:
        raise InputError(problems)
    tokens = wish.max_tokens or (_room(rows, target) if wish.kind == "exact" else _ANSWER_TOKENS)
    return TaskSpec(wish.kind, identifier(wish.name), wish.data, asked, target, prompt, wish.system, tokens, held)


def render(spec: TaskSpec) -> str:
    """Return the text of the task file."""
    kind = spec.kind
    told = [(name.upper(), getattr(spec, name)) for name in ("data", "input", "target", "prompt", "system")]
    held = [(name, value, _WHY.get(name)) for name, value in spec.held.items()]
    reader = {"choice": "choice_samples", "numeric": "number_samples"}.get(kind, "text_samples")
    text: str = _template().render(
        kind=kind,
        about=_ABOUT[kind],
        doc=_DOC[kind],
        name=spec.name,
        max_tokens=spec.max_tokens,
        told=told,
        held=held,
        reader=reader,
        scorers=_SCORERS[kind],
        scorer=_SCORER[kind],
    )
    return text


_ABOUT: dict[Kind, str] = {
    "exact": "Exact match: is the answer the target, white space around it left aside?",
    "choice": "Multiple choice: which letter is the likeliest, and does its probability mean what it says?",
    "numeric": "Numeric: is the last number of the answer within a tolerance of the target?",
    "pattern": "Pattern: is what a regular expression finds in the answer the target?",
    "graded": "Model-graded: does a judge, named below, find that the answer meets the target?",
}
_DOC: dict[Kind, str] = {
    "exact": "Ask for the target of every row and compare.",
    "choice": "Ask for a letter and compare the log-probabilities of all of them.",
    "numeric": "Ask for a number and compare the last one of the answer.",
    "pattern": "Ask for the target of every row and compare what the pattern finds.",
    "graded": "Ask, and let the judge compare the answer with the target.",
}
_SCORERS: dict[Kind, str] = {
    "exact": "verbatim",
    "choice": "brier_score, most_likely",
    "numeric": "numeric",
    "pattern": "",
    "graded": "graded",
}
_SCORER: dict[Kind, str] = {
    "exact": "verbatim(ignore_case=IGNORE_CASE)",
    "choice": "[most_likely(), brier_score()]",
    "numeric": "numeric(absolute=TOLERANCE, relative=RELATIVE_TOLERANCE)",
    "pattern": "pattern(PATTERN, ignore_case=IGNORE_CASE)",
    "graded": "graded(judge, JUDGE_SETTINGS, JUDGE_ARGUMENTS)",
}
_WHY = {
    "TOLERANCE": "The larger of the two holds: in the target's unit, and as a share of the target's size.",
    "PATTERN": "Its group is compared with the target; of several groups, one has to equal it.",
    "JUDGE": "The judge is pinned: change it, or its settings, and earlier scores cannot be compared.",
    "CHOICES": "One column with a list of texts, or a column for each choice.",
    "TARGET_IS": "What the target column holds: the letter of a choice, its index from 0, or its text.",
    "TEMPLATE": "What the model sees; the prompt around the input comes first and makes the question.",
}


@cache
def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("tuneloop.workers.inspect"),
        autoescape=False,  # noqa: S701 (Python, not HTML; values go through `assigned`)
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["assigned"] = assigned
    return environment.get_template("task.py.j2")


def _option_problems(wish: Wish) -> Iterator[Problem]:
    """Yield options that the kind has no use for, lacks, or cannot read."""
    for name, kinds in _ONLY.items():
        value = getattr(wish, name)
        given = value is not None and value is not False and value not in ((), [], {})
        if given and wish.kind not in kinds:
            listed = " or ".join(f"`--kind {kind}`" for kind in kinds)
            yield Problem(f"`{_flag(name)}` means nothing to `--kind {wish.kind}`", hint=f"it is for {listed}")
    if wish.kind == "pattern":
        yield from _pattern_problems(wish.pattern)
    if wish.kind == "graded" and (wish.judge is None or not re.fullmatch(r"[^/\s]+/\S+", wish.judge)):
        found = "no judge" if wish.judge is None else f"`--judge {wish.judge}` is neither PROVIDER/MODEL nor a folder"
        hint = (
            "name it like `--judge openai/gpt-4o-2024-08-06`, or the folder of a local model; none is taken by default"
        )
        yield Problem(found, hint=hint)
    for name in wish.judge_arg:
        if _SECRET.search(name):
            hint = "set the provider's environment variable in the job's shell instead"
            yield Problem(f"`--judge-arg {name}` would stand in the file and in every log", hint=hint)
    for name in ("tolerance", "relative_tolerance"):
        value = getattr(wish, name)
        if value is not None and not 0 <= value < float("inf"):
            yield Problem(f"`{_flag(name)} {value:g}` is no tolerance", hint="write a number from 0, such as 0.01")
    if wish.max_tokens is not None and wish.max_tokens < 1:
        yield Problem(f"`--max-tokens {wish.max_tokens}` leaves no room for an answer", hint="write 1 or more")


def _pattern_problems(pattern: str | None) -> Iterator[Problem]:
    if pattern is None:
        hint = "write it like `--pattern 'Answer: (.*)'`; its group is compared with the target"
        yield Problem("`--kind pattern` needs a pattern", hint=hint)
        return
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        yield Problem(f"not a regular expression: {error}", hint="it is one of Python's `re`")


def _column(rows: Rows, role: str, given: str | None, problems: list[Problem]) -> str | None:
    """Return the column that plays a role; a fault is added where nobody named one and none has a usual name."""
    if given is not None:
        return given
    found = next((name for name in _USUAL[role] if name in rows.columns), None)
    if found is None:
        listed = ", ".join(f"`{name}`" for name in rows.columns)
        message = f"no column is called {' or '.join(f'`{name}`' for name in _USUAL[role])}"
        problems.append(Problem(message, rows.path, hint=f"name it with `{_flag(role)}`; columns: {listed}"))
    return found


def _held(rows: Rows, wish: Wish, target: str | None, problems: list[Problem]) -> dict[str, Any]:
    """Return the constants of the kind; faults of the target column are added."""
    if wish.kind == "choice":
        return _choice(rows, wish, target, problems)
    if target is not None:
        fault = number_fault if wish.kind == "numeric" else text_fault
        other = "" if wish.kind == "numeric" else "; numbers are for `--kind numeric`"
        hint = (
            f"give each row a {'number' if wish.kind == 'numeric' else 'text'} there, or name another `--target`{other}"
        )
        problems += column_problems(rows, target, fault, hint)
    if wish.kind == "numeric":
        return {"TOLERANCE": wish.tolerance or 0.0, "RELATIVE_TOLERANCE": wish.relative_tolerance or 0.0}
    if wish.kind == "graded":
        local = (wish.judge or "").startswith("hf/")
        settings = {"seed": 1, "max_tokens": _JUDGE_TOKENS} | ({} if local else {"temperature": 0.0})
        arguments = ({"do_sample": False} if local else {}) | dict(wish.judge_arg)
        return {"JUDGE": wish.judge, "JUDGE_SETTINGS": settings, "JUDGE_ARGUMENTS": arguments}
    pattern = {"PATTERN": wish.pattern} if wish.kind == "pattern" else {}
    return {**pattern, "IGNORE_CASE": wish.ignore_case}


def _choice(rows: Rows, wish: Wish, target: str | None, problems: list[Problem]) -> dict[str, Any]:
    columns = list(wish.choices)
    if not columns:
        found = _column(rows, "choices", None, problems)
        columns = [] if found is None else [found]
    if len(columns) > len(LETTERS):
        hint = "a letter stands for each"
        problems.append(Problem(f"{len(columns)} choices, more than {len(LETTERS)}", hint=hint))
    faults = choice_problems(rows, columns) if columns else []
    problems += faults
    target_is = wish.target_is
    if columns and target is not None and not faults:
        target_is = _target_is(rows, wish, target, columns, problems)
    return {"CHOICES": columns, "TARGET_IS": target_is, "TEMPLATE": _TEMPLATE}


def _target_is(rows: Rows, wish: Wish, target: str, choices: Sequence[str], problems: list[Problem]) -> TargetIs | None:
    """Return what the targets are: as told, or what all of them can be when that leaves no doubt."""
    if wish.target_is is not None:
        problems += letters_of(rows, target, choices, wish.target_is)[1]
        return wish.target_is
    read = {way: letters_of(rows, target, choices, way) for way in get_args(TargetIs)}
    fitting: dict[TargetIs, list[str]] = {way: letters for way, (letters, faults) in read.items() if not faults}
    if not fitting:
        likeliest = min(read, key=lambda way: read[way][0].count(""))
        problems += read[likeliest][1]
        return None
    from_one = list(fitting) == ["index"] and "A" not in fitting["index"]
    if from_one or len({tuple(letters) for letters in fitting.values()}) > 1:
        ways = " or ".join(f"`--target-is {way}`" for way in fitting)
        doubt = "no index is 0, so they may count from 1" if from_one else "can be read in several ways"
        problems.append(Problem(f"the targets in `{target}`: {doubt}", rows.path, hint=f"say {ways}"))
        return None
    return next(iter(fitting))


def _room(rows: Rows, target: str) -> int:
    """Return a limit for answers that cuts no target: a token stands for a byte at least, and the turn's end is one."""
    longest = max(len(str(row.value.get(target, "")).encode(errors="replace")) for row in rows.records)
    return max(16, longest + 8)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
