"""`design-experiment`: what a file or the command line names is found from the new experiment, too."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import pytest
from pydantic import BaseModel

from lab import as_json, cli, make_echo
from tuneloop.documents.yamltext import load_yaml
from tuneloop.experiment.design import Design
from tuneloop.loop.design import PATHS, moved, read_source

# Keys of the design that are free text and name no file.
NO_PATHS = {
    *("question", "hypothesis", "preset", "method.algorithm"),
    *("data.prompt", "data.system", "data.hash", "evaluations.split"),
    *("metrics.primary.evaluation", "metrics.primary.scorer"),
    *("metrics.guardrails.evaluation", "metrics.guardrails.scorer"),
}


def texts(model: type[BaseModel], *above: str) -> Iterator[str]:
    """Yield the keys of a schema that hold any text, without plain names and words of a list."""
    for name, field in model.model_fields.items():
        if any(type(item).__name__ == "BeforeValidator" for item in field.metadata):
            continue
        for kind in kinds(field.annotation):
            if kind is str:
                yield ".".join([*above, name])
            elif isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from texts(kind, *above, name)


def kinds(annotation: Any) -> Iterator[Any]:
    """Yield what an annotation is made of: `list[X] | None` is X and None."""
    if get_origin(annotation) in (dict, Annotated):
        return
    inner = get_args(annotation)
    yield from (kind for item in inner for kind in kinds(item)) if inner else (annotation,)


def test_every_text_of_a_design_is_known_as_a_path_or_not() -> None:
    assert sorted(texts(Design)) == sorted([*NO_PATHS, *(".".join(keys) for keys in PATHS)])


def test_all_paths_of_a_file_are_rewritten(tmp_path: Path) -> None:
    before, folder = tmp_path / "designs", tmp_path / "runs" / "new"
    before.mkdir()
    for name in ("base", "teacher", "judge", "data.jsonl", "task.py", "trained"):
        (before / name).touch()
    (before / "design.yaml").write_text(
        "model: base\nmethod: {teacher: teacher, reward_model: judge, update: full}\n"
        "data: [{split: train, path: data.jsonl}]\nevaluations: [{name: cap, task: task.py@cap}]\n"
        "runs: [{name: old, kind: eval-only, checkpoint: trained}, {name: control, kind: control}]\n"
    )
    assert read_source(before / "design.yaml", folder) == {
        "model": f"{before}/base",
        "method": {"teacher": f"{before}/teacher", "reward_model": f"{before}/judge", "update": "full"},
        "data": [{"split": "train", "path": f"{before}/data.jsonl"}],
        "evaluations": [{"name": "cap", "task": f"{before}/task.py@cap"}],
        "runs": [
            {"name": "old", "kind": "eval-only", "checkpoint": f"{before}/trained"},
            {"name": "control", "kind": "control"},
        ],
    }


@pytest.mark.parametrize(
    "head", ["model: 3", "method: lora", "data: data.jsonl", "data: [data.jsonl]", "runs: {name: 3}"]
)
def test_what_has_another_shape_is_left_to_the_schema(tmp_path: Path, head: str) -> None:
    source = tmp_path / "design.yaml"
    source.write_text(head)
    assert read_source(source, tmp_path / "new") == load_yaml(head)


def cited(tmp_path: Path, model: str, *, beside: tuple[str, ...] = ()) -> Any:
    """Return how an experiment `runs/new` names the model and the checkpoint of designs/design.yaml."""
    for place in ("designs/first", *beside):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "experiment_summary.md").touch()
    source = tmp_path / "designs" / "design.yaml"
    source.write_text(f"model: {model}\nruns: [{{name: old, kind: eval-only, checkpoint: {model}}}]\n")
    found = read_source(source, tmp_path / "runs" / "new")
    assert found["runs"][0]["checkpoint"] == found["model"]
    return found["model"]


def test_a_cited_experiment_is_found_from_elsewhere(tmp_path: Path) -> None:
    assert cited(tmp_path, "first/lr1e-3@01") == f"{tmp_path}/designs/first/lr1e-3@01"


def test_an_experiment_beside_the_new_one_comes_first(tmp_path: Path) -> None:
    """A shipped design cites `../sft`, which is made beside it, wherever that is."""
    assert cited(tmp_path, "../first/lr1e-3@1", beside=("first", "runs/first")) == "../first/lr1e-3@1"


@pytest.mark.parametrize("model", ["lr1e-3@1", "nowhere/lr1e-3@1", "../first/lr1e-3@1", "org/name"])
def test_a_citation_of_nothing_stays_as_it_is(tmp_path: Path, model: str) -> None:
    assert cited(tmp_path, model) == model


def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, *, experiments: tuple[str, ...]) -> Any:
    """Return how an experiment `runs/new` names the model that is typed in tmp_path/here."""
    for place in ("here", *experiments):
        (tmp_path / place).mkdir(parents=True)
    for place in experiments:
        (tmp_path / place / "experiment_summary.md").touch()
    monkeypatch.chdir(tmp_path / "here")
    return moved({"model": model}, Path(), tmp_path / "runs" / "new")["model"]


def test_a_cited_experiment_that_is_typed_is_found_from_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = typed(tmp_path, monkeypatch, "../first/lr1e-3@1", experiments=("first", "runs/first"))
    assert found == f"{tmp_path}/first/lr1e-3@1", "where the command runs comes before the new experiment's neighbours"


def test_a_typed_citation_that_only_the_new_experiment_sees_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert typed(tmp_path, monkeypatch, "../first/a@1", experiments=("runs/first",)) == "../first/a@1"


@pytest.mark.slow
def test_an_experiment_starts_from_a_checkpoint_that_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make_echo(tmp_path / "runs" / "first", variables="{lr: [1e-3]}")
    monkeypatch.chdir(tmp_path)
    cli("design-experiment", "runs/deep/second", "--from", first / "design.yaml", "--model", "runs/first/lr1e-3@1")
    assert f"model: {first}/lr1e-3@1" in (tmp_path / "runs/deep/second/experiment_summary.md").read_text()


@pytest.mark.slow
def test_an_experiment_from_a_file_starts_from_a_checkpoint_that_the_file_cites(tmp_path: Path) -> None:
    first = make_echo(tmp_path / "designs" / "first", variables="{lr: [1e-3]}")
    source = tmp_path / "designs" / "design.yaml"
    text = (first / "design.yaml").read_text().replace("model: model", "model: first/lr1e-3@1")
    source.write_text(text.replace("path: data.jsonl", "path: first/data.jsonl").replace("name: echo\n", "name: two\n"))
    second = tmp_path / "runs" / "second"
    cli("design-experiment", second, "--from", source)
    cli("scaffold-experiment", second)
    assert f"model: {first}/lr1e-3@1" in (second / "experiment_summary.md").read_text()
    assert as_json("scaffold-experiment", second, "--dry-run")["changed"] == []
    stored = json.loads((second / ".tuneloop" / "jobs" / "echo.json").read_text())
    assert {need["experiment"] for job in stored["jobs"] for need in job["needs"]} == {str(first)}
