"""What is linked, repaired and taken away, and that nothing of anybody else's is touched."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from librarian_support import DEFAULT, link, linked, make_pack, state, unlink, wish, write

from tuneloop.documents.errors import BusyError, InputError, MissingError
from tuneloop.librarian import acts
from tuneloop.librarian.health import faults
from tuneloop.librarian.links import LinkPlan, plan_link, plan_unlink
from tuneloop.librarian.pack import Pack, read_pack
from tuneloop.librarian.settings import additions
from tuneloop.librarian.target import for_project, for_user


def left(plan: LinkPlan) -> dict[str, str]:
    return {step.place: step.why for step in plan.left}


# What is linked


def test_without_names_the_default_categories_commands_and_agents_are_linked(pack: Pack, project: Path) -> None:
    link(pack, project)
    assert linked(project) == DEFAULT


def test_a_skill_brings_all_it_requires_and_no_commands(pack: Pack, project: Path) -> None:
    link(pack, project, "do-it")
    assert linked(project) == {"skills/do-it", "skills/look-at-it"}


def test_a_category_brings_its_skills_commands_and_agents(pack: Pack, project: Path) -> None:
    link(pack, project, "sharing")
    others = {place for place in DEFAULT if not place.startswith("skills/")}
    assert linked(project) == {"skills/publish-it", "skills/look-at-it"} | others


def test_linking_adds_to_what_is_linked(pack: Pack, project: Path) -> None:
    link(pack, project, "look-at-it")
    link(pack, project, "clean-up")
    assert linked(project) == {"skills/look-at-it", "skills/clean-up"}


def test_an_unknown_name_links_nothing(pack: Pack, project: Path) -> None:
    with pytest.raises(MissingError) as caught:
        link(pack, project, "plan-itt")
    assert "did you mean `plan-it`?" in str(caught.value)
    assert state(project) == {}


def test_linking_again_changes_nothing(pack: Pack, project: Path) -> None:
    link(pack, project, additions=additions(pack.root, ["Bash(tuneloop status:*)"]), merge=True)
    before, times = state(project), {path: path.lstat().st_mtime_ns for path in project.rglob("*")}
    again = link(pack, project, additions=additions(pack.root, ["Bash(tuneloop status:*)"]), merge=True)
    assert not again.to_do
    assert state(project) == before
    assert {path: path.lstat().st_mtime_ns for path in project.rglob("*")} == times


def test_links_are_relative_within_one_checkout_and_absolute_between_two(tmp_path: Path) -> None:
    root = make_pack(tmp_path / "both" / "tools")
    inside, outside = tmp_path / "both" / "lab", tmp_path / "elsewhere"
    (tmp_path / "both" / ".git").mkdir()
    for project in (inside, outside):
        project.mkdir()
        link(read_pack(root), project, "look-at-it")
    assert not (inside / ".claude/skills/look-at-it").readlink().is_absolute()
    assert (outside / ".claude/skills/look-at-it").readlink() == root / "skills/experiment/look-at-it"
    (tmp_path / "both").rename(tmp_path / "moved")
    assert linked(tmp_path / "moved" / "lab") == {"skills/look-at-it"}


def test_the_dotted_name_is_a_file_that_sends_to_the_command(pack: Pack, project: Path) -> None:
    link(pack, project)
    path = project / ".claude/commands/speckit.plan.md"
    assert not path.is_symlink()
    text = path.read_text()
    assert "disable-model-invocation: true" in text
    assert " @.claude/commands/speckit-plan.md " in text
    assert "read the file `.claude/commands/speckit-plan.md` in the project's root" in text
    assert text.count("$ARGUMENTS") == 1


def test_a_dotted_name_goes_where_its_command_is_somebody_else_s(pack: Pack, project: Path) -> None:
    dotted = project / ".claude/commands/speckit.plan.md"
    own = write(project / ".claude/commands/speckit-plan.md", "mine")
    link(pack, project)
    assert not dotted.exists()
    own.unlink()
    link(pack, project)
    assert dotted.exists()
    own.unlink()
    own.write_text("mine")
    plan = link(pack, project)
    assert ("remove", "its command here is not the pack's") in {(step.act, step.why) for step in plan.steps}
    assert not dotted.exists()
    assert own.read_text() == "mine"


def test_the_person_s_own_folder_can_be_linked(pack: Pack, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    acts.link(pack, for_user(), wish())
    assert linked(home) == DEFAULT
    text = (home / ".claude/commands/speckit.plan.md").read_text()
    assert f"@{home}/.claude/commands/speckit-plan.md" in text
    assert f"read the file `{home}/.claude/commands/speckit-plan.md` first" in text
    acts.unlink(for_user(), [], None)
    assert not (home / ".claude").exists()
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(home / "my config"))
    acts.link(pack, for_user(), wish())
    assert (home / "my config/skills/look-at-it/SKILL.md").is_file()
    text = (home / "my config/commands/speckit.plan.md").read_text()
    assert f' @"{home}/my config/commands/speckit-plan.md" ' in text, (
        "the client attaches no path with a space unquoted"
    )


def test_a_home_is_no_project(pack: Pack, home: Path) -> None:
    with pytest.raises(InputError) as caught:
        link(pack, home)
    assert "--user" in str(caught.value)


# What is taken away


@pytest.mark.parametrize("more", [{}, {"copy": True}], ids=["links", "copies"])
def test_link_then_unlink_leaves_the_project_as_it_was(pack: Pack, project: Path, more: dict[str, bool]) -> None:
    write(project / ".claude/settings.json", '{ "model":"opus",\n"hooks": {}}').chmod(0o600)
    write(project / ".claude/skills/mine/SKILL.md", "# mine")
    (project / ".claude/agents").mkdir(mode=0o700)
    (project / "link").symlink_to("nowhere")
    before = state(project)
    link(pack, project, additions=additions(pack.root, ["Bash(tuneloop status:*)"]), merge=True, **more)
    assert linked(project) > DEFAULT
    assert "hooks/launch" in (project / ".claude/settings.json").read_text()
    assert state(project) != before
    unlink(project)
    assert state(project) == before


def test_what_was_put_beside_the_links_stays(pack: Pack, project: Path) -> None:
    link(pack, project)
    write(project / ".claude/skills/mine/SKILL.md", "# mine")
    unlink(project)
    files = {path for path, (_, holds) in state(project).items() if holds is not None}
    assert files == {".claude/skills/mine/SKILL.md"}


def test_a_skill_that_another_needs_is_not_unlinked(pack: Pack, project: Path) -> None:
    link(pack, project, "plan-it")
    before = state(project)
    with pytest.raises(InputError) as caught:
        unlink(project, "look-at-it", pack=pack)
    text = str(caught.value)
    assert "`do-it` needs `look-at-it`" in text
    assert "`plan-it` needs `do-it`" in text
    assert "tuneloop skills unlink look-at-it do-it plan-it" in text
    assert state(project) == before
    unlink(project, "look-at-it", "do-it", "plan-it", pack=pack)
    assert state(project) == {}


def test_one_skill_is_unlinked_and_the_rest_stays(pack: Pack, project: Path) -> None:
    link(pack, project)
    unlink(project, "clean-up", pack=pack)
    assert linked(project) == DEFAULT - {"skills/clean-up"}
    with pytest.raises(MissingError):
        unlink(project, "clean-up", pack=pack)


def test_commands_and_agents_go_with_the_last_category(pack: Pack, project: Path) -> None:
    link(pack, project)
    unlink(project, "lifecycle", pack=pack)
    assert linked(project) == DEFAULT - {"skills/clean-up"}
    unlink(project, "experiment", pack=pack)
    assert state(project) == {}
    link(pack, project, "experiment", "clean-up")
    unlink(project, "experiment", pack=pack)
    assert linked(project) == DEFAULT - {"skills/plan-it", "skills/do-it", "skills/look-at-it"}
    unlink(project, "clean-up")
    assert state(project) == {}


def test_commands_and_agents_stay_while_single_skills_go(pack: Pack, project: Path) -> None:
    link(pack, project, "experiment")
    unlink(project, "plan-it", pack=pack)
    assert linked(project) == DEFAULT - {"skills/plan-it", "skills/clean-up"}


def test_unlinking_where_nothing_is_linked_does_nothing(project: Path) -> None:
    assert not unlink(project).to_do
    assert state(project) == {}


# What is repaired


def test_links_follow_the_pack_when_it_moves(pack: Pack, project: Path, tmp_path: Path) -> None:
    wanted = additions(pack.root, [])
    link(pack, project, additions=wanted, merge=True)
    moved = read_pack(pack.root.rename(tmp_path / "moved"))
    assert linked(project) == {"commands/speckit.plan.md"}  # the one that is no link
    plan = link(moved, project, additions=additions(moved.root, []))
    assert linked(project) == DEFAULT
    assert "leads nowhere: the pack was moved" in {step.why for step in plan.steps}
    settings = (project / ".claude/settings.json").read_text()
    assert str(tmp_path / "moved/hooks/launch") in settings
    assert str(pack.root / "hooks") not in settings
    unlink(project)
    assert state(project) == {}


def test_a_removed_link_is_made_again(pack: Pack, project: Path) -> None:
    link(pack, project)
    (project / ".claude/skills/do-it").unlink()
    shutil.rmtree(project / ".claude/commands")
    link(pack, project, "do-it")
    assert linked(project) == DEFAULT


def test_what_left_the_pack_is_unlinked(pack: Pack, project: Path) -> None:
    link(pack, project)
    shutil.rmtree(pack.root / "skills/lifecycle/clean-up")
    link(read_pack(pack.root), project)
    assert linked(project) == DEFAULT - {"skills/clean-up"}
    assert not (project / ".claude/skills/clean-up").is_symlink()


def test_copies_are_brought_up_to_date_and_keep_what_a_person_changed(pack: Pack, project: Path) -> None:
    link(pack, project, copy=True)
    assert not any(path.is_symlink() for path in (project / ".claude").rglob("*"))
    assert os.access(project / ".claude/skills/plan-it/scripts/ask.sh", os.X_OK)
    for name in ("do-it", "look-at-it"):
        skill = pack.root / f"skills/experiment/{name}/SKILL.md"
        skill.write_text(f"{skill.read_text()}\nA new line.\n")
    changed = project / ".claude/skills/look-at-it/SKILL.md"
    changed.write_text("mine now")
    plan = link(read_pack(pack.root), project)
    assert "A new line." in (project / ".claude/skills/do-it/SKILL.md").read_text()
    assert changed.read_text() == "mine now"
    assert list(left(plan)) == ["skills/look-at-it"]
    unlink(project)
    assert linked(project) == {"skills/look-at-it"}


def test_what_python_caches_in_a_copy_is_no_change(pack: Pack, project: Path) -> None:
    link(pack, project, "plan-it", copy=True)
    write(project / ".claude/skills/plan-it/scripts/__pycache__/ask.pyc", "cached")
    assert not link(pack, project, "plan-it").left
    unlink(project)
    assert state(project) == {}


def test_without_links_on_the_disk_copies_do(pack: Pack, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(1, "Operation not permitted")  # what FAT says

    with monkeypatch.context() as without:
        without.setattr(os, "symlink", refuse)
        link(pack, project)
        assert linked(project) == DEFAULT
        assert not link(pack, project).to_do
    assert not link(pack, project).to_do, "a copy stays a copy until it is unlinked"
    unlink(project)
    assert state(project) == {}


# What is planned


def test_a_plan_changes_nothing(pack: Pack, project: Path) -> None:
    target = for_project(project, project)
    assert plan_link(pack, target, wish()).changes
    assert state(project) == {}
    link(pack, project)
    before = state(project)
    assert plan_unlink(target).changes
    assert state(project) == before


# The pack's own checkout


def test_a_checkout_of_the_pack_gets_relative_links_and_no_manifest(pack: Pack) -> None:
    link(pack, pack.root)
    assert linked(pack.root) == DEFAULT
    assert {path.name for path in (pack.root / ".claude").iterdir()} == {"skills", "commands", "agents"}
    assert (pack.root / ".claude/skills/do-it").readlink() == Path("../../skills/experiment/do-it")
    assert not link(pack, pack.root).to_do


def test_a_checkout_of_the_pack_is_repaired(pack: Pack) -> None:
    link(pack, pack.root)
    (pack.root / ".claude/skills/do-it").unlink()
    (pack.root / ".claude/commands/speckit.plan.md").write_text("older")
    write(pack.root / ".claude/commands/mine.md", "mine")
    link(pack, pack.root)
    assert linked(pack.root) == DEFAULT | {"commands/mine.md"}
    assert "@.claude" in (pack.root / ".claude/commands/speckit.plan.md").read_text()


def text_of_links(root: Path) -> None:
    for path in [*(root / ".claude").glob("*/*")]:
        if path.is_symlink():
            text = str(path.readlink())
            path.unlink()
            path.write_text(text)


def own_file(root: Path) -> None:
    path = root / ".claude/commands/speckit-plan.md"
    path.unlink()
    path.write_text("mine")


def spec_kit_beside(root: Path) -> None:
    write(root / ".specify/scripts/bash/common.sh", "")


def skill_taken_out(root: Path) -> None:
    shutil.rmtree(root / "skills/lifecycle/clean-up")


def all_skills_taken_out(root: Path) -> None:
    shutil.rmtree(root / "skills")


@pytest.mark.parametrize(
    ("change", "told", "hint"),
    [
        (text_of_links, "git made a text file of a link; `git config core.symlinks true`", "`git checkout -- .claude/"),
        (
            own_file,
            "commands/speckit-plan.md: left alone, something of yours",
            "`git checkout -- .claude/commands/spec",
        ),
        (spec_kit_beside, "", ""),
        (skill_taken_out, "skills/clean-up: left alone, no longer in the pack", "`git rm .claude/skills/clean-up`"),
        (all_skills_taken_out, "4 skills: left alone, no longer in the pack", "`git rm .claude/skills/clean-up "),
    ],
)
def test_in_a_checkout_of_the_pack_nothing_is_ever_removed(
    pack: Pack, change: Callable[[Path], None], told: str, hint: str
) -> None:
    link(pack, pack.root)
    change(pack.root)
    before = state(pack.root)
    plan = link(read_pack(pack.root), pack.root)
    assert state(pack.root) == before
    found = list(faults(plan))
    assert [fault.message for fault in found if told not in fault.message] == []
    assert all((fault.hint or "").startswith(hint) for fault in found)
    assert bool(found) == bool(told)


def test_spec_kit_in_a_checkout_of_the_pack_is_told(pack: Pack) -> None:
    spec_kit_beside(pack.root)
    plan = link(pack, pack.root)
    assert linked(pack.root) == DEFAULT
    assert plan.said == ("spec-kit's own commands are here (.specify/scripts): ours stay as well, since git has them",)


def test_a_link_of_another_name_in_a_checkout_of_the_pack_stays(pack: Pack) -> None:
    link(pack, pack.root)
    (pack.root / ".claude/skills/short").symlink_to("../../skills/experiment/do-it")
    plan = link(pack, pack.root)
    assert "skills/short" in linked(pack.root)
    assert list(faults(plan)) == []


def test_this_repository_has_the_links_that_link_makes() -> None:
    root = Path(__file__).parents[2]
    plan = plan_link(read_pack(root), for_project(root, root), wish())
    assert len(plan.steps) >= 9
    assert plan.target.own
    assert {step.place: step.act for step in plan.steps if step.act != "keep"} == {}


def test_two_at_once_wait_for_each_other(pack: Pack, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tuneloop.documents import cache
    from tuneloop.documents.locks import exclusive

    monkeypatch.setattr(acts, "_WAIT", 0.05)
    with exclusive(cache.links_lock(project / ".claude"), wait=1, busy="held"), pytest.raises(BusyError):
        link(pack, project)
    assert state(project) == {}
    link(pack, project)
