"""The table of what each command does, against the real command line; and what follows from it."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import command_line
from tuneloop.hooks import commands

ROOT = Path(__file__).resolve().parents[2]
TABLE = [
    *commands.READING,
    *commands.SUBMITTING,
    *commands.CANCELLING,
    *commands.DELETING,
    *commands.WRITING,
]
CLI = command_line.cli()


def unknown(names: list[str]) -> list[str]:
    return [name for name in names if commands.kind_of(name) is None]


def test_every_command_has_one_kind() -> None:
    names = list(command_line.commands())
    assert len(names) > 20
    assert not unknown(names)
    assert unknown(["frobnicate"]) == ["frobnicate"]
    assert not [name for name, count in Counter(TABLE).items() if count > 1]


def test_the_table_names_no_command_that_is_gone() -> None:
    names = set(command_line.commands())
    missing_groups = commands.GROUPS - set(CLI.commands)
    assert not [name for name in TABLE if name not in names and name.split()[0] not in missing_groups]
    assert {name for name, item in CLI.commands.items() if hasattr(item, "commands")} <= commands.GROUPS


def test_a_command_that_reads_has_nothing_to_try_out() -> None:
    """What can be tried with `--dry-run` changes something, and is no reading command."""
    changing = {name for name, item in command_line.commands().items() if "--dry-run" in flags(item)}
    assert len(changing) > 10
    assert not changing & set(commands.READING)


def test_words_behind_a_flag_stand_for_themselves() -> None:
    """A flag taken for an option with a value would hide the word after it, and the other way round."""
    found: dict[str, set[bool]] = {}
    for item in command_line.commands().values():
        for option in item.params:
            for name in [*option.opts, *option.secondary_opts]:
                found.setdefault(name, set()).add(bool(getattr(option, "is_flag", False)))
    for name in commands.FLAGS:
        assert found[name] == {True}, name
    assert found[commands.REPLACE] == {True, False}


def flags(item: Any) -> set[str]:
    return {name for option in item.params for name in [*option.opts, *option.secondary_opts]}


def test_settings_of_this_repository_allow_reading_and_nothing_else() -> None:
    settings = json.loads((ROOT / ".claude" / "settings.json").read_text())
    both = [*commands.allow_rules(), *commands.allow_rules(".venv/bin/tuneloop")]
    assert settings == {"permissions": {"allow": both}}


def test_a_project_is_allowed_reading_commands_and_no_more() -> None:
    for rule in commands.allow_rules():
        word = rule.removeprefix("Bash(tuneloop ").removesuffix(")").removesuffix(":*")
        assert word in ("--help", "--version") or commands.kind_of(word) == "reading", rule
