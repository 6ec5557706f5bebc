"""Merging into settings and taking out again: what a person wrote is never lost, whatever it is."""

import json
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from librarian_support import make_pack, state, unlink, wish, write

from tuneloop.documents.errors import InputError
from tuneloop.hooks.commands import allow_rules
from tuneloop.librarian import acts
from tuneloop.librarian.health import faults
from tuneloop.librarian.links import LinkPlan, plan_link
from tuneloop.librarian.manifest import Added, Merge
from tuneloop.librarian.pack import Pack, find_root, read_pack
from tuneloop.librarian.settings import additions, merged, parse, removed
from tuneloop.librarian.target import for_project

OURS = additions(find_root(), allow_rules())

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_entries = st.lists(_values | st.sampled_from([item.value for item in OURS]), max_size=4)
_groups = {
    "permissions": st.fixed_dictionaries({}, optional={"allow": _entries, "deny": _entries}),
    "hooks": st.dictionaries(st.sampled_from(["PreToolUse", "SessionStart", "Stop"]), _entries, max_size=3),
}
_settings = st.builds(
    lambda rest, groups: rest | groups,
    st.dictionaries(st.text(max_size=5).filter(lambda key: key not in _groups), _values, max_size=3),
    st.fixed_dictionaries({}, optional=_groups),
)


def record(added: list[Added], made: list[list[str]]) -> Merge:
    return Merge(before=None, wrote="", added=added, made=made)


def entries(settings: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return every entry of a list two keys deep, and every other value, as text."""
    found = []
    for key, value in settings.items():
        if key in _groups and isinstance(value, dict):
            found += [(key, name, json.dumps(item)) for name, items in value.items() for item in items]
        else:
            found.append((key, "", json.dumps(value)))
    return found


@given(_settings)
def test_what_was_merged_is_taken_out_whole(settings: dict[str, Any]) -> None:
    text = json.dumps(settings)
    value, added, made = merged(settings, OURS)
    assert json.dumps(settings) == text, "the settings that were given are changed"
    assert removed(value, record(added, made)) == settings


@given(_settings)
def test_merging_twice_is_merging_once(settings: dict[str, Any]) -> None:
    once, _, _ = merged(settings, OURS)
    twice, added, made = merged(once, OURS)
    assert (twice, added, made) == (once, [], [])


@given(_settings)
def test_every_entry_of_a_person_stays(settings: dict[str, Any]) -> None:
    value, _, _ = merged(settings, OURS)
    theirs, all_of_them = entries(settings), entries(value)
    for item in theirs:
        all_of_them.remove(item)
    assert sorted(all_of_them) == sorted(
        (item.at[0], item.at[1], json.dumps(item.value)) for item in OURS if _new(item, settings)
    )


def _new(item: Added, settings: dict[str, Any]) -> bool:
    return item.value not in settings.get(item.at[0], {}).get(item.at[1], [])


@given(_settings, st.data())
def test_what_a_person_added_or_moved_since_stays(settings: dict[str, Any], data: st.DataObject) -> None:
    value, added, made = merged(settings, OURS)
    value["theirs"] = "new"
    for group in _groups:
        for name in value[group]:
            value[group][name] = data.draw(st.permutations(value[group][name]))
    value["hooks"]["Stop"] = [*value["hooks"].get("Stop", []), "new"]
    rest = removed(value, record(added, made))
    expected = [*entries(settings), ("theirs", "", '"new"'), ("hooks", "Stop", '"new"')]
    assert sorted(entries(rest)) == sorted(expected)


def test_only_reading_commands_pass_and_every_hook_has_its_launcher() -> None:
    rules = [item.value for item in OURS if item.at == ["permissions", "allow"]]
    assert len(rules) > 5
    assert all(isinstance(rule, str) and rule.startswith("Bash(tuneloop ") for rule in rules)
    hooks = json.dumps([item.value for item in OURS if item.at[0] == "hooks"])
    assert "/hooks/launch" in hooks
    assert "CLAUDE_PLUGIN_ROOT" not in hooks


def test_the_pack_s_folder_is_quoted(pack: Pack, tmp_path: Path) -> None:
    root = tmp_path / "it's $HOME"
    pack.root.rename(root)
    (hook,) = additions(root, [])
    assert hook.at == ["hooks", "PreToolUse"]
    assert isinstance(hook.value, dict)
    command = hook.value["hooks"][0]["command"]  # type: ignore[index, call-overload]
    launch = f"{root}/hooks/launch"
    assert shlex.split(command) == ["[", "!", "-x", launch, "]", "||", "exec", launch, "guard"]


def answers(command: str) -> tuple[int, str]:
    """Run a hook's command as the client does; return its exit code and what it prints."""
    done = subprocess.run(["sh", "-c", command], input="{}", capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_hook_is_silent_where_its_launcher_is_not(tmp_path: Path) -> None:
    root = make_pack(tmp_path / "it's here")
    write(root / "hooks/launch", "#!/bin/sh\necho $1; exit 3\n").chmod(0o755)
    (hook,) = additions(root, [])
    command = hook.value["hooks"][0]["command"]  # type: ignore[index, call-overload]
    assert answers(command) == (3, "guard\n")
    (root / "hooks/launch").unlink()
    assert answers(command) == (0, "")


def test_a_hook_that_must_block_blocks_without_its_launcher(tmp_path: Path) -> None:
    root = make_pack(tmp_path / "pack")
    (root / "hooks/launch").unlink()
    hooks = root / "hooks/hooks.json"
    hooks.write_text(hooks.read_text().replace("guard", "--must guard || exit 2"))
    (hook,) = additions(root, [])
    assert answers(hook.value["hooks"][0]["command"])[0] == 2  # type: ignore[index, call-overload]


# The file

RULES = ["Bash(tuneloop status:*)"]


def link(pack: Pack, project: Path, *, merge: bool = True, rules: Sequence[str] = RULES) -> LinkPlan:
    more = additions(pack.root, rules)
    return acts.link(pack, for_project(project, project), wish("look-at-it", additions=more, merge=merge))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1: not JSON"),
        ('{\n "a": 1,\n}', "3: not JSON"),
        ('{\n // why\n "a": 1}', "2: not JSON"),
        ("[]", "1: settings are keys and values"),
        ('{"hooks": []}', "`hooks` should be lists by event"),
        ('{"hooks": {"Stop": {}}}', "`hooks` should be lists by event"),
        ('{"permissions": {"allow": "all"}}', "`permissions` should be a group with the list `allow`"),
        ('{"a": 1, "a": 2}', "the key `a` stands there twice"),
        ("[" * 100_000, "recursion"),
        ('{"a": 1e400}', "the number 1e400 cannot be written again"),
        ('{"a": NaN}', "the number NaN cannot be written again"),
    ],
)
def test_settings_that_cannot_be_kept_are_refused(pack: Pack, project: Path, text: str, message: str) -> None:
    path = write(project / ".claude/settings.json", text)
    before = state(project)
    with pytest.raises(InputError) as caught:
        link(pack, project)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert state(project) == before


@pytest.mark.parametrize(
    "text",
    [
        '{"model":"opus"}',
        '{\r\n\t"hooks" : {}\r\n}\r\n',
        '{"é": "\\ud800", "n": 1.5e300, "big": 123456789012345678901}',
        "{}",
        '\ufeff{"model": "opus"}',
    ],
)
def test_the_very_bytes_come_back(pack: Pack, project: Path, text: str) -> None:
    path = write(project / ".claude/settings.json", "")
    path.write_bytes(text.encode())
    path.chmod(0o600)
    before = state(project)
    link(pack, project)
    assert parse(path.read_text(), path) != parse(text, path)
    assert (project / ".claude/tuneloop.json").stat().st_mode & 0o777 == 0o600, (
        "it repeats what only its owner may read"
    )
    unlink(project)
    assert state(project) == before


def test_what_was_changed_since_stays_and_ours_goes(pack: Pack, project: Path) -> None:
    link(pack, project)
    path = project / ".claude/settings.json"
    settings = json.loads(path.read_text())
    settings["permissions"]["allow"].insert(0, "Bash(make:*)")
    path.write_text(json.dumps(settings))
    link(pack, project)
    unlink(project)
    assert json.loads(path.read_text()) == {"permissions": {"allow": ["Bash(make:*)"]}}


def test_what_a_person_took_out_stays_out(pack: Pack, project: Path) -> None:
    link(pack, project)
    path = project / ".claude/settings.json"
    path.write_text('{"model": "opus"}')
    link(pack, project, merge=False)
    assert path.read_text() == '{"model": "opus"}'
    path.unlink()
    link(pack, project, merge=False)
    assert not path.exists()
    link(pack, project)
    assert path.exists()


@pytest.mark.parametrize("out", ["hook", "rule"])
def test_one_entry_that_a_person_took_out_stays_out(pack: Pack, project: Path, tmp_path: Path, out: str) -> None:
    rules = [*RULES, "Bash(tuneloop wait:*)"]
    link(pack, project, rules=rules)
    path = project / ".claude/settings.json"
    settings = json.loads(path.read_text())
    if out == "hook":
        del settings["hooks"]
    else:
        settings["permissions"]["allow"].remove(rules[0])
    settings["permissions"]["allow"].append("Bash(make:*)")
    path.write_text(json.dumps(settings))
    before = path.read_text()
    plan = link(pack, project, rules=rules, merge=False)
    assert not plan.to_do
    assert list(faults(plan)) == []
    moved = read_pack(pack.root.rename(tmp_path / "moved"))
    link(moved, project, rules=rules, merge=False)
    after = path.read_text()
    assert (str(moved.root / "hooks/launch") in after) == (out == "rule")
    assert (rules[0] in after) == (out == "hook")
    assert rules[1] in after
    if out == "hook":
        assert after == before
    unlink(project)
    assert json.loads(path.read_text()) == {"permissions": {"allow": ["Bash(make:*)"]}}


def test_what_was_taken_out_comes_back_when_asked_for(pack: Pack, project: Path) -> None:
    link(pack, project)
    path = project / ".claude/settings.json"
    whole = path.read_text()
    path.write_text(json.dumps({"permissions": json.loads(whole)["permissions"]}))
    link(pack, project)
    assert json.loads(path.read_text()) == json.loads(whole)
    unlink(project)
    assert state(project) == {}


def test_what_a_person_was_never_asked_about_is_not_added(pack: Pack, project: Path) -> None:
    link(pack, project)
    more = [*RULES, "Bash(tuneloop sample:*)"]
    before = state(project)
    plan = plan_link(pack, for_project(project, project), wish(additions=additions(pack.root, more), repair=True))
    assert list(faults(plan)) == []
    link(pack, project, rules=more, merge=False)
    assert state(project) == before
    link(pack, project, rules=more)
    assert "sample" in (project / ".claude/settings.json").read_text()


def test_the_indent_and_the_byte_order_mark_stay(pack: Pack, project: Path) -> None:
    path = write(project / ".claude/settings.json", '\ufeff{\n    "model": "opus"\n}\n')
    link(pack, project)
    text = path.read_text()
    assert text.startswith('\ufeff{\n    "model": "opus",\n    "permissions": {\n        "allow"')
    path.write_text(text.replace("opus", "haiku"))
    unlink(project)
    assert path.read_text() == '\ufeff{\n    "model": "haiku"\n}\n'


def test_without_being_asked_nothing_is_merged(pack: Pack, project: Path) -> None:
    link(pack, project, merge=False)
    assert not (project / ".claude/settings.json").exists()
