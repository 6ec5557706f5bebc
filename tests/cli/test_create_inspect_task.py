"""create-inspect-task on the command line: what is written, what is refused, and what is left alone."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_support import problems

from places import content
from tuneloop.cli import create as cli
from tuneloop.documents.errors import InputError
from tuneloop.documents.yamltext import dump_yaml
from tuneloop.experiment.expand import expand
from tuneloop.experiment.read import read_experiment
from tuneloop.experiment.work import Machine
from tuneloop.loop import inspect_task
from tuneloop.workers import Order
from tuneloop.workers.inspect import create as made
from tuneloop.workers.inspect import worker
from tuneloop.workers.inspect.create import Wish
from tuneloop.workers.inspect.trial import Tried
from typed import as_json, tuneloop

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"
WORDS = EXAMPLES / "capitalization/data/test.jsonl"
BASE = EXAMPLES / "tiny-base"
COLUMNS = ("--input", "word", "--target", "capitalized")
HEAD: dict[str, Any] = {
    "schema": "tuneloop.experiment/1",
    "name": "small",
    "question": "Does it hold?",
    "model": str(BASE),
    "data": [
        {
            "split": "train",
            "path": "words.jsonl",
            "columns": {"input": "word", "output": "capitalized"},
            "prompt": "capitalize: {input}",
        },
        {"split": "test", "path": "words.jsonl", "system": "Be brief."},
    ],
    "runs": [{"name": "control", "kind": "control"}],
}


def make_experiment(folder: Path, evaluations: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "words.jsonl").write_text("".join(WORDS.read_text().splitlines(keepends=True)[:5]))
    (folder / "experiment_summary.md").write_text(f"---\n{dump_yaml(HEAD)}{evaluations}---\n\n# Notes\n")
    return folder


def test_the_command_offers_the_kinds_that_there_are() -> None:
    """They stand twice, since `tuneloop --help` imports no worker."""
    assert cli.Kind == made.Kind
    assert cli.TargetIs == made.TargetIs


def create(folder: Path, *options: str | Path) -> Any:
    return tuneloop(folder, "create-inspect-task", *options)


@pytest.mark.train
def test_a_task_is_written_tried_and_kept(tmp_path: Path) -> None:
    options = ("sub/words.py", "--kind", "exact", "--data", WORDS, *COLUMNS, "--prompt", "capitalize: {input}")
    shown = create(tmp_path, *options, "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert list(tmp_path.iterdir()) == []
    told = as_json(create(tmp_path, *options, "--try", BASE, "--json"))
    assert (told["schema"], told["task"], told["samples"]) == ("tuneloop.inspect-task/1", "words", 100)
    assert [set(item) for item in told["tried"]] == [{"input", "target", "answer", "scores"}] * 3
    assert told["tried"][0]["input"] == "capitalize: wtp"
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["sub", "sub/words.py"]
    text = (tmp_path / "sub/words.py").read_text()
    assert text == told["text"]
    assert text in shown.stdout

    (tmp_path / "sub/words.py").write_text("mine")
    again = create(tmp_path, *options, "--json")
    assert [item.message for item in problems(again)] == ["there is a file already, and it is not overwritten"]
    assert (tmp_path / "sub/words.py").read_text() == "mine"


CAP = "{name: cap, task: strict.py, split: test}"


@pytest.mark.train
@pytest.mark.parametrize(
    "before, behind",
    [("", ""), (f"evaluations:\n    - {CAP}\n", ""), ("evaluations: [", f"{CAP}]\n")],
    ids=["none", "block", "brackets"],
)
def test_the_entry_can_be_pasted(tmp_path: Path, before: str, behind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_experiment(tmp_path / "exp", before + behind)
    if before:  # one real trial is enough
        monkeypatch.setattr(inspect_task, "_try", lambda *given: Tried(5, ()))
    place = inspect_task.place_within(read_experiment(folder), None, None, "strict")
    plan = inspect_task.plan_task(place, Wish("exact", "strict", "words.jsonl", system="Be kind."), None)
    inspect_task.write_task(plan)
    assert (plan.tried.samples, plan.place.file) == (5, folder / "strict.py")

    make_experiment(folder, f"{before}{plan.entry}{behind}")
    experiment = read_experiment(folder)
    item = experiment.design.evaluation("strict")
    assert (item.task, item.split, item.args) == ("strict.py", "test", {"system": "Be kind."})
    runs = [run for run in expand(experiment.design) if run.kind == "control"]
    found = worker.scaffold(Order(str(folder), experiment.design, runs, Machine("local", 0, 1, sys.executable)))
    assert found.faults == ()
    request = json.loads(next(file.text for file in found.files if file.path.endswith("strict_base.json")))
    assert request["args"] == {
        "data": "../words.jsonl",
        "input": "word",
        "target": "capitalized",
        "prompt": "capitalize: {input}",
        "system": "Be kind.",
    }
    assert request["samples"] == 5


@pytest.mark.parametrize(
    "options, message, hint",
    [
        (("--kind", "exact"), "no file named for the task", "write it like"),
        (("x.txt", "--kind", "exact", "--data", WORDS), "a task is a Python file", "name it x.py"),
        (("x.py", "--kind", "exact", "--data", "gone.csv"), "no such file", None),
        (("x.py", "--kind", "exact", "--data", WORDS), "no column is called `input`", "name it with `--input`"),
        (
            ("x.py", "--kind", "exact", "--data", WORDS, "--input", "wrod", "--target", "capitalized"),
            "no column `wrod` in any row",
            "did you mean `word`?",
        ),
        (("x.py", "--kind", "exact", "--data", WORDS, "--split", "test"), "`--split` names data", "add `--experiment"),
        (
            ("x.py", "--kind", "exact", "--data", WORDS, "--experiment", "exp"),
            "both name the data",
            "take `--data` out",
        ),
        (
            ("--kind", "exact", "--experiment", "exp", "--split", "tset"),
            "no data has the split",
            "did you mean `test`?",
        ),
        (("--kind", "exact", "--experiment", "exp", "--name", "a b"), "is not a plain name", "use letters"),
        (("--kind", "exact", "--experiment", "exp", "--name", "cap"), "an evaluation `cap` already", "`--name`"),
        (("--kind", "exact", "--experiment", "gone"), "no experiment here", "design-experiment"),
        (
            ("x.py", "--kind", "exact", "--data", WORDS, *COLUMNS, "--try", "exp"),
            "not a model folder",
            "save_pretrained",
        ),
        (("x.py", "--kind", "graded", "--data", WORDS, *COLUMNS), "no judge", "none is taken by default"),
        (
            ("x.py", "--kind", "graded", "--data", WORDS, *COLUMNS, "--judge", "a/b", "--judge-arg", "c"),
            "is not NAME=VALUE",
            "write it like",
        ),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path, options: tuple[str | Path, ...], message: str, hint: str | None
) -> None:
    make_experiment(tmp_path / "exp", "evaluations:\n- {name: cap, task: exact.py, split: test}\n")
    before = content(tmp_path)
    done = create(tmp_path, *options, "--json")
    assert done.returncode == 2
    told = problems(done)
    assert message in told[0].message
    assert hint is None or hint in (told[0].hint or "")
    assert content(tmp_path) == before


def test_an_unknown_kind_is_a_usage_error(tmp_path: Path) -> None:
    done = create(tmp_path, "x.py", "--kind", "fuzzy", "--data", WORDS)
    assert done.returncode == 2
    assert "'exact', 'choice', 'numeric', 'pattern', 'graded'" in done.stderr


def test_a_lacking_work_environment_is_told(tmp_path: Path) -> None:
    (tmp_path / "tuneloop.yaml").write_text("clusters: {local: {python: /no/such/python}}\n")
    done = create(tmp_path, "x.py", "--kind", "exact", "--data", WORDS, *COLUMNS, "--json")
    assert done.returncode == 3
    [told] = problems(done)
    assert told.message == "no work environment for `inspect`: /no/such/python: No such file or directory"
    assert not (tmp_path / "x.py").exists()


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect_task, "_try", lambda *given: Tried(100, ()))
    place = inspect_task.place_alone(tmp_path / "x.py", WORDS)
    plan = inspect_task.plan_task(place, Wish("exact", "x", "d", input="word", target="capitalized"), None)
    (tmp_path / "x.py").write_text("somebody else's")
    with pytest.raises(InputError, match="not overwritten"):
        inspect_task.write_task(plan)
    assert [path.name for path in tmp_path.iterdir()] == ["x.py"]
    assert (tmp_path / "x.py").read_text() == "somebody else's"
