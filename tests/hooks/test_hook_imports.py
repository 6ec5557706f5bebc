"""What the hooks may import: the standard library without its network, and syntax that an old Python reads."""

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tuneloop.librarian.safety import NETWORK

LIB = Path(__file__).resolve().parents[2] / "lib"
HOOKS = sorted((LIB / "tuneloop" / "hooks").glob("*.py"))
OLDEST = (3, 9)


def imported(source: str) -> Iterator[str]:
    """Yield the dotted name of every module that a source imports, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def reached(todo: list[Path]) -> dict[Path, set[str]]:
    """Return every module of ours that the hooks bring in at their start, with what it imports."""
    found: dict[Path, set[str]] = {}
    while todo:
        path = todo.pop()
        if path in found:
            continue
        # Imports inside of functions belong to functions that hooks do not call.
        whole = path.parent.name == "hooks"
        source = path.read_text() if whole else _top(path.read_text())
        found[path] = set(imported(source))
        for name in found[path]:
            place = LIB.joinpath(*name.split("."))
            todo += [item for item in (place.with_suffix(".py"), place / "__init__.py") if item.is_file()]
    return found


def _top(source: str) -> str:
    body = [node for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom)]
    return ast.unparse(ast.Module(body, []))


def foreign(names: set[str]) -> set[str]:
    ours = {"tuneloop", *sys.stdlib_module_names}
    return {name for name in names if name.split(".")[0] not in ours}


def networking(names: set[str]) -> set[str]:
    return {name for name in names if name.split(".")[0] in NETWORK}


def test_hooks_import_the_standard_library_without_its_network() -> None:
    modules = reached(list(HOOKS))
    assert {path.name for path in modules} >= {"guard.py", "session.py", "cache.py", "locks.py"}
    for path, names in modules.items():
        assert not foreign(names), path
        assert not networking(names), path


def test_a_planted_import_is_found() -> None:
    planted = set(imported("import json\ndef f():\n  import urllib.request, requests\n  from http import client"))
    assert networking(planted) == {"urllib.request", "requests", "http", "http.client"}
    assert foreign(planted) == {"requests"}


def test_an_old_python_can_read_them() -> None:
    for path in reached(list(HOOKS)):
        source = path.read_text()
        tree = ast.parse(source, feature_version=OLDEST)
        later = any(isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr) for node in ast.walk(tree))
        assert not later or "from __future__ import annotations" in source, path
    with pytest.raises(SyntaxError):
        ast.parse("match 1:\n  case 1: pass", feature_version=OLDEST)


def test_an_older_python_can_say_that_it_is_too_old() -> None:
    source = (LIB / "tuneloop" / "hooks" / "__main__.py").read_text()
    ast.parse(source, feature_version=(3, 6))
    assert "__future__" not in source


@pytest.mark.parametrize("name", ["guard", "session"])
def test_a_system_python_runs_them_isolated(name: str, tmp_path: Path) -> None:
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable
    main = LIB / "tuneloop" / "hooks" / "__main__.py"
    done = subprocess.run(
        [python, "-I", "-S", main, name], input="{}", cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
