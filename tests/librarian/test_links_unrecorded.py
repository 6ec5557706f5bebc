"""A record of the links that was lost: what is exactly as `link` makes it is ours again, and nothing else is."""

import json
from pathlib import Path

import pytest
from librarian_support import link, linked, state, unlink, wish, write

from tuneloop.librarian.health import faults
from tuneloop.librarian.links import plan_link
from tuneloop.librarian.pack import Pack
from tuneloop.librarian.settings import additions
from tuneloop.librarian.target import for_project
from typed import tuneloop

RULES = ["Bash(tuneloop status:*)", "Bash(tuneloop wait:*)"]


def lose_the_record(project: Path) -> None:
    (project / ".claude/tuneloop.json").unlink()


def test_links_and_settings_without_a_record_are_ours_again(pack: Pack, project: Path) -> None:
    wanted = additions(pack.root, RULES)
    link(pack, project, additions=wanted, merge=True)
    before = state(project)
    lose_the_record(project)
    plan = link(pack, project, additions=wanted)
    assert plan.to_do
    assert "8 places and the settings are as `link` makes them" in plan.said[0]
    assert state(project).keys() == before.keys()
    assert not link(pack, project, additions=wanted).to_do
    unlink(project)
    assert state(project) == {}


def test_links_alone_may_be_a_persons_own(pack: Pack, project: Path) -> None:
    link(pack, project, "do-it")
    lose_the_record(project)
    before = state(project)
    link(pack, project, "do-it")
    unlink(project)
    assert state(project) == before


@pytest.mark.parametrize("asked", [True, False])
def test_copies_without_a_record_are_ours_again(asked: bool, pack: Pack, project: Path) -> None:
    link(pack, project, copy=True)
    lose_the_record(project)
    link(pack, project, copy=asked)
    unlink(project)
    assert state(project) == {}


def test_what_differs_is_left_and_told(pack: Pack, project: Path) -> None:
    link(pack, project)
    (project / ".claude/skills/do-it").unlink()
    (project / ".claude/skills/do-it").symlink_to(pack.root)
    (project / ".claude/commands/overview.md").unlink()
    (project / ".claude/commands/overview.md").write_text("mine")
    lose_the_record(project)
    plan = link(pack, project)
    assert {step.place for step in plan.left} == {"skills/do-it", "commands/overview.md"}
    unlink(project)
    assert (project / ".claude/skills/do-it").is_symlink()
    assert (project / ".claude/commands/overview.md").read_text() == "mine"
    assert linked(project) == {"commands/overview.md"}


def test_settings_of_a_person_s_own_are_not_taken_for_ours(pack: Pack, project: Path) -> None:
    wanted = additions(pack.root, RULES)
    own = {"permissions": {"allow": RULES}, "model": "opus"}
    path = write(project / ".claude/settings.json", json.dumps(own))
    link(pack, project, "do-it", additions=wanted)
    lose_the_record(project)
    link(pack, project, additions=wanted)
    unlink(project)
    assert json.loads(path.read_text()) == own


def test_what_a_person_has_beside_ours_in_the_settings_stays(pack: Pack, project: Path) -> None:
    wanted = additions(pack.root, RULES)
    own = {"model": "opus", "permissions": {"allow": ["Read"]}, "hooks": {"Stop": []}}
    path = write(project / ".claude/settings.json", json.dumps(own))
    link(pack, project, additions=wanted, merge=True)
    lose_the_record(project)
    link(pack, project, additions=wanted)
    unlink(project)
    assert json.loads(path.read_text()) == own


def test_a_lost_record_is_told_with_what_mends_it(pack: Pack, project: Path) -> None:
    link(pack, project)
    lose_the_record(project)
    (fault,) = faults(plan_link(pack, for_project(project, project), wish(repair=True)))
    assert fault.message.startswith(f"{project}/.claude/tuneloop.json: gone")
    assert fault.hint == f"`tuneloop skills link do-it --project {project}`"


@pytest.mark.slow
def test_the_lines_that_are_told_lead_from_a_lost_record_to_a_project_as_it_was(project: Path) -> None:
    tuneloop(project, "skills", "link", "--with-settings")
    lose_the_record(project)
    said = tuneloop(project, "skills", "unlink").stderr
    assert "writes it, then unlink" in said
    words = said.partition(": `")[2].partition("`")[0].split()
    assert tuneloop(project, *words[1:]).returncode == 0
    assert tuneloop(project, "skills", "doctor").stdout == "all is well\n"
    assert tuneloop(project, "skills", "unlink").returncode == 0
    assert state(project) == {}
