"""The manifests of plugin and marketplace, against the folder, the library and the README that they speak of."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import tuneloop
from tuneloop.librarian.pack import read_pack

ROOT = Path(__file__).resolve().parents[2]
PLUGIN: Any = json.loads((ROOT / ".claude-plugin" / "plugin.json").read_text())
MARKETPLACE: Any = json.loads((ROOT / ".claude-plugin" / "marketplace.json").read_text())
(ENTRY,) = MARKETPLACE["plugins"]


def install_lines() -> list[str]:
    """Return what a person types in a clone to get the plugin, or the skills alone."""
    return [
        "claude plugin marketplace add ./",
        f"claude plugin install {PLUGIN['name']}@{MARKETPLACE['name']}",
        f"{next(iter(project()['scripts']))} skills link",
    ]


def project() -> Any:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def missing_lines(document: str) -> list[str]:
    """Return the install lines that no fenced block of a document holds."""
    typed = {
        line.partition("#")[0].strip()
        for block in re.findall(r"```sh\n(.*?)```", document, re.DOTALL)
        for line in block.splitlines()
    }
    return [line for line in install_lines() if line not in typed]


def different(versions: dict[str, str]) -> set[str]:
    return set(versions.values()) if len(set(versions.values())) > 1 else set()


def test_there_is_one_version() -> None:
    versions = {
        "library": tuneloop.__version__,
        "project": project()["version"],
        "plugin": PLUGIN["version"],
        "marketplace": ENTRY["version"],
    }
    assert not different(versions), versions
    assert different({**versions, "plugin": "0.0.9"})


def test_the_marketplace_offers_this_plugin() -> None:
    assert (ENTRY["name"], ENTRY["source"]) == (PLUGIN["name"], "./")
    assert ENTRY["description"] == PLUGIN["description"] == project()["description"]
    assert MARKETPLACE["owner"] == PLUGIN["author"]


def test_every_category_of_skills_is_listed() -> None:
    categories = {f"./skills/{skill.category}" for skill in read_pack(ROOT).skills}
    assert categories
    assert PLUGIN["skills"] == sorted(categories)


def test_the_readme_says_how_to_install() -> None:
    assert not missing_lines((ROOT / "README.md").read_text())
    assert missing_lines("```sh\nclaude plugin install other@tuneloop\n```") == install_lines()


@pytest.mark.parametrize("name", ["hooks/launch", "bin/tuneloop", "bin/tuneloop-setup"])
def test_what_the_client_starts_may_be_executed(name: str) -> None:
    assert (ROOT / name).stat().st_mode & 0o111 == 0o111


def test_hooks_begin_with_the_launcher() -> None:
    hooks = json.loads((ROOT / "hooks" / "hooks.json").read_text())["hooks"]
    commands = [hook["command"] for groups in hooks.values() for group in groups for hook in group["hooks"]]
    assert len(commands) == 2
    for command in commands:
        name = command.removeprefix('"${CLAUDE_PLUGIN_ROOT}/hooks/launch" ')
        assert (ROOT / "lib" / "tuneloop" / "hooks" / f"{name}.py").is_file(), command
