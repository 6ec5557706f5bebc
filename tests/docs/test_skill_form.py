"""The pack's skills keep their form, the reference library takes them, and they are linked for Claude Code."""

from pathlib import Path

import pytest
from docs_reading import ROOT
from skills_ref import validate

from tuneloop.documents.schema import validate as read_as
from tuneloop.documents.yamltext import load_yaml
from tuneloop.experiment.design import Design
from tuneloop.experiment.design import faults as design_faults
from tuneloop.librarian.lint import faults
from tuneloop.librarian.pack import Skill, read_pack

PACK = read_pack(ROOT)
MOST_DESCRIBED = 3000  # characters; clients share some 8,000 between the descriptions of all skills
BAD_SKILL = """\
---
name: other-name
description: ""
dependencies: [many]
---

# Too short
"""


def test_the_pack_keeps_its_form() -> None:
    assert len(PACK.skills) >= 9
    assert [str(problem) for problem in faults(PACK)] == []


@pytest.mark.parametrize("skill", PACK.skills, ids=lambda skill: skill.name)
def test_a_skill_can_be_read_and_listed(skill: Skill) -> None:
    assert skill.head.model_fields_set == {"name", "description", "license", "metadata"}
    assert 60 <= len(skill.head.description) <= 300
    assert 30 <= len((skill.folder / "SKILL.md").read_text().splitlines()) <= 120


@pytest.mark.parametrize("skill", PACK.skills, ids=lambda skill: skill.name)
def test_the_reference_library_takes_a_skill(skill: Skill) -> None:
    assert validate(skill.folder) == []


def test_the_reference_library_refuses_a_bad_skill(tmp_path: Path) -> None:
    (tmp_path / "SKILL.md").write_text(BAD_SKILL)
    assert validate(tmp_path)
    (tmp_path / "SKILL.md").write_text(BAD_SKILL.replace("dependencies: [many]\n", ""))
    said = "\n".join(validate(tmp_path))
    assert "must match skill name" in said
    assert "'description'" in said


def test_designs_to_copy_are_sound() -> None:
    """A design that a skill carries is read as one that a person wrote, apart from the files it names."""
    paths = sorted(ROOT.glob("skills/*/*/assets/*.yaml"))
    assert paths
    for path in paths:
        assert list(design_faults(read_as(Design, load_yaml(path.read_text(), path), path))) == []


def test_descriptions_fit_together() -> None:
    assert 1000 < sum(len(skill.head.description) for skill in PACK.skills) <= MOST_DESCRIBED


def test_links_to_skills_all_resolve() -> None:
    links = {link.name: link for link in (ROOT / ".claude/skills").iterdir()}
    assert set(links) == {skill.name for skill in PACK.chosen()}
    for skill in PACK.chosen():
        link = links[skill.name]
        assert link.is_symlink()
        assert link.resolve() == skill.folder.resolve()
        assert not link.readlink().is_absolute()
