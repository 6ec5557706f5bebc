"""The pack's hooks in the real client: they inform, let pass or ask as designed, and one that must block blocks."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from claude import Claude, Session
from lab import cli, make_echo, plan_id, run, states, until
from reading import everything
from scripted_api import Turn, Use

pytestmark = pytest.mark.slow

BLOCKER = '''\
"""A hook for tests: nothing may be written to a file called `forbidden`."""

import sys


def answer(event):
    if event["tool_input"]["file_path"].endswith("forbidden"):
        sys.stderr.write("not this one\\n")
        sys.exit(2)
    return None
'''


@pytest.fixture
def hooked(claude: Claude, project: Path) -> Path:
    """A project with the pack's hooks and permissions in its settings, and trusted."""
    cli("skills", "link", "--project", project, "--with-settings")
    claude.trust(project)
    return project


@pytest.fixture
def experiment(claude: Claude, project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scaffolded experiment in the project; what tests type and what the client types share one memory."""
    monkeypatch.setenv("XDG_STATE_HOME", claude.environment("")["XDG_STATE_HOME"])
    return make_echo(project / "cap", variables="{lr: [1e-3]}", controls="{epochs: 1, seconds: 0.2, steps: 2}")


def test_a_session_is_told_what_goes_on(claude: Claude, hooked: Path, experiment: Path) -> None:
    quiet = claude.play(hooked, ["done"], "hello")
    assert [hook["exit_code"] for hook in quiet.hooks("SessionStart")] == [0]
    assert "Tuneloop: cap" not in everything(quiet.first)
    (experiment / "experiment_summary.md").write_text(
        (experiment / "experiment_summary.md").read_text().replace("seconds: 0.2", "seconds: 60")
    )
    cli("scaffold-experiment", experiment)
    run(experiment, "--detach")
    until(lambda: states(experiment)["train/lr1e-3"] == "running", what="the training")
    session = claude.play(hooked, ["done"], "hello")
    cli("cancel", experiment)
    assert [hook["exit_code"] for hook in session.hooks("SessionStart")] == [0]
    assert "Tuneloop: cap: 1 running" in everything(session.first)


@pytest.mark.parametrize("command", ["tuneloop status cap", "tuneloop run-experiment cap --dry-run"])
def test_reading_commands_pass_unasked(claude: Claude, hooked: Path, experiment: Path, command: str) -> None:
    session = _type(claude, hooked, [_shell(command)], agrees=False)
    assert session.asked == []
    assert not session.results[0].is_error
    shutil.rmtree(hooked / ".claude")
    session = _type(claude, hooked, [_shell(command)], agrees=False)
    assert len(session.asked) == 1, "the client lets it pass without our hooks, too"


@pytest.mark.parametrize("agrees", [True, False])
def test_submitting_asks_with_the_plan(claude: Claude, hooked: Path, experiment: Path, *, agrees: bool) -> None:
    plan = plan_id(experiment)
    turns = [
        _shell("tuneloop run-experiment cap --dry-run"),
        _shell(f"tuneloop run-experiment cap --yes {plan} --follow"),
    ]
    session = _type(claude, hooked, turns, agrees=agrees)
    (asked,) = session.asked
    assert asked.input["command"] == turns[1].input["command"]
    assert asked.reason.startswith("Tuneloop: run-experiment cap: 4 jobs")
    assert f"plan {plan}, shown" in asked.reason
    assert session.results[-1].is_error != agrees
    assert set(states(experiment).values()) == ({"done"} if agrees else {"planned"})


def test_an_outdated_plan_is_named(claude: Claude, hooked: Path, experiment: Path) -> None:
    plan = plan_id(experiment)
    summary = experiment / "experiment_summary.md"
    summary.write_text(summary.read_text().replace("seconds: 0.2", "seconds: 0.3"))
    session = _type(claude, hooked, [_shell(f"tuneloop run-experiment cap --yes {plan}")], agrees=False)
    assert "has changed since its dry run" in session.asked[0].reason


def test_a_permission_of_the_client_does_not_silence_the_question(
    claude: Claude, project: Path, checkout: Path, experiment: Path
) -> None:
    session = _with_plugin(claude, project, checkout)
    assert [asked.reason for asked in session.asked] == [
        "Tuneloop: cancel cap: no dry run of it is known; `--dry-run` shows what it would do"
    ]


def test_nothing_is_blocked_without_the_library(
    claude: Claude, project: Path, checkout: Path, experiment: Path, tmp_path: Path
) -> None:
    pack = shutil.copytree(checkout, tmp_path / "pack", symlinks=True)
    shutil.rmtree(pack / "lib")
    session = _with_plugin(claude, project, pack)
    assert session.asked == []
    assert [hook["exit_code"] for hook in session.hooks("PreToolUse")] == [0]
    assert "nothing" in session.results[0].text


def test_nothing_asks_in_the_packs_own_checkout(
    claude: Claude, checkout: Path, experiment: Path, tmp_path: Path
) -> None:
    own = shutil.copytree(checkout, tmp_path / "own", symlinks=True)
    shutil.copytree(experiment, own / "cap")
    session = _with_plugin(claude, own, own)
    assert session.asked == []
    assert "nothing" in session.results[0].text


def test_a_project_stays_guarded_from_within_the_packs_checkout(
    claude: Claude, project: Path, checkout: Path, experiment: Path
) -> None:
    turns = [_shell(f"cd {checkout}"), _shell("pwd"), _shell(f"tuneloop cancel {experiment}")]
    allowed = ("--allowedTools", "Bash(tuneloop:*)", "Bash(cd:*)", "Bash(pwd)")
    options = ("--plugin-dir", str(checkout), "--add-dir", str(checkout), *allowed)
    session = _type(claude, project, turns, *options, agrees=False)
    assert session.results[1].text == str(checkout)
    assert [asked.input["command"] for asked in session.asked] == [turns[-1].input["command"]]
    assert session.asked[0].reason.startswith("Tuneloop: cancel ")
    assert session.results[-1].is_error


def test_a_hook_that_must_block_blocks(claude: Claude, project: Path, checkout: Path, tmp_path: Path) -> None:
    pack = tmp_path / "the pack"
    shutil.copytree(checkout / "hooks", pack / "hooks")
    shutil.copytree(checkout / "lib", pack / "lib")
    (pack / "lib" / "tuneloop" / "hooks" / "blocker.py").write_text(BLOCKER)
    hook = {"type": "command", "command": f'"{pack}/hooks/launch" --must blocker || exit 2'}
    settings = project / ".claude" / "settings.json"
    settings.parent.mkdir()
    settings.write_text(json.dumps({"hooks": {"PreToolUse": [{"matcher": "Write", "hooks": [hook]}]}}))

    turns = [_write(project / "allowed"), _write(project / "forbidden")]
    session = claude.play(project, [*turns, "done"], "hello", "--allowedTools", "Write")
    assert [hook["exit_code"] for hook in session.hooks("PreToolUse")] == [0, 2]
    assert "not this one" in session.results[1].text
    assert ((project / "allowed").exists(), (project / "forbidden").exists()) == (True, False)

    shutil.rmtree(pack / "lib")
    session = claude.play(project, [_write(project / "second"), "done"], "hello", "--allowedTools", "Write")
    assert [hook["exit_code"] for hook in session.hooks("PreToolUse")] == [2]
    assert not (project / "second").exists()


def _with_plugin(claude: Claude, project: Path, pack: Path) -> Session:
    """Cancel what is not going, with the plugin and a permission that the client has been given."""
    options = ("--plugin-dir", str(pack), "--allowedTools", "Bash(tuneloop:*)")
    return _type(claude, project, [_shell("tuneloop cancel cap")], *options, agrees=False)


def _type(claude: Claude, project: Path, turns: Sequence[Turn], *options: str, agrees: bool) -> Session:
    """Play with somebody who answers every question alike."""
    return claude.play(project, [*turns, "done"], "hello", *options, consent=lambda _: agrees)


def _shell(command: str) -> Use:
    return Use("Bash", {"command": command})


def _write(path: Path) -> Use:
    return Use("Write", {"file_path": str(path), "content": "text"})
