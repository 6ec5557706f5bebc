"""From a sentence to an analyzed experiment by the slash commands, in the real client.

The scripted model takes the shapes and the commands from the texts that the client hands it, and nothing else;
`tests/commands` walks the same way without a client.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from capitals import bring_material, plan_shown, shell, wait, write
from claude import Claude
from lab import cli, states
from reading import Body, everything, flatten
from scripted_api import Turn, Use
from spec_texts import EXP, FEATURE, SPECIFICATION, WORDS, cut, fenced, filled

pytestmark = pytest.mark.train

BEFORE_CONSENT = ["T001", "T002", "T003", "T004", "T005"]
AFTER_CONSENT = ["T006", "T007", "T008"]
_PROOF = r"^- \[ \] {task} .*: `([^`]+)`$"


def test_four_commands_lead_from_a_sentence_to_a_report(claude: Claude, project: Path) -> None:
    bring_material(project)
    cli("skills", "link", "--project", project)
    specification = [
        write(project / FEATURE / "spec.md", SPECIFICATION),
        write(project / FEATURE / "checklists" / "requirements.md", "- [X] CHK001 Each criterion has a number\n"),
        write(project / ".specify" / "feature.json", json.dumps({"feature_directory": FEATURE})),
    ]
    _play(claude, project, specification, f"/speckit-specify {WORDS['QUESTION']}")
    _play(claude, project, _planning(project), "/speckit-plan at most one hour")
    _play(
        claude,
        project,
        [lambda body: write(project / FEATURE / "tasks.md", _block(body, "markdown"))],
        "/speckit-tasks",
    )

    tasks = project / FEATURE / "tasks.md"
    _play(claude, project, [_do(tasks, task) for task in BEFORE_CONSENT], "/speckit-implement")
    assert set(states(project / EXP).values()) == {"planned"}, "compute was spent before a yes"
    rest = [
        *(_do(tasks, task) for task in AFTER_CONSENT),
        Use("Read", {"file_path": str(project / EXP / "analysis/report.md")}),
    ]
    _play(claude, project, [*rest, _close(project), _do(tasks, "T009")], "yes, that plan", "--continue")

    assert re.findall(r"^- \[(.)\] T\d{3}", tasks.read_text(), re.MULTILINE) == ["X"] * 9
    assert set(states(project / EXP).values()) == {"done"}
    report = (project / EXP / "analysis" / "report.md").read_text()
    assert f"**Question.** {WORDS['QUESTION']}" in report


def _play(claude: Claude, project: Path, turns: Sequence[Turn], prompt: str, *options: str) -> None:
    """Play one command; every tool that it used must have worked."""
    allowed = ("Write", "Bash(tuneloop:*)", "Bash(sed:*)", "Bash(grep:*)", "Bash(echo:*)")
    session = claude.play(
        project, [*turns, "done"], prompt, *options, "--permission-mode", "acceptEdits", "--allowedTools", *allowed
    )
    assert len(session.results) >= len(turns)
    assert not [result.text for result in session.results if result.is_error]


def _planning(project: Path) -> list[Turn]:
    def design(body: Body) -> Use:
        return write(project / FEATURE / "design.yaml", cut(_block(body, "yaml")))

    make_task, dry_run = (lambda body, line=line: shell(_block(body, "sh").splitlines()[line]) for line in (0, 1))
    return [Use("Skill", {"skill": "design-experiment"}), design, make_task, dry_run]


def _do(tasks: Path, task: str) -> Turn:
    """Type a task's proof, and tick its box by the exit code."""

    def turn(body: Body) -> Use:
        proof = re.search(_PROOF.format(task=task), tasks.read_text(), re.MULTILINE)
        assert proof is not None, task
        command = proof[1].replace("PLAN", plan_shown(body)) if "PLAN" in proof[1] else proof[1]
        line = f"{command} && sed -i 's/- \\[ \\] {task} /- [X] {task} /' {FEATURE}/tasks.md"
        return wait(line, body) if command.startswith("tuneloop wait") else shell(line)

    return turn


def _close(project: Path) -> Turn:
    """Write the end of the criterion with the numbers of the report, which the model has read before."""

    def turn(body: Body) -> Use:
        answer = re.search(r"\*\*Answer\.\*\* (.*)", everything(body))
        assert answer is not None
        verdict = "passed" if "better" in answer[1] else "failed"
        return shell(f"echo '- SC-001: {verdict}, {answer[1]}' >> {EXP}/experiment_summary.md")

    return turn


def _block(body: Body, language: str) -> str:
    """Return the block of this language in the command's text as the client delivered it, its placeholders filled."""
    return filled(fenced(flatten(body["messages"][0]["content"]), language))
