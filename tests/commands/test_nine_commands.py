"""The nine slash commands and the reviewer: their heads, their size, and what they name.

`test_spec_walk.py` does what they say.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from command_reading import PACK, TASK, TEXTS, block

from lab import make_echo
from places import content
from spec_texts import filled
from tuneloop.documents.yamltext import load_yaml
from tuneloop.experiment.design import Design
from tuneloop.librarian.pack import Command, CommandHead

pytestmark = pytest.mark.slow

NINE = {"constitution", "specify", "clarify", "plan", "tasks", "analyze", "checklist", "implement", "converge"}
MOST_CHARACTERS = 22_000  # of all nine with their heads: an agent reads four of them on the way to a report
BAD = Command(
    Path("speckit-bad.md"),
    CommandHead.model_validate({"description": "long " * 40}),
    "# Bad\n\n$ARGUMENTS and $ARGUMENTS, then `/speckit-plan` and **no-such-skill**. See @README.md and !`date`.\n",
)


def faults(command: Command) -> Iterator[str]:
    head, body = command.head, command.body
    if not head.disable_model_invocation:
        yield "the model may start it"
    if head.argument_hint is None:
        yield "no argument-hint"
    if len(head.description) > 150:
        yield f"description of {len(head.description)} characters"
    if body.count("$ARGUMENTS") != 1:
        yield f"$ARGUMENTS {body.count('$ARGUMENTS')} times"
    if not 25 <= len(body.splitlines()) <= 60:
        yield f"{len(body.splitlines())} lines"
    # The client runs the one and attaches the other when a command is typed; neither is meant anywhere here.
    yield from (f"expands {found}" for found in re.findall(r"(?:^|\s)(!`|@\w\S*|\$\d)", body))
    yield from unknown_names(body)


def unknown_names(text: str) -> Iterator[str]:
    """Yield the commands, skills and agents that a text sends to and that are not there."""
    known = {item.name for item in [*PACK.commands, *PACK.skills, *PACK.agents]}
    named = re.findall(r"\*\*([a-z]+(?:-[a-z]+)+)\*\*", text)
    yield from (f"no command, skill or agent {name}" for name in named if name not in known)
    # As a plugin they have a prefix, so a text that is read both ways tells the bare name.
    yield from (f"a slash before {name}" for name in re.findall(r"/(speckit-\w+)", text))


def test_all_nine_are_there() -> None:
    assert set(TEXTS) == NINE
    assert all(command.path.name.startswith("speckit-") for command in PACK.commands)


@pytest.mark.parametrize("command", PACK.commands, ids=lambda command: command.name)
def test_each_command_keeps_its_form(command: Command) -> None:
    assert list(faults(command)) == []


def test_a_bad_command_is_found() -> None:
    found = "\n".join(faults(BAD))
    for word in ("the model", "argument-hint", "description of", "$ARGUMENTS 2", "lines", "expands @README.md", "expands !`", "a slash before speckit-plan", "no-such-skill"):  # fmt: skip
        assert word in found
    assert "lines" not in "\n".join(faults(replace(BAD, body="\n" * 40)))


def test_nine_fit_into_their_budget() -> None:
    assert 10_000 < sum(len(command.path.read_text()) for command in PACK.commands) <= MOST_CHARACTERS


def test_every_command_says_what_comes_next() -> None:
    for name, text in TEXTS.items():
        assert "Next: " in text, name


def test_task_lines_have_one_grammar() -> None:
    lines = [line for name in TEXTS for line in TEXTS[name].splitlines() if line.startswith("- [ ] T")]
    assert len(lines) == 10
    assert [line for line in lines if not TASK.match(line)] == []
    assert not TASK.match("- [ ] T001 [P] Make it better")


def test_tasks_are_numbered_in_their_order() -> None:
    numbers = [found[2] for found in TASK.finditer(block("tasks", "markdown"))]
    assert numbers == [f"T{number:03}" for number in range(1, len(numbers) + 1)]


def test_the_design_in_plan_is_a_design() -> None:
    design = Design.model_validate(load_yaml(block("plan", "yaml")))
    assert design.metrics is not None
    assert design.metrics.primary.smallest_effect > 0
    assert design.budget.hours is not None
    assert "control" in {run.kind for run in design.runs}


def test_analyze_writes_nothing(tmp_path: Path) -> None:
    make_echo(tmp_path / "runs/echo")
    before = content(tmp_path)
    for line, there in zip(block("analyze", "sh").splitlines(), ("runs/other", "runs/echo"), strict=True):
        words = shlex.split(filled(line, {"FEATURE": "runs/echo", "EXP": there}))
        assert words.pop(0) == "tuneloop"
        subprocess.run([sys.executable, "-m", "tuneloop", *words], cwd=tmp_path, check=True, capture_output=True)
    assert content(tmp_path) == before


def test_the_reviewer_can_only_read() -> None:
    (agent,) = PACK.agents
    assert agent.name == agent.head.name == "experiment-reviewer"
    assert agent.head.tools == "Read, Grep, Glob"
    assert len(agent.head.description) <= 300
    assert len(agent.path.read_text().splitlines()) <= 110


def test_the_reviewer_makes_all_checks() -> None:
    (agent,) = PACK.agents
    rows = re.findall(r"^\| (\d+) \| [^|]+ \| [^|]+ \| [^|]+ \|$", agent.body, re.MULTILINE)
    assert [int(row) for row in rows] == list(range(1, 17))
    assert list(unknown_names(agent.body)) == []
