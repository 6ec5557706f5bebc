"""Beside the real spec-kit: its own commands stay, and its files are left alone."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from librarian_support import state

from places import missing

SPECIFY = Path(sys.executable).with_name("specify")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that spec-kit itself has set up."""
    if shutil.which(SPECIFY) is None:
        missing("spec-kit", "`specify` is not installed: `make setup`")
    folder = tmp_path / "project"
    folder.mkdir()
    words = ["init", "--here", "--force", "--non-interactive", "--integration", "claude", "--ignore-agent-tools"]
    subprocess.run([SPECIFY, *words], cwd=folder, check=True, capture_output=True)
    assert (folder / ".claude/skills/speckit-plan/SKILL.md").is_file()
    return folder


def skills(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "tuneloop", "skills", *words]
    return subprocess.run(argv, cwd=project, check=True, capture_output=True, text=True)


def test_spec_kit_keeps_its_commands_and_its_files(project: Path) -> None:
    before = state(project)
    done = skills(project, "link")
    assert "spec-kit" in done.stdout + done.stderr
    assert not list(project.glob(".claude/commands/speckit*"))
    assert (project / ".claude/skills/design-experiment/SKILL.md").is_file()
    assert before.items() <= state(project).items()
    skills(project, "unlink")
    assert state(project) == before


def test_spec_kit_set_up_later_takes_the_names_over(project: Path) -> None:
    """Linked first, then `specify init`: the next `link` takes our commands out."""
    for folder in (".specify", ".claude"):
        (project / folder).rename(project.parent / folder)
    skills(project, "link")
    assert (project / ".claude/commands/speckit-plan.md").is_file()
    for folder in (".specify", ".claude"):
        shutil.copytree(project.parent / folder, project / folder, dirs_exist_ok=True)
    skills(project, "link")
    assert not list(project.glob(".claude/commands/speckit*"))
