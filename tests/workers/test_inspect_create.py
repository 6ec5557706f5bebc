"""The text of a task: what is asked becomes a spec checked against every row, and a file that stays Python.

Nothing is evaluated here; inspect-ai is not even imported.
"""

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.documents.errors import InputError
from tuneloop.workers.inspect.columns import Rows, read_rows
from tuneloop.workers.inspect.create import Wish, identifier, render, resolve
from tuneloop.workers.inspect.source import WIDTH, assigned

ROOT = Path(__file__).parents[2]
ROWS = [
    {"input": "2 + 2", "output": "4", "choices": ["3", "4", "5"]},
    {"input": "capital of France", "output": "Paris", "choices": ["Rome", "Paris", "Oslo"]},
]
QUIZ = [
    {"input": "capital of Italy", "output": "Rome", "choices": ["Rome", "Paris"]},
    {"input": "capital of France", "output": "Paris", "choices": ["Rome", "Paris", "Oslo"]},
]
HOSTILE = [
    '"""\nimport os; os.abort()\n"""',
    'it\'s a "test" \\',
    "{{ input }} {% raw %} {target}",
    "\x00\x1b[31m\r\n\t\u2028\u202e",
    "  leading and trailing  ",
    'ends in a quote"',
    "word " * 80,
    "x" * 400,
    "漢字" * 100,
    "\\" * 200,
    '"' * 200,
    "line\n\n\nline \n \\\n",
    "# noqa\n@task\ndef evil(): pass",
    "",
]


def rows_of(folder: Path, rows: list[dict[str, Any]]) -> Rows:
    path = folder / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_rows(path)


def wish(kind: Any, **changes: Any) -> Wish:
    return Wish(kind, **({"name": "quiz", "data": "data.jsonl"} | changes))


def problems(folder: Path, rows: list[dict[str, Any]], asked: Wish) -> list[str]:
    with pytest.raises(InputError) as caught:
        resolve(rows_of(folder, rows), asked)
    assert all(problem.hint for problem in caught.value.problems)
    assert all(problem.source in (None, folder / "data.jsonl") for problem in caught.value.problems)
    return [f"{problem.line or ''}:{problem.message}" for problem in caught.value.problems]


def ruff(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "ruff", *map(str, arguments)]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)


KINDS: dict[str, dict[str, Any]] = {
    "exact": {},
    "choice": {},
    "numeric": {"tolerance": 0.5, "relative_tolerance": 1e-3},
    "pattern": {"pattern": r'Answer: "?(\w+)"?$'},
    "graded": {"judge": "openai/gpt-4o-2024-08-06"},
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one task of each kind, and one of each kind whose every text is hostile."""
    folder = tmp_path_factory.mktemp("tasks")
    for kind, options in KINDS.items():
        rows = [{**row, "output": "4"} for row in ROWS] if kind == "numeric" else QUIZ if kind == "choice" else ROWS
        spec = resolve(rows_of(folder, rows), wish(kind, name=kind, **options))
        (folder / f"{kind}.py").write_text(render(spec))
    for number, text in enumerate(HOSTILE):
        row = {text: "asked", f"{text}2": "4"}
        asked = wish("exact", name=f"hostile{number}", data=text, input=text, target=f"{text}2", system=text)
        asked = Wish(**(vars(asked) | {"prompt": f"{text.replace('{input}', '')}{{input}}"}))
        (folder / f"hostile{number}.py").write_text(render(resolve(rows_of(folder, [row]), asked)))
    return folder


def test_every_file_is_as_ruff_would_write_it(written: Path) -> None:
    files = sorted(written.glob("*.py"))
    assert len(files) == len(KINDS) + len(HOSTILE)
    for length in (88, 120):
        done = ruff("format", "--check", "--isolated", "--line-length", length, *files)
        assert done.returncode == 0, done.stdout
    # As strict as this project is with itself, but for letters that look like others: they are the data's.
    config = ["--config", ROOT / "pyproject.toml", "--ignore", "RUF001,S108"]
    done = ruff("check", *config, "--per-file-ignores", "*.py:INP001", *files)
    assert done.returncode == 0, done.stdout
    assert max(len(line) for file in files for line in file.read_text().splitlines()) <= 120


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_words_stay_words(written: Path, number: int) -> None:
    text = HOSTILE[number]
    tree = ast.parse((written / f"hostile{number}.py").read_text())
    constants = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id != "GENERATION"
    }
    assert constants == {
        "DATA": text,
        "INPUT": text,
        "TARGET": f"{text}2",
        "PROMPT": f"{text}{{input}}",
        "SYSTEM": text,
        "IGNORE_CASE": False,
    }
    assert [node.name for node in tree.body if isinstance(node, ast.FunctionDef)] == [f"hostile{number}"]
    assert len(tree.body) == 14, "statements came in from the data"


TEXT = st.text(st.characters(), max_size=300) | st.text(st.sampled_from('"\\\n a'), max_size=300)
DATA = st.recursive(
    TEXT | st.integers() | st.booleans() | st.none() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300)
@given(DATA)
def test_source_reads_back_as_the_value(value: Any) -> None:
    text = assigned(value, "NAME")
    found: dict[str, Any] = {}
    exec(compile(text, "source", "exec"), {"inf": float("inf")}, found)
    assert found["NAME"] == value
    if isinstance(value, str):
        assert all(len(line) <= WIDTH for line in text.splitlines())
        assert all(line == line.rstrip(" \t") for line in text.splitlines())


@pytest.mark.parametrize(
    "text, name",
    [
        ("capital-2", "capital_2"),
        ("2nd", "task_2nd"),
        ("class", "task_class"),
        ("numeric", "task_numeric"),  # the scorer of the file
        ("print", "task_print"),
        ("ünïcode", "_n_code"),
        ("", "task_"),
    ],
)
def test_a_name_becomes_a_function(text: str, name: str) -> None:
    assert identifier(text) == name


def test_the_longest_target_fits(tmp_path: Path) -> None:
    spec = resolve(rows_of(tmp_path, [{"input": "a", "output": "é" * 50}]), wish("exact"))
    assert spec.max_tokens == 108  # bytes, and room for the end of the turn
    assert resolve(rows_of(tmp_path, ROWS), wish("exact", max_tokens=3)).max_tokens == 3


@pytest.mark.parametrize(
    "kind, rows, changes, told",
    [
        (
            "exact",
            [{"question": "a", "answer": "b"}],
            {},
            [":no column is called `input`", ":no column is called `output` or `target`"],
        ),
        ("exact", ROWS, {"input": "inptu", "target": "x"}, [":no column `inptu` in any row", ":no column `x` in any row"]),
        ("exact", [*ROWS, {"input": "a"}], {}, ["3:no column `output`"]),
        ("exact", [{"input": "", "output": "b"}], {}, ["1:column `input` is empty"]),
        ("exact", [{"input": "a", "output": None}], {}, ["1:column `output` is empty"]),
        ("exact", [{"input": "a", "output": 4}], {}, ["1:column `output` is a number, not text: 4"]),
        ("numeric", ROWS, {}, ["2:column `output` is not a number: 'Paris'"]),
        ("numeric", ROWS[:1], {"tolerance": -1.0}, [":`--tolerance -1` is no tolerance"]),
        ("numeric", ROWS[:1], {"relative_tolerance": float("nan")}, [":`--relative-tolerance nan` is no tolerance"]),
        ("exact", ROWS, {"tolerance": 0.0}, [":`--tolerance` means nothing to `--kind exact`"]),
        ("exact", ROWS, {"judge": "a/b", "choices": ["x"]}, [
            ":`--choices` means nothing to `--kind exact`",
            ":`--judge` means nothing to `--kind exact`",
        ]),
        ("exact", ROWS, {"max_tokens": 0}, [":`--max-tokens 0` leaves no room for an answer"]),
        ("exact", ROWS, {"prompt": "no place"}, [":the prompt is no text with `{input}` in it once: 'no place'"]),
        ("pattern", ROWS, {}, [":`--kind pattern` needs a pattern"]),
        ("pattern", ROWS, {"pattern": "("}, [
            ":not a regular expression: missing ), unterminated subpattern at position 0"
        ]),
        ("graded", ROWS, {}, [":no judge"]),
        ("graded", ROWS, {"judge": "a/b", "judge_arg": {"api_key": "x"}}, [
            ":`--judge-arg api_key` would stand in the file and in every log"
        ]),
        ("graded", ROWS, {"judge": "gpt"}, [":`--judge gpt` is neither PROVIDER/MODEL nor a folder"]),
        ("choice", [{"input": "a", "output": "b"}], {}, [":no column is called `choices`"]),
        ("choice", [{"input": "a", "output": "b", "choices": "b"}], {}, [
            "1:column `choices` is no list of 2 to 26 texts"
        ]),
        ("choice", [{"input": "a", "output": "b", "choices": ["b", "b"]}], {}, [
            "1:column `choices` holds the same choice twice"
        ]),
        ("choice", [{"input": "a", "output": "b", "choices": ["b", 3]}], {}, [
            "1:column `choices` holds a choice that is no text"
        ]),
        ("choice", [*QUIZ, {"input": "a", "output": "c", "choices": ["a", "b"]}], {}, [
            "3:column `output` is no text of a choice: 'c'"
        ]),
        ("choice", [{"input": "a", "output": "1", "x": "2", "y": "1"}], {"choices": ["x", "y"], "target_is": "letter"}, [
            "1:column `output` is no letter of a choice: '1'"
        ]),
        ("choice", [{"input": "a", "output": "1", "x": "1", "y": "1"}], {"choices": ["x", "y"]}, [
            "1:two choices are the same"
        ]),
        # 1 is the text of the second choice and the index of the second, too; 2 means different ones.
        ("choice", [{"input": "a", "output": "0", "x": "1", "y": "0"}], {"choices": ["x", "y"]}, [
            ":the targets in `output`: can be read in several ways"
        ]),
        ("choice", [{"input": "a", "output": 1, "choices": ["a", "b", "c"]}], {}, [
            ":the targets in `output`: no index is 0, so they may count from 1"
        ]),
    ],
)  # fmt: skip
def test_every_fault_is_told(
    tmp_path: Path, kind: str, rows: list[dict[str, Any]], changes: dict[str, Any], told: list[str]
) -> None:
    assert problems(tmp_path, rows, wish(kind, **changes)) == told


def test_many_faults_are_counted(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"input": "a", "output": n} for n in range(20)]
    told = problems(tmp_path, rows, wish("exact"))
    assert told[4:] == ["5:column `output` is a number, not text: 4", ":column `output`: 15 more rows like these"]


@pytest.mark.parametrize(
    "targets, given, read",
    [
        (["Rome", "Paris"], None, "text"),
        (["A", "B"], None, "letter"),
        ([0, 1], None, "index"),
        (["0", "2"], None, "index"),
        ([1, 1], "index", "index"),
    ],
)
def test_targets_of_choices_are_recognized(tmp_path: Path, targets: list[Any], given: Any, read: str) -> None:
    rows = [{**row, "choices": ["Rome", "Paris", "Oslo"], "output": it} for row, it in zip(QUIZ, targets, strict=True)]
    assert resolve(rows_of(tmp_path, rows), wish("choice", target_is=given)).held["TARGET_IS"] == read


def test_every_format_makes_the_same_task(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    rows = [{"q": "say b,\nplease", "x": "a", "y": "b", "right": "b"}, {"q": "é", "x": "c", "y": "d", "right": "c"}]
    (tmp_path / "data.json").write_text(json.dumps(rows))
    rows_of(tmp_path, rows)
    pyarrow.csv.write_csv(pa.Table.from_pylist(rows), tmp_path / "data.csv")
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "data.parquet")
    asked = wish("choice", input="q", target="right", choices=["x", "y"])
    specs = [resolve(read_rows(tmp_path / f"data.{kind}"), asked) for kind in ("json", "jsonl", "csv", "parquet")]
    assert specs == [specs[0]] * 4
    assert (specs[0].held["CHOICES"], specs[0].held["TARGET_IS"]) == (["x", "y"], "text")
    wrong = wish("choice", input="q", target="q", choices=["x", "y"])
    for kind, place in {"json": "", "jsonl": "", "csv": "", "parquet": "row 1: "}.items():
        with pytest.raises(InputError, match=f"{place}column `q` is no "):
            resolve(read_rows(tmp_path / f"data.{kind}"), wrong)


def test_a_judge_is_pinned(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, ROWS)
    hosted = resolve(rows, wish("graded", judge="openai/gpt-4o-2024-08-06", judge_arg={"base_url": "x"})).held
    assert hosted["JUDGE_SETTINGS"] == {"seed": 1, "max_tokens": 1024, "temperature": 0.0}
    assert hosted["JUDGE_ARGUMENTS"] == {"base_url": "x"}
    # The hf provider samples by default, and transformers refuses a temperature of zero.
    local = resolve(rows, wish("graded", judge="hf/local", judge_arg={"model_path": "m"})).held
    assert local["JUDGE_SETTINGS"] == {"seed": 1, "max_tokens": 1024}
    assert local["JUDGE_ARGUMENTS"] == {"do_sample": False, "model_path": "m"}
