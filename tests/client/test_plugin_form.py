"""The client's own check of the plugin and its marketplace: strictly valid, and everything in it is provided."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from claude import Claude
from tuneloop.librarian.pack import Pack
from ways import PLUGIN


def test_the_plugin_is_valid_and_provides_the_whole_pack(claude: Claude, checkout: Path, pack: Pack) -> None:
    found = _validate(claude, checkout / ".claude-plugin" / "plugin.json")
    assert found["success"], found
    provided = found["provides"]
    assert sorted(provided["skills"]) == sorted(f"{PLUGIN}:{skill.name}" for skill in pack.skills)
    assert sorted(provided["commands"]) == sorted(f"{PLUGIN}:{command.name}" for command in pack.commands)
    assert sorted(provided["agents"]) == sorted(f"{PLUGIN}:{agent.name}" for agent in pack.agents)
    assert len(provided["hooks"]) == 2


def test_the_marketplace_is_valid(claude: Claude, checkout: Path) -> None:
    assert _validate(claude, checkout / ".claude-plugin" / "marketplace.json")["success"]


@pytest.mark.parametrize(
    ("change", "fault"),
    [({"name": "two words"}, "errors"), ({"skill": ["./skills"]}, "warnings"), ({"skills": ["./nowhere"]}, "errors")],
    ids=["name", "unknown key", "no such folder"],
)
def test_a_fault_of_the_manifest_is_found(
    claude: Claude, checkout: Path, tmp_path: Path, change: dict[str, Any], fault: str
) -> None:
    pack = shutil.copytree(checkout, tmp_path / "pack", symlinks=True)
    manifest = pack / ".claude-plugin" / "plugin.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | change))
    found = _validate(claude, manifest)
    assert not found["success"]
    assert found["manifest"][fault]


def test_a_nested_skill_is_missing_from_what_is_provided(claude: Claude, checkout: Path, tmp_path: Path) -> None:
    pack = shutil.copytree(checkout, tmp_path / "pack", symlinks=True)
    skills = pack / "skills" / "experiment"
    (skills / "deeper").mkdir()
    (skills / "run-experiment").rename(skills / "deeper" / "run-experiment")
    provided = _validate(claude, pack / ".claude-plugin" / "plugin.json")["provides"]["skills"]
    assert provided
    assert f"{PLUGIN}:run-experiment" not in provided


def _validate(claude: Claude, target: Path) -> Any:
    done = claude.command("plugin", "validate", target, "--strict", "--json", cwd=target.parent, check=False)
    return json.loads(done.stdout)
