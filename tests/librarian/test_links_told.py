"""What `status` and `doctor` tell of links: what is broken, left alone, or hidden by somebody else's."""

import json
from pathlib import Path

import pytest
from librarian_support import DEFAULT, link, linked, make_pack, state, unlink, wish, write

from tuneloop.librarian import acts
from tuneloop.librarian.health import faults, plan_warnings
from tuneloop.librarian.links import plan_link
from tuneloop.librarian.pack import Pack, read_pack
from tuneloop.librarian.settings import additions
from tuneloop.librarian.target import for_project, for_user


def test_faults_tell_what_is_wrong_and_what_mends_it(pack: Pack, project: Path) -> None:
    target = for_project(project, project)
    found = list(faults(plan_link(pack, target, wish(repair=True))))
    assert [fault.message for fault in found] == [f"nothing is linked in {project}/.claude"]
    link(pack, project, "do-it")
    assert list(faults(plan_link(pack, target, wish(repair=True)))) == []
    (project / ".claude/skills/do-it").unlink()
    (fault,) = faults(plan_link(pack, target, wish(repair=True)))
    assert fault.message == "skills/do-it: missing, linked before, and gone"
    assert fault.hint == f"`tuneloop skills link do-it --project {project}`"
    make_pack(pack.root, version="0.2.0")
    told = [fault.message for fault in faults(plan_link(pack, target, wish(repair=True)))]
    assert "linked from version 0.1.0, the pack is 0.2.0" in told


def looked_at(pack: Pack, project: Path) -> list[tuple[str, str]]:
    """Return what `doctor` tells, each with its hint."""
    target = for_project(project, project)
    return [(fault.message, fault.hint or "") for fault in faults(plan_link(pack, target, wish(repair=True)))]


@pytest.mark.parametrize("name", ["run", "do-it"])
def test_what_was_left_alone_is_told_until_it_is_moved_away(pack: Pack, project: Path, name: str) -> None:
    own = project / ".claude/skills/do-it"
    if name == "run":
        own.parent.mkdir(parents=True)
        own.symlink_to(name)
    else:
        write(own / "SKILL.md", "# mine")
    before = state(project)
    link(pack, project)
    ((message, hint),) = looked_at(pack, project)
    why = "something of yours has this name" if name == "do-it" else "a link of yours that leads nowhere: run"
    assert message == f"skills/do-it: left alone, {why}"
    assert hint.startswith("move away what is there, then `tuneloop skills link")
    unlink(project, "clean-up", pack=pack)
    assert len(looked_at(pack, project)) == 1
    kept = own.rename(project / "kept")
    assert [message for message, _ in looked_at(pack, project)] == ["skills/do-it: missing, not linked yet"]
    kept.rename(own)
    unlink(project)
    assert state(project) == before


def test_where_all_is_left_alone_nothing_is_written_down(pack: Pack, project: Path) -> None:
    write(project / ".claude/skills/clean-up/SKILL.md", "# mine")
    before = state(project)
    link(pack, project, "clean-up")
    assert state(project) == before


def test_what_a_linked_skill_has_come_to_require_is_told(pack: Pack, project: Path) -> None:
    link(pack, project, "clean-up")
    skill = pack.root / "skills/lifecycle/clean-up/SKILL.md"
    skill.write_text(skill.read_text().replace("---\n\n", 'metadata:\n  requires: "look-at-it"\n---\n\n'))
    ((message, _),) = looked_at(read_pack(pack.root), project)
    assert message == "skills/look-at-it: missing, not linked yet"


def test_one_reason_is_one_fault(pack: Pack, project: Path, tmp_path: Path) -> None:
    link(pack, project)
    moved = read_pack(pack.root.rename(tmp_path / "moved"))
    ((message, _),) = looked_at(moved, project)
    assert message.endswith("not the pack's as it is now, leads nowhere: the pack was moved")
    assert message.startswith("4 skills, 2 commands, 1 agent: ")
    link(moved, project)
    write(project / ".specify/integration.json", "{}")
    ((message, _),) = looked_at(moved, project)
    assert message == "2 commands: to be taken away, spec-kit's own commands win here"


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("skills/do-it/SKILL.md", "hides the project's `do-it`"),
        ("skills/overview/SKILL.md", "hides the project's `overview`"),
        ("commands/overview.md", "hides the project's `overview`"),
        ("commands/speckit.plan.md", "hides the project's `speckit.plan`"),
        ("agents/reader.md", "is hidden by the project's `reader`"),
    ],
)
def test_what_a_person_has_under_the_same_name_is_told(
    pack: Pack, project: Path, home: Path, path: str, told: str
) -> None:
    write(home / ".claude" / path, "# mine")
    (said,) = plan_warnings(link(pack, project))
    assert told in said
    assert [message for message, _ in looked_at(pack, project)] == [said.partition(";")[0]]


@pytest.mark.parametrize("copy", [False, True])
def test_the_pack_linked_for_a_person_and_a_project_hides_nothing(pack: Pack, project: Path, copy: bool) -> None:
    acts.link(pack, for_user(), wish(copy=copy))
    said = list(plan_warnings(link(pack, project)))
    assert [text for text in said if "command" in text or "agent" in text] == []
    assert len(said) == (4 if copy else 0), "a copied skill hides the linked one, which may be newer"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"home": {"enabledPlugins": {"tuneloop@lab": True}}}, True),
        ({"project": {"enabledPlugins": {"tuneloop@lab": True}}}, True),
        (
            {
                "home": {"enabledPlugins": {"tuneloop@lab": True}},
                "project": {"enabledPlugins": {"tuneloop@lab": False}},
            },
            False,
        ),
        ({"home": {"enabledPlugins": {"another@lab": True}}}, False),
        ({"home": ["not settings"]}, False),
    ],
)
def test_the_plugin_beside_the_links_is_told(
    pack: Pack, project: Path, home: Path, settings: dict[str, object], told: bool
) -> None:
    for name, value in settings.items():
        write((home if name == "home" else project) / ".claude/settings.json", json.dumps(value))
    assert any("listed twice" in said for said in plan_warnings(link(pack, project))) == told
    assert list(plan_warnings(unlink(project))) == []


@pytest.mark.parametrize(
    ("file", "sign"),
    [
        (".specify/integration.json", ".specify/integration.json"),
        (".specify/init-options.json", ".specify/init-options.json"),
        (".specify/scripts/bash/common.sh", ".specify/scripts"),
        (".claude/skills/speckit-plan/SKILL.md", ".claude/skills/speckit-plan"),
        (".claude/commands/speckit.specify.md", ".claude/commands/speckit.specify.md"),
    ],
)
def test_where_spec_kit_was_set_up_its_commands_win(pack: Pack, project: Path, file: str, sign: str) -> None:
    link(pack, project)
    write(project / file, "{}")
    plan = link(pack, project)
    assert linked(project) - {sign.removeprefix(".claude/")} == {place for place in DEFAULT if "speckit" not in place}
    assert any(f"({sign})" in said for said in plan_warnings(plan))


@pytest.mark.parametrize("file", ["commands/speckit.notes.md", "skills/speckit-notes/SKILL.md", "commands/speckit.md"])
def test_a_person_s_own_file_of_such_a_name_is_no_spec_kit(pack: Pack, project: Path, file: str) -> None:
    write(project / ".claude" / file, "# mine")
    link(pack, project)
    assert linked(project) >= DEFAULT


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"project/.claude/settings.local.json": True}, True),
        ({"home/.claude/settings.json": True}, True),
        ({"project/.claude/settings.local.json": False, "home/.claude/settings.json": True}, False),
        ({"home/.claude/settings.json": "yes"}, False),
    ],
)
def test_hooks_that_are_turned_off_are_told(pack: Pack, project: Path, settings: dict[str, object], told: bool) -> None:
    wanted = additions(pack.root, [])
    for name, value in settings.items():
        write(project.parent / name, json.dumps({"disableAllHooks": value}))
    plan = link(pack, project, additions=wanted, merge=True)
    assert any("`disableAllHooks` is on" in said for said in plan_warnings(plan)) == told
    found = plan_link(pack, for_project(project, project), wish(repair=True, additions=wanted))
    assert [fault.message for fault in faults(found) if "disableAllHooks" not in fault.message] == []
    assert bool(list(faults(found))) == told


def test_dotted_names_that_came_with_a_clone_are_not_spec_kit_s(pack: Pack, project: Path) -> None:
    """Somebody committed what `link` had generated, without the manifest."""
    link(pack, project)
    (project / ".claude/tuneloop.json").unlink()
    link(pack, project)
    assert linked(project) == DEFAULT


def test_a_folder_that_only_our_commands_made_is_not_spec_kit_s(pack: Pack, project: Path) -> None:
    write(project / ".specify/memory/constitution.md", "# Ours")
    link(pack, project)
    assert linked(project) == DEFAULT
