"""The suite in `evals/` is one that the client's own `plugin eval` takes, scores right choices and finds wrong ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from claude import Claude
from scripted_api import ScriptedApi, Turn, Use
from ways import PLUGIN

pytestmark = pytest.mark.slow


def test_right_choices_score_in_full(claude: Claude, checkout: Path, tmp_path: Path) -> None:
    script = {prompt: _choosing(name) for name, prompt in _cases(checkout).items()}
    scores = _scores(claude, checkout, script, tmp_path)
    assert scores == dict.fromkeys(_cases(checkout), 1)
    assert len(scores) > 9


def test_a_model_that_always_picks_one_skill_is_found_out(claude: Claude, checkout: Path, tmp_path: Path) -> None:
    script = {prompt: _choosing("run-inspect") for prompt in _cases(checkout).values()}
    scores = _scores(claude, checkout, script, tmp_path)
    assert scores == {name: int(name == "run-inspect") for name in _cases(checkout)}


def _cases(checkout: Path) -> dict[str, str]:
    """Return the request of each case by its name."""
    prompts = sorted((checkout / "evals").glob("*/prompt.md"))
    return {path.parent.name: path.read_text().rpartition("---\n")[2].strip() for path in prompts}


def _choosing(name: str) -> list[Turn]:
    return ["done"] if name == "nothing" else [Use("Skill", {"skill": f"{PLUGIN}:{name}"}), "done"]


def _scores(claude: Claude, checkout: Path, script: dict[str, list[Turn]], folder: Path) -> dict[str, Any]:
    options = ("--trust-plugin", "--ablation", "none", "--no-publish", "--runs", "1", "-j", "2", "--output-dir", folder)
    with ScriptedApi(script, replayed=True) as api:
        done = claude.command("plugin", "eval", checkout, *options, cwd=folder, url=api.url, check=False)
        assert api.faults() == [], done.stdout + done.stderr
    found = list(folder.glob("**/aggregate-result.json"))
    assert len(found) == 1, done.stdout + done.stderr
    return {case["name"]: case["aggregates"]["score"] for case in json.loads(found[0].read_text())["cases"]}
