"""The architecture, read from the source: who may import whom, who writes files, who prints, how long things are."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

LIB = Path(__file__).parents[1] / "lib" / "tuneloop"

# The table of docs/design.md: a folder, and the folders that it may import besides itself.
MAY_IMPORT = {
    "documents": set(),
    "experiment": {"documents"},
    "workers": {"experiment", "documents"},
    "jobs": {"experiment", "documents"},
    "analysis": {"experiment", "documents"},
    "checks": {"workers", "experiment", "documents"},
    "loop": {"checks", "analysis", "jobs", "workers", "experiment", "documents"},
    "librarian": {"documents"},
    "ticket": {"experiment", "documents"},
    "hooks": {"documents"},
    "cli": {"hooks", "loop", "checks", "analysis", "jobs", "workers", "experiment", "documents", "ticket", "librarian"},
}
MAY_PRINT = {"cli", "hooks"}

# Who writes a file without documents/files.py, and why.
WRITES = {
    "documents/files.py": "the module that writes",
    "documents/logs.py": "a log is appended to; losing a line in a crash is allowed",
    "jobs/claim.py": "start.json appears with its folder, by one rename",
    "jobs/executors/local.py": "the runner's log is a stream",
    "workers/torchtune/components/logger.py": "metrics.jsonl is a stream inside torchtune, read while it grows",
}
# Who prints beside cli/ and hooks/, and why.
PRINTS = {
    "workers/inspect/verify.py": "a step of a job's script: its output is the job's log",
    "workers/torchtune/prepare.py": "a step of a job's script: its output is the job's log",
    "workers/torchtune/verify.py": "a step of a job's script: its output is the job's log",
}
LONG_FUNCTIONS: dict[str, str] = {}  # file:function to the reason
MOST_LINES = 400
MOST_LINES_OF_FUNCTION = 60


def modules() -> list[Path]:
    return sorted(LIB.rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imported(node: ast.AST) -> Iterator[str]:
    """Yield the dotted names of ours that a statement imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "tuneloop")
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        if node.module is not None and node.module.split(".")[0] == "tuneloop":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def import_faults(place: str, source: ast.Module) -> list[str]:
    """Return what a module at `place`, such as `jobs/state.py`, imports against the rule."""
    folder, *rest = Path(place).parts
    if not rest:  # tuneloop/__init__.py and __main__.py
        return []
    found = []
    for node in ast.walk(source):
        for name in imported(node):
            parts = name.split(".")[1:]
            if not parts:
                continue
            target = parts[0]
            if target in MAY_IMPORT and target != folder and target not in MAY_IMPORT[folder]:
                found.append(f"{place}: {folder} may not import {name}")
            if folder == target == "workers" and _tool(place) and _tool("/".join(parts)) not in (None, _tool(place)):
                found.append(f"{place}: a worker may not import another, {name}")
    return found


def _tool(place: str) -> str | None:
    """Return the worker that a module belongs to; None for what all workers share."""
    parts = Path(place).with_suffix("").parts
    return parts[1] if len(parts) > 1 and (LIB / "workers" / parts[1]).is_dir() else None


def writing_calls(source: ast.Module) -> Iterator[str]:
    """Yield the calls that write a text file, or could."""
    for node in ast.walk(source):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in ("write_text", "write_bytes") and isinstance(node.func, ast.Attribute):
            yield f"line {node.lineno}: .{name}()"
        elif name == "open" and any(set(mode) & set("wax+") for mode in _modes(node)):
            yield f"line {node.lineno}: open() for writing"


def _modes(call: ast.Call) -> Iterator[str]:
    words = [item.value for item in call.keywords if item.arg == "mode"]
    # Path.open has its mode first, open second; a path as a literal is no mode.
    words += call.args[:1] if isinstance(call.func, ast.Attribute) else call.args[1:2]
    for word in words:
        if isinstance(word, ast.Constant) and isinstance(word.value, str) and len(word.value) <= 3:
            yield word.value


def printing_calls(source: ast.Module) -> Iterator[str]:
    for node in ast.walk(source):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "input"):
            yield f"line {node.lineno}: {node.func.id}()"
        elif isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.stdout.write":
            yield f"line {node.lineno}: sys.stdout.write"


def test_imports_point_downwards() -> None:
    read = modules()
    assert len(read) > 40, "the check looked at too little"
    faults = [fault for path in read for fault in import_faults(path.relative_to(LIB).as_posix(), tree(path))]
    assert not faults, "\n".join(faults)


def test_every_folder_has_a_rule() -> None:
    folders = {path.relative_to(LIB).parts[0] for path in modules() if path.parent != LIB}
    assert len(folders) >= 7
    assert folders <= set(MAY_IMPORT)


@pytest.mark.parametrize(
    ("place", "text", "fault"),
    [
        ("jobs/bad.py", "from tuneloop.workers import load", "jobs may not import tuneloop.workers.load"),
        ("documents/bad.py", "import tuneloop.experiment.work", "documents may not import tuneloop.experiment.work"),
        (
            "analysis/bad.py",
            "def f():\n  from tuneloop.jobs import facts",
            "analysis may not import tuneloop.jobs.facts",
        ),
        ("loop/bad.py", "from tuneloop import cli", "loop may not import tuneloop.cli"),
        (
            "workers/inspect/bad.py",
            "from tuneloop.workers.torchtune.fields import FIELDS",
            "a worker may not import another, tuneloop.workers.torchtune.fields.FIELDS",
        ),
    ],
)
def test_known_bad_imports_are_rejected(place: str, text: str, fault: str) -> None:
    assert import_faults(place, ast.parse(text)) == [f"{place}: {fault}"]


def test_known_good_imports_pass() -> None:
    good = (
        "from tuneloop.workers import Order\nfrom tuneloop.workers.bridge import serve\nimport tuneloop\nimport torch"
    )
    assert import_faults("workers/inspect/good.py", ast.parse(good)) == []


def test_only_one_module_writes_files() -> None:
    writers = {path.relative_to(LIB).as_posix(): list(writing_calls(tree(path))) for path in modules()}
    faults = {place: calls for place, calls in writers.items() if calls and place not in WRITES}
    assert not faults, f"use tuneloop.documents.files, or add the module to WRITES with the reason: {faults}"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Path('a').write_text('b')", 1),
        ("open('a', 'w')", 1),
        ("path.open('a')", 1),
        ("path.open(mode='wb')", 1),
        ("path.open('rb')", 0),
        ("open('a')", 0),
        ("write_text(path, 'a')", 0),
    ],
)
def test_writing_is_recognized(text: str, count: int) -> None:
    assert len(list(writing_calls(ast.parse(text)))) == count


def test_only_the_command_line_prints() -> None:
    printers = {path.relative_to(LIB).as_posix(): list(printing_calls(tree(path))) for path in modules()}
    faults = {place: calls for place, calls in printers.items() if calls and place.split("/")[0] not in MAY_PRINT}
    assert not {place: calls for place, calls in faults.items() if place not in PRINTS}
    assert any(printers.values()), "the check looked at nothing"


def long_functions() -> dict[str, int]:
    found = {}
    for path in modules():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > MOST_LINES_OF_FUNCTION:
                    found[f"{path.relative_to(LIB).as_posix()}:{node.name}"] = lines
    return found


def test_modules_are_short() -> None:
    lengths = {path.relative_to(LIB).as_posix(): len(path.read_text().splitlines()) for path in modules()}
    assert not {place: length for place, length in lengths.items() if length > MOST_LINES}


def test_functions_are_short() -> None:
    assert not {place: length for place, length in long_functions().items() if place not in LONG_FUNCTIONS}


def test_every_module_says_what_it_knows() -> None:
    silent = [path.relative_to(LIB).as_posix() for path in modules() if not ast.get_docstring(tree(path))]
    assert not silent


def test_exceptions_are_still_needed() -> None:
    """An exception that nothing needs any more would hide the next fault."""
    assert all(list(writing_calls(tree(LIB / place))) for place in WRITES)
    assert all(list(printing_calls(tree(LIB / place))) for place in PRINTS)
    assert set(LONG_FUNCTIONS) <= set(long_functions())
