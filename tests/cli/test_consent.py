"""Consent to a plan: by its id, by a person on a terminal, and by nobody else."""

import io
import sys
from typing import Any

import pytest
import typer

from tuneloop.cli.consent import consent
from tuneloop.documents.errors import InputError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def ask(yes: str | None, **changes: Any) -> list[str]:
    """Ask for a yes to the plan `abc`; return what was shown on the way."""
    shown: list[str] = []
    asked = {"lack": "2 jobs need a yes", "again": "tuneloop x", "question": "Go?", "as_json": False, **changes}
    consent("abc", yes, show=lambda: shown.append("the plan"), **asked)
    return shown


def test_the_plan_s_own_id_is_a_yes_and_shows_nothing() -> None:
    assert ask("abc") == []


@pytest.mark.parametrize("as_json", [True, False])
def test_another_id_is_refused_even_on_a_terminal(monkeypatch: pytest.MonkeyPatch, *, as_json: bool) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    with pytest.raises(InputError, match="the plan has changed: it is abc, not old"):
        ask("old", as_json=as_json)


@pytest.mark.parametrize("stdin, as_json", [(Terminal("y\n"), True), (io.StringIO("y\n"), False)])
def test_without_a_person_the_line_to_type_is_told(
    monkeypatch: pytest.MonkeyPatch, stdin: io.StringIO, *, as_json: bool
) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(InputError) as told:
        ask(None, as_json=as_json)
    (problem,) = told.value.problems
    assert (problem.message, problem.hint) == ("2 jobs need a yes", "`tuneloop x --yes abc`")


def test_a_person_sees_the_plan_before_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert ask(None) == ["the plan"]


@pytest.mark.parametrize("answer", ["n\n", "\n"])
def test_a_no_or_a_bare_return_ends_the_command(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    with pytest.raises(typer.Exit) as ended:
        ask(None)
    assert ended.value.exit_code == 0
