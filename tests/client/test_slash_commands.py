"""Slash commands expand in the real client, with their arguments, under both of their names."""

from collections.abc import Callable
from pathlib import Path

import pytest

from claude import Claude
from reading import everything
from tuneloop.librarian.pack import Pack
from ways import Way, linked, repository

pytestmark = pytest.mark.slow

WORDS = "three words, and $9 more"


def test_a_command_expands_with_its_arguments(claude: Claude, way: Way, pack: Pack) -> None:
    assert len(pack.commands) == 9
    chosen = pack.commands if way.prefix == "" else pack.commands[:1]
    for command in chosen:
        session = claude.play(way.project, ["done"], f"/{way.prefix}{command.name} {WORDS}", *way.options)
        assert command.body.replace("$ARGUMENTS", WORDS).strip() in everything(session.first)


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
