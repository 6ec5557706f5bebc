"""The real client finds the pack: in the repository, linked into a project, as a plugin, and installed as one."""

import html
import re
import shutil
from pathlib import Path

import pytest

from claude import Claude
from lab import make_echo, run
from reading import Body, agents_offered, everything, skills_offered
from scripted_api import Turn, Use
from tuneloop.librarian.pack import Pack
from ways import Way

pytestmark = pytest.mark.slow

_START = re.compile(r"Start with `(tuneloop [^`]+)`")


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished experiment of the echo workers."""
    folder = make_echo(tmp_path_factory.mktemp("lab") / "cap", controls="{epochs: 1, seconds: 0.1, steps: 2}")
    run(folder)
    return folder


def test_every_skill_command_and_agent_is_there_once(claude: Claude, way: Way, pack: Pack) -> None:
    session = claude.play(way.project, ["done"], "hello", *way.options)
    skills = {way.prefix + skill.name: skill.head.description for skill in pack.chosen()}
    offered = skills_offered(session.first)
    assert _ours(offered, pack) == sorted(skills.items())
    assert set(skills) <= set(session.init["skills"])

    commands = {way.prefix + command.name for command in pack.commands}
    assert len(commands) == 9
    assert commands <= set(session.init["slash_commands"])
    assert not commands & dict(offered).keys(), "the model may not start a command by itself"

    agents = {way.prefix + agent.name: agent.head.description for agent in pack.agents}
    listed = dict(agents_offered(session.first))
    assert agents == {name: listed[name].rpartition(" (Tools:")[0] for name in agents}
    assert agents
    assert len(session.init["agents"]) == len(set(session.init["agents"]))


def test_every_skill_loads_whole(claude: Claude, way: Way, pack: Pack) -> None:
    names = [way.prefix + skill.name for skill in pack.chosen()]
    session = claude.play(way.project, [*map(_load, names), "done"], "hello", *way.options)
    assert [result.text for result in session.results] == [f"Launching skill: {name}" for name in names]
    text = everything(session.last)
    assert not [skill.name for skill in pack.chosen() if skill.body.strip() not in text]


@pytest.mark.slow
def test_the_first_command_of_every_skill_runs(claude: Claude, checkout: Path, pack: Pack, experiment: Path) -> None:
    script: list[Turn] = []
    for skill in pack.chosen():
        script += [_load(skill.name), lambda body: _first_command(body, experiment)]
    session = claude.play(checkout, [*script, "done"], "hello", "--allowedTools", "Bash(tuneloop:*)")
    printed = session.results[1::2]
    assert len(printed) == len(pack.chosen())
    assert not [result.text for result in printed if result.is_error or not result.text]


def test_a_skill_without_its_link_is_unknown(claude: Claude, checkout: Path, tmp_path: Path) -> None:
    project = shutil.copytree(checkout, tmp_path / "tuneloop", symlinks=True)
    (project / ".claude" / "skills" / "run-experiment").unlink()
    session = claude.play(project, [Use("Skill", {"skill": "run-experiment"}), "done"], "hello")
    assert "run-experiment" not in dict(skills_offered(session.first))
    assert session.results[0].is_error
    assert "Unknown skill: run-experiment" in session.results[0].text


def test_an_empty_project_offers_nothing_of_ours(claude: Claude, pack: Pack, tmp_path: Path) -> None:
    session = claude.play(tmp_path, ["done"], "hello")
    assert skills_offered(session.first), "the client's own skills were not found, so nothing was read"
    assert _ours(skills_offered(session.first), pack) == []


def _ours(offered: list[tuple[str, str]], pack: Pack) -> list[tuple[str, str]]:
    """Return what is offered under a name or with a description of ours."""
    names = {skill.name for skill in pack.skills}
    texts = {skill.head.description for skill in pack.skills}
    plain = [(name, html.unescape(text)) for name, text in offered]
    return sorted((name, text) for name, text in plain if name.rpartition(":")[2] in names or text in texts)


def _load(name: str) -> Use:
    return Use("Skill", {"skill": name})


def _first_command(body: Body, experiment: Path) -> Use:
    """Type what the skill that was loaded last says to start with."""
    command = _START.findall(everything(body))[-1]
    return Use("Bash", {"command": re.sub(r"\bEXP\b", str(experiment), command)})
