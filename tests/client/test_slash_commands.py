"""Slash commands expand in the real client, with their arguments, under both of their names."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from claude import ROOT, Claude
from reading import everything
from tuneloop.librarian.pack import Pack
from ways import PLUGIN, Way, linked, repository

pytestmark = pytest.mark.slow

README = ROOT / "README.md"
WORDS = "three words, and $9 more"


def test_every_command_expands_with_its_arguments(claude: Claude, way: Way, pack: Pack) -> None:
    assert len(pack.commands) == 9
    for command in pack.commands:
        session = claude.play(way.project, ["done"], f"/{way.prefix}{command.name} {WORDS}", *way.options)
        assert command.body.replace("$ARGUMENTS", WORDS).strip() in everything(session.first)


def test_the_readme_has_the_name_that_a_plugin_gives_a_command(pack: Pack) -> None:
    told = set(re.findall(rf"`/{PLUGIN}:([\w-]+)`", README.read_text()))
    assert told
    assert told <= {command.name for command in pack.commands}


@pytest.mark.parametrize("way", [repository, linked], ids=lambda way: way.__name__)
def test_a_dotted_name_leads_to_the_command(
    claude: Claude, checkout: Path, project: Path, pack: Pack, way: Callable[[Claude, Path, Path], Way]
) -> None:
    here = way(claude, checkout, project)
    for command in pack.commands:
        session = claude.play(here.project, ["done"], f"/{command.name.replace('-', '.')} {WORDS}")
        text = everything(session.first)
        assert command.body.splitlines()[-1] in text, "the file that it names was not attached"
        assert WORDS in text


@pytest.mark.parametrize("name", ["speckit-plans", "speckit.plans"])
def test_an_unknown_command_expands_to_nothing(claude: Claude, checkout: Path, pack: Pack, name: str) -> None:
    text = everything(claude.play(checkout, ["done"], f"/{name} {WORDS}").first)
    assert not [command.name for command in pack.commands if command.body.splitlines()[-1] in text]
