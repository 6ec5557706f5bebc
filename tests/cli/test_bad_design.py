"""Bad designs: exit 2 with file, line, key and hint, all faults at once, and nothing is written."""

import json
from pathlib import Path

import pytest
from cli_support import DESIGN, PLAIN, Told, changed, files, prepare, problems

from places import content
from tuneloop.experiment.design import Design
from typed import tuneloop

pytestmark = pytest.mark.slow

BIG = ("{lr: [1e-3, 1e-4]}", f"{{x: {list(range(101))}, y: {list(range(100))}}}")
NOT_PLAIN = "is not a plain name"
RESERVED = "choose another; reserved: analysis, base, eval"
UPDATES = "use one of 'full', 'lora', 'qlora', 'dora' or 'qat'"

KEYS = [f"`{field.alias or name}`" for name, field in Design.model_fields.items()]
KNOWN = f"known: {', '.join(KEYS)}"

CASES: dict[str, tuple[str, int, list[Told]]] = {
    "unknown key": (
        changed(("question:", "qestion:")),
        2,
        [
            Told("missing key `question`", 1, "question", "add `question:`"),
            Told("unknown key `qestion`", 3, "qestion", "did you mean `question`?"),
        ],
    ),
    "wrong types and words": (
        changed(
            ("experiment/1", "experiment/9"),
            ("name: probe", "name: 3"),
            ("question: Does it hold?", "question: Does it hold?\nmethod: {update: lorra}"),
            ("{split: test, path", "{split: test, colums: {a: b}, path"),
            ("{lr: [1e-3, 1e-4]}", "{lr: 1e-3}"),
            ("controls: {epochs: 2}", "controls: {epochs: 2}\nseeds: []"),
        ),
        2,
        [
            Told("`schema` is 'tuneloop.experiment/9'", 1, "schema", "use one of 'tuneloop.experiment/1'"),
            Told("`name` should be a valid string, found 3", 2, "name", 'put it in quotes: `name: "3"`'),
            Told("`method.update` is 'lorra'", 4, "method.update", UPDATES),
            Told("unknown key `data.1.colums`", 9, "data.1.colums", "did you mean `columns`?"),
            Told(
                "`variables.lr` should be a valid list, found 0.001",
                10,
                "variables.lr",
                "write it in brackets: `lr: [...]`",
            ),
            Told("`seeds` needs at least 1, found []", 12, "seeds", "give at least 1"),
        ],
    ),
    "wrong numbers": (
        changed(
            ("split: test}\nm", "split: test, limit: 0}\nm"),
            ("controls: {epochs: 2}", "controls: {epochs: 2}\nbudget: {hours: -1}\nseeds: one"),
        ),
        2,
        [
            Told("`seeds` should be a valid list, found 'one'", 12, "seeds", "write it in brackets: `seeds: [...]`"),
            Told(
                "`evaluations.0.limit` should be greater than or equal to 1, found 0",
                14,
                "evaluations.0.limit",
                "write 1 or more",
            ),
            Told(
                "`budget.hours` should be greater than 0, found -1",
                11,
                "budget.hours",
                "write a larger number, such as 1",
            ),
        ],
    ),
    "hostile and reserved names": (
        changed(
            ("name: probe", "name: ../probe"),
            ("name: cap", "name: $(touch x)"),
            ("[{name: control, kind: control}]", '[{name: "a\\nb"}, {name: Analysis}]'),
        ),
        2,
        [
            Told(f"`name`: name '../probe' {NOT_PLAIN}", 2, "name", PLAIN),
            Told(f"`evaluations.0.name`: name '$(touch x)' {NOT_PLAIN}", 12, "evaluations.0.name", PLAIN),
            Told(f"`runs.0.name`: name 'a\\nb' {NOT_PLAIN}", 14, "runs.0.name", PLAIN),
            Told("`runs.1.name`: name `Analysis` is reserved", 14, "runs.1.name", RESERVED),
        ],
    ),
    "duplicate key": (
        changed(("controls: {epochs: 2}", "controls: {epochs: 2}\nname: other")),
        2,
        [Told("duplicate key `name`", 11, "name", "it stands on line 2 already")],
    ),
    "too many runs": (
        changed(BIG),
        2,
        [
            Told(
                "the design expands into 10,100 runs, more than 10,000",
                9,
                "variables",
                "vary fewer values, or list the cells you want",
            )
        ],
    ),
    "several faults between keys": (
        changed(
            ("split: train", "split: training"),
            ("evaluation: cap", "evaluation: cup"),
            ("split: test}\nm", "split: tset}\nm"),
        ),
        2,
        [
            Told("no entry of `data` has `split: train`", 6, "data", "add one"),
            Told("no data has the split `tset`", 12, "evaluations.0.split", "did you mean `test`?"),
            Told("no evaluation `cup`", 13, "metrics.primary.evaluation", "did you mean `cap`?"),
        ],
    ),
    "prompt without input": (
        changed(("format: instruct", 'format: instruct, prompt: "do it"')),
        2,
        [Told("the prompt needs `{input}` exactly once", 7, "data.0.prompt", 'write it like "capitalize: {input}"')],
    ),
    "run of the matrix and control run": (
        changed(("name: control", "name: lr1e-3")),
        2,
        [Told("`lr1e-3` is a run of the matrix and a control run", 14, "runs", "give the second one another name")],
    ),
    "not YAML": (
        changed(("metrics: {primary: {evaluation: cap}}", "metrics: {primary: {evaluation: cap}")),
        2,
        [
            Told(
                "not YAML: did not find expected ',' or '}'",
                14,
                hint="close the bracket or brace, and put a comma between its items",
            )
        ],
    ),
    "a tag that runs code": (
        changed(("Does it hold?", "!!python/object/apply:os.system [touch x]")),
        2,
        [
            Told(
                "not YAML: the tag `tag:yaml.org,2002:python/object/apply...` is not known here",
                3,
                hint="put text that begins with `!` in quotes",
            )
        ],
    ),
    "an unknown key with the name of a type": (
        changed(("metrics: {primary: {evaluation: cap}}", "int: 3")),
        2,
        [Told("unknown key `int`", 13, "int", KNOWN)],
    ),
    "nothing": ("", 2, [Told("expected keys and values", 1)]),
}


@pytest.mark.parametrize(("design", "code", "told"), CASES.values(), ids=CASES)
def test_bad_design_is_told_and_nothing_written(tmp_path: Path, design: str, code: int, told: list[Told]) -> None:
    folder = prepare(tmp_path / "exp", design)
    before = content(tmp_path)
    done = tuneloop(tmp_path, "design-experiment", "exp", "--from", "exp/design.yaml", "--json")
    assert done.returncode == code
    assert problems(done) == told
    assert len({Path(name).name for name in files(done) if name}) == 1
    assert files(done) <= {"exp/design.yaml", str(folder / "design.yaml")}
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    ("design", "code", "told"),
    [
        (
            changed(("controls:", "cluster: lokal\ncontrols:")),
            3,
            ("no cluster profile `lokal`", "did you mean `local`?"),
        ),
        (changed(("backend: echo\n", "backend: ekho\n")), 3, ("no worker `ekho`", "did you mean `echo`?")),
        (
            changed(("backend: echo-eval", "backend: echo-evil")),
            3,
            ("no worker `echo-evil`", "did you mean `echo-eval`?"),
        ),
    ],
    ids=["cluster profile", "worker", "evaluating worker"],
)
def test_missing_part_is_exit_3(tmp_path: Path, design: str, code: int, told: tuple[str, str]) -> None:
    prepare(tmp_path / "exp", design)
    before = content(tmp_path)
    done = tuneloop(tmp_path, "design-experiment", "exp", "--from", "exp/design.yaml", "--json")
    assert done.returncode == code
    assert [(item.message, item.hint) for item in problems(done)] == [told]
    assert content(tmp_path) == before


@pytest.mark.parametrize("place", ["nope", "~nobody.here/nope"])
def test_missing_inputs_are_told_together(tmp_path: Path, place: str) -> None:
    prepare(
        tmp_path / "exp", changed(("model: model", f"model: {place}"), ("test, path: data", f"test, path: {place}"))
    )
    before = content(tmp_path)
    done = tuneloop(tmp_path, "design-experiment", "exp", "--from", "exp/design.yaml", "--json")
    assert done.returncode == 2
    expected = {
        Told(f"no model folder `{place}`", 5, "model", "paths start at the experiment's folder"),
        Told(f"no data file `{place}.jsonl`", 8, "data.1.path"),
    }
    assert expected <= set(problems(done))
    assert content(tmp_path) == before


def test_text_has_file_line_and_hint(tmp_path: Path) -> None:
    prepare(tmp_path / "exp", CASES["unknown key"][0])
    done = tuneloop(tmp_path, "design-experiment", "exp", "--from", "exp/design.yaml")
    assert done.stdout == ""
    assert done.stderr == (
        "error: exp/design.yaml:1: missing key `question`\n"
        "  hint: add `question:`\n"
        "error: exp/design.yaml:3: unknown key `qestion`\n"
        "  hint: did you mean `question`?\n"
    )


HEAD = f"---\n{DESIGN}---\n\n# Probe\n"
SUMMARIES: dict[str, tuple[str, list[Told]]] = {
    "no head": ("# Probe\n", [Told("no frontmatter", 1, None, "begin the file with a line `---`")]),
    "unclosed head": (f"---\n{DESIGN}", [Told("the head is never closed", 1, None, "end the head with a line `---`")]),
    "unknown key": (
        HEAD.replace("controls:", "contrls:"),
        [Told("unknown key `contrls`", 11, "contrls", "did you mean `controls`?")],
    ),
    "duplicate key": (
        HEAD.replace("controls:", "name: b\ncontrols:"),
        [Told("duplicate key `name`", 11, "name", "it stands on line 3 already")],
    ),
    "unknown evaluation": (
        HEAD.replace("evaluation: cap", "evaluation: cup"),
        [Told("no evaluation `cup`", 14, "metrics.primary.evaluation", "did you mean `cap`?")],
    ),
}


@pytest.mark.parametrize(
    ("command", "case"),
    [
        *(("check-experiment", case) for case in SUMMARIES),
        ("run-experiment", "unclosed head"),
        ("status", "unknown key"),
    ],
)
def test_every_command_reads_the_head_alike(tmp_path: Path, command: str, case: str) -> None:
    text, told = SUMMARIES[case]
    folder = prepare(tmp_path / "exp")
    (folder / "experiment_summary.md").write_text(text)
    before = content(tmp_path)
    done = tuneloop(tmp_path, command, "exp", "--json")
    assert done.returncode == 2
    assert problems(done) == told
    assert files(done) == {str(folder / "experiment_summary.md")}
    assert content(tmp_path) == before


def test_broken_markers_are_told(tmp_path: Path) -> None:
    folder = prepare(tmp_path / "exp")
    summary = folder / "experiment_summary.md"
    summary.write_text(f"{HEAD}\n<!-- tuneloop:begin design -->\nno end\n")
    before = summary.read_bytes()
    done = tuneloop(tmp_path, "check-experiment", "exp", "--json")
    assert done.returncode == 2
    (told,) = problems(done)
    assert (told.message, told.line) == ("the markers of the generated block `design` do not pair", 20)
    assert summary.read_bytes() == before


def test_error_json_is_one_document(tmp_path: Path) -> None:
    done = tuneloop(tmp_path, "status", "nowhere", "--json")
    assert done.returncode == 2
    assert done.stderr == ""
    assert json.loads(done.stdout) == {
        "schema": "tuneloop.error/1",
        "exit": 2,
        "problems": [
            {
                "message": "no experiment here",
                "file": "nowhere",
                "line": None,
                "key": None,
                "hint": "`tuneloop design-experiment nowhere --help` makes one",
            }
        ],
    }
