"""One family of errors: what was wrong, where, and what to type next.

TuneloopError
├── FailedError    1  the work failed: a job, a gate, a check
├── InputError     2  bad input: a document, an argument, a folder that cannot be written
├── MissingError   3  something is not there: a tool, a skill, a profile
├── UnreachableError  3  no answer from another machine: no news, neither good nor bad
└── BusyError      4  held by another process, or locked

An error carries all its problems at once. `cli/main.py` is the one place that prints them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong. `message` has no full stop; `hint` says what to type or change."""

    message: str
    source: Path | None = None
    line: int | None = None
    key: str | None = None
    hint: str | None = None

    def __str__(self) -> str:
        where = ""
        if self.source is not None:
            where = f"{self.source}:{self.line}: " if self.line else f"{self.source}: "
        text = f"{where}{self.message}"
        return f"{text}\n  hint: {self.hint}" if self.hint else text

    def as_dict(self) -> dict[str, Any]:
        return {
            "message": self.message,
            "file": None if self.source is None else str(self.source),
            "line": self.line,
            "key": self.key,
            "hint": self.hint,
        }


class TuneloopError(Exception):
    exit_code: ClassVar[int] = 1

    def __init__(self, problems: Problem | str | Sequence[Problem], hint: str | None = None) -> None:
        if isinstance(problems, str):
            problems = Problem(problems, hint=hint)
        self.problems = [problems] if isinstance(problems, Problem) else list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class FailedError(TuneloopError):
    exit_code = 1


class InputError(TuneloopError):
    exit_code = 2


class MissingError(TuneloopError):
    exit_code = 3


class UnreachableError(TuneloopError):
    exit_code = 3


class BusyError(TuneloopError):
    exit_code = 4


_MOST_KNOWN = 20  # words in a hint: all keys of a design, not all of a thousand runs


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Return the hint for an unknown word: its nearest neighbour, or what is known when there is none."""
    near = get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f"did you mean `{near[0]}`?"
    more = f" and {len(known) - _MOST_KNOWN} more" if len(known) > _MOST_KNOWN else ""
    return "known: " + ", ".join(f"`{name}`" for name in known[:_MOST_KNOWN]) + more


class Problems:
    """Collects faults so that all of them are reported at once."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def add(self, message: str, **where: Any) -> None:
        self.found.append(Problem(message, **where))

    def extend(self, error: TuneloopError) -> None:
        self.found.extend(error.problems)

    def raise_if_any(self) -> None:
        if self.found:
            raise InputError(self.found)
