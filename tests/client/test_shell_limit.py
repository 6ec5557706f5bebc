"""What a shell call of the client starts goes on when the client stops the call."""

import re
import subprocess
from pathlib import Path

import pytest

from claude import LIMIT, Claude, Session
from lab import cli, make_echo, plan_id, states
from reading import Body, results
from scripted_api import Turn, Use

_MOVED = re.compile(r"moved to the background \(ID: (\w+)\)")


@pytest.mark.slow
def test_an_experiment_outlives_the_call_that_started_it(claude: Claude, tmp_path: Path) -> None:
    folder = _experiment(tmp_path, seconds=60)
    session = _start_in_a_call_of_3_seconds(claude, folder, [_stop])
    assert "Successfully stopped" in session.results[-1].text
    _goes_on_to_its_report(folder, within=180)


@pytest.mark.soak
def test_an_experiment_outlives_the_ten_minutes_of_a_call(claude: Claude, tmp_path: Path) -> None:
    """The client waits for what runs in the background, ends it after ten minutes, and tells the model."""
    folder = _experiment(tmp_path, seconds=15 * 60)
    _start_in_a_call_of_3_seconds(claude, folder, ["waiting"], limit=20 * 60)
    _goes_on_to_its_report(folder, within=540)


def _experiment(folder: Path, seconds: float) -> Path:
    """Return an experiment whose one training takes that long."""
    controls = f"{{epochs: 1, seconds: {seconds}, steps: 10, minutes: 30}}"
    return make_echo(folder / "project" / "cap", variables="{lr: [1e-3]}", controls=controls)


def _start_in_a_call_of_3_seconds(claude: Claude, folder: Path, then: list[Turn], limit: float = LIMIT) -> Session:
    command = f"tuneloop run-experiment {folder} --yes {plan_id(folder)} --follow"
    call = Use("Bash", {"command": command, "timeout": 3000})
    options = ("--allowedTools", "Bash(tuneloop:*)", "Bash(sleep:*)")
    session = claude.play(folder.parent, [call, *then, "done"], "run it", *options, limit=limit)
    assert _MOVED.search(session.results[0].text)
    assert not _followers(folder)
    assert states(folder)["train/lr1e-3"] == "running", "it had ended before the call did"
    return session


def _stop(body: Body) -> Use:
    moved = _MOVED.search(results(body)[-1].text)
    assert moved is not None
    return Use("TaskStop", {"task_id": moved[1]})


def _followers(folder: Path) -> list[str]:
    """Return the processes that follow the experiment."""
    lines = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in lines if str(folder) in line and line.endswith("--follow")]


def _goes_on_to_its_report(folder: Path, within: int) -> None:
    cli("wait", folder, "--timeout", str(within))
    assert set(states(folder).values()) == {"done"}
    assert (folder / "analysis" / "report.md").is_file()
