"""One conversation in the real client from a question to its report, without our hooks and with them.

The model is scripted; skills, commands, training and evaluation are real.
"""

from collections.abc import Sequence
from pathlib import Path

import pytest

from capitals import bring_material, design, mean_score, plan_shown, shell, wait, write
from claude import Claude, Session
from lab import cli, states
from scripted_api import Turn, Use

pytestmark = pytest.mark.train

SUBMIT = "tuneloop run-experiment runs/cap --yes"


def test_a_conversation_leads_to_a_report(claude: Claude, project: Path) -> None:
    bring_material(project)
    cli("skills", "link", "--project", project)
    allowed = ("--allowedTools", "Write", "Bash(tuneloop:*)")
    session = claude.play(project, _script(project), "Does it learn to capitalize?", *allowed)
    _ends_in_a_report(project, session)


def test_with_the_hooks_a_person_is_asked_before_compute_is_spent(claude: Claude, project: Path) -> None:
    bring_material(project)
    cli("skills", "link", "--project", project, "--with-settings")
    claude.trust(project)
    session = claude.play(
        project, _script(project), "Does it learn to capitalize?", *_writing_allowed(), consent=lambda _: True
    )
    _ends_in_a_report(project, session)
    (asked,) = session.asked
    assert str(asked.input["command"]).startswith(SUBMIT)
    assert asked.reason.startswith("Tuneloop: run-experiment runs/cap: 3 jobs")
    plan = str(asked.input["command"]).split()[4]
    assert f"plan {plan}, shown" in asked.reason


def _writing_allowed() -> tuple[str, ...]:
    """Return the permissions that a person gives for what only writes; the rest is the hooks' business."""
    commands = ("design-experiment", "scaffold-experiment", "analyze-experiment")
    return ("--allowedTools", "Write", *(f"Bash(tuneloop {command}:*)" for command in commands))


def _script(project: Path) -> Sequence[Turn]:
    return [
        _skill("design-experiment"),
        write(project / "design.yaml", design()),
        shell("tuneloop design-experiment runs/cap --from design.yaml --dry-run"),
        shell("tuneloop design-experiment runs/cap --from design.yaml"),
        _skill("scaffold-experiment"),
        shell("tuneloop scaffold-experiment runs/cap"),
        _skill("run-experiment"),
        shell("tuneloop run-experiment runs/cap --dry-run"),
        lambda body: shell(f"{SUBMIT} {plan_shown(body)} --detach"),
        lambda body: wait("tuneloop wait runs/cap", body),
        _skill("analyze-experiment"),
        shell("tuneloop analyze-experiment runs/cap"),
        Use("Read", {"file_path": str(project / "runs/cap/analysis/report.md")}),
        "It does.",
    ]


def _skill(name: str) -> Use:
    return Use("Skill", {"skill": name})


def _ends_in_a_report(project: Path, session: Session) -> None:
    assert not [result for result in session.results if result.is_error]
    *_, handed_over, waited, _, _, report = session.results
    assert "3 jobs handed over" in handed_over.text
    assert "3 done" in waited.text
    experiment = project / "runs" / "cap"
    assert set(states(experiment).values()) == {"done"}
    assert f"train {mean_score(experiment)} [" in report.text
