"""The pack's skills keep their form, are linked for Claude Code, and their settings only let reading pass."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from docs_reading import ROOT, SKILLS
from packaging.requirements import Requirement

from tuneloop.documents.frontmatter import StrictYAMLHandler

MOST_DESCRIBED = 3000  # characters; clients share some 8,000 between the descriptions of all skills
BAD_SKILL = f"""\
---
name: other-name
description: "{"long " * 80}"
allowed-tools: Bash
metadata:
  version: 0.1
  category: "experiment"
  requires: "no-such-skill>=1"
---

# Too short
"""


def skill_faults(text: str, folder: Path) -> Iterator[str]:
    head = yaml.safe_load(StrictYAMLHandler(folder / "SKILL.md").split(text)[0])
    if set(head) != {"name", "description", "metadata"}:
        yield f"keys: {sorted(head)}"
    if head["name"] != folder.name:
        yield f"name {head['name']} in the folder {folder.name}"
    if not 60 <= len(head["description"]) <= 300:
        yield f"description of {len(head['description'])} characters"
    if not 30 <= len(text.splitlines()) <= 120:
        yield f"{len(text.splitlines())} lines"
    metadata = head["metadata"]
    if set(metadata) != {"version", "category", "requires"} or not all(isinstance(v, str) for v in metadata.values()):
        yield f"metadata: {metadata}"
    if metadata.get("category") != folder.parent.name:
        yield f"category {metadata.get('category')} in {folder.parent.name}"
    yield from (f"requires unknown {name}" for name in required(metadata) if name not in skill_names())
    link = ROOT / ".claude/skills" / folder.name
    if not link.is_symlink() or link.resolve() != folder.resolve() or link.readlink().is_absolute():
        yield "not linked from .claude/skills"


def required(metadata: dict[str, Any]) -> list[str]:
    return [Requirement(item).name for item in metadata.get("requires", "").split(";") if item.strip()]


def skill_names() -> set[str]:
    return {path.parent.name for path in SKILLS}


def metadata_of(path: Path) -> dict[str, Any]:
    head: dict[str, Any] = yaml.safe_load(StrictYAMLHandler(path).split(path.read_text())[0])
    return head


@pytest.mark.parametrize("path", SKILLS, ids=lambda path: path.parent.name)
def test_skills_keep_their_form(path: Path) -> None:
    assert list(skill_faults(path.read_text(), path.parent)) == []


def test_bad_skill_is_rejected() -> None:
    faults = "\n".join(skill_faults(BAD_SKILL, ROOT / "skills/experiment/run-inspect-not"))
    for word in ("keys:", "other-name", "description of", "lines", "metadata:", "no-such-skill", "not linked"):
        assert word in faults


def test_descriptions_fit_together() -> None:
    assert 1000 < sum(len(metadata_of(path)["description"]) for path in SKILLS) <= MOST_DESCRIBED


def test_skills_require_without_a_circle() -> None:
    needs = {path.parent.name: set(required(metadata_of(path)["metadata"])) for path in SKILLS}
    while needs:
        free = {name for name, wanted in needs.items() if not wanted & set(needs)}
        assert free, f"a circle among {sorted(needs)}"
        needs = {name: wanted for name, wanted in needs.items() if name not in free}


def test_links_to_skills_all_resolve() -> None:
    links = list((ROOT / ".claude/skills").iterdir())
    assert {link.name for link in links} == skill_names()
    assert all(link.is_symlink() and (link / "SKILL.md").is_file() for link in links)


def test_settings_allow_reading_only() -> None:
    settings = json.loads((ROOT / ".claude/settings.json").read_text())
    assert list(settings) == ["permissions"]
    assert list(settings["permissions"]) == ["allow"]
    reading = r"Bash\((?:\.venv/bin/)?tuneloop (?:--help|--version|(?:status|wait|explain|config|logs|sample|doctor)(?::\*)?)\)"
    for rule in settings["permissions"]["allow"]:
        assert re.fullmatch(reading, rule), rule
