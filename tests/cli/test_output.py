"""What every command has: help with an example, quick imports, JSON that fits."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_support import designed, prepare

import tuneloop as package
from command_line import cli, commands
from tuneloop.cli.output import MOST_JSON, table
from typed import as_json, tuneloop

HEAVY = {"torch", "torchtune", "transformers", "pandas", "matplotlib", "inspect_ai", "scipy", "pyarrow", "numpy"}
CHANGES_NOTHING = {
    "explain",
    "wait",
    "status",
    "config",
    "sample",
    "logs",
    "doctor",
    "skills status",
    "skills doctor",
    "cluster list",
}


@pytest.fixture(scope="module")
def helps() -> dict[str, tuple[str, set[str]]]:
    """Return every command's help and options, by its words."""
    found = {}
    for words, command in commands().items():
        with command.make_context(words, [], parent=None, resilient_parsing=True) as context:
            found[words] = command.get_help(context), {option for item in command.params for option in item.opts}
    return found


def test_every_command_shows_an_example(helps: dict[str, tuple[str, set[str]]]) -> None:
    assert len(helps) >= 15
    for name, (text, _) in helps.items():
        assert "Example:\n" in text, name
        assert f"tuneloop {name}" in text.partition("Example:")[2], name


def test_every_command_speaks_json(helps: dict[str, tuple[str, set[str]]]) -> None:
    assert [name for name, (_, options) in helps.items() if "--json" not in options] == []


def test_what_changes_something_has_a_dry_run(helps: dict[str, tuple[str, set[str]]]) -> None:
    assert {name for name, (_, options) in helps.items() if "--dry-run" not in options} == CHANGES_NOTHING


def test_help_lists_the_commands(tmp_path: Path, helps: dict[str, tuple[str, set[str]]]) -> None:
    done = tuneloop(tmp_path, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert [name for name in cli().commands if f"  {name} " not in done.stdout] == []
    bare = tuneloop(tmp_path)
    assert (bare.returncode, bare.stdout, bare.stderr) == (2, done.stdout, "")


def test_version_is_the_packages(tmp_path: Path) -> None:
    assert tuneloop(tmp_path, "--version").stdout == f"tuneloop {package.__version__}\n"


def imports(folder: Path, *arguments: str) -> set[str]:
    """Return the packages that a command imports."""
    argv = [sys.executable, "-X", "importtime", "-m", "tuneloop", *arguments]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=True)
    names = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "tuneloop" in names, "the check looked at nothing"
    return names


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An echo experiment of 2,000 runs, designed and not scaffolded."""
    folder = prepare(tmp_path_factory.mktemp("large") / "exp")
    design = (folder / "design.yaml").read_text()
    (folder / "design.yaml").write_text(design.replace("{lr: [1e-3, 1e-4]}", f"{{x: {list(range(2000))}}}"))
    return folder


def test_design_of_2000_runs_fits(large: Path) -> None:
    done = tuneloop(large, "design-experiment", ".", "--from", "design.yaml", "--dry-run", "--json")
    assert len(done.stdout) < MOST_JSON
    told = as_json(done)
    assert told["schema"] == "tuneloop.design/1"
    assert told["truncated"] == f"{len(told['runs'])} of 2001 runs; --all for the rest"
    assert len(told["runs"]) > 50


@pytest.mark.parametrize("arguments", [("--help",), ("status", "."), ("status",), ("config",)])
def test_reading_commands_import_nothing_heavy(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert imports(designed(tmp_path / "exp"), *arguments) & HEAVY == set()


_WRITE = """
import json, sys
from tuneloop.cli.output import write_json
write_json(json.loads(sys.argv[1]), whole=len(sys.argv) > 2)
"""


@pytest.mark.parametrize(
    "value",
    [
        {"schema": "s", "runs": [{"name": "a" * 50}] * 300, "jobs": [{"key": "b" * 50}] * 300, "n": 3},
        {"schema": "s", "runs": ["x" * 30_000, "y"]},
        {"schema": "s", "a": ["x"] * 3000, "b": [["x"]] * 3000, "c": []},
    ],
    ids=["two lists", "one long item", "short items"],
)
def test_long_json_is_cut_under_20_kb(value: dict[str, Any]) -> None:
    done = subprocess.run([sys.executable, "-c", _WRITE, json.dumps(value)], capture_output=True, text=True, check=True)
    short = json.loads(done.stdout)
    assert len(done.stdout) <= MOST_JSON
    assert short["truncated"].endswith("; --all for the rest")
    for name, item in value.items():
        assert short[name] == (item[: len(short[name])] if isinstance(item, list) else item)
    argv = [sys.executable, "-c", _WRITE, json.dumps(value), "whole"]
    assert json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout) == value


def test_table_is_left_aligned() -> None:
    assert table(["a", "bb"], [["ccc", "d"], ["e", ""]]) == "a    bb\nccc  d\ne"
