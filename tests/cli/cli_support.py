"""A folder with a model, data and the design of an echo experiment, and the problems that a command tells of it."""

import json
import subprocess
from pathlib import Path
from typing import NamedTuple

DESIGN = """\
schema: tuneloop.experiment/1
name: probe
question: Does it hold?
backend: echo
model: model
data:
  - {split: train, path: data.jsonl, format: instruct, columns: {input: word, output: answer}}
  - {split: test, path: data.jsonl}
variables: {lr: [1e-3, 1e-4]}
controls: {epochs: 2}
evaluations:
  - {name: cap, backend: echo-eval, task: echo, split: test}
metrics: {primary: {evaluation: cap}}
runs: [{name: control, kind: control}]
"""
PLAIN = "use letters, digits, `.`, `_` and `-`, at most 64, beginning with a letter or digit"


class Told(NamedTuple):
    """One problem as the command tells it."""

    message: str
    line: int | None = None
    key: str | None = None
    hint: str | None = None


def problems(done: subprocess.CompletedProcess[str]) -> list[Told]:
    """Return the problems of a failure told as JSON, each once; files are looked at by the caller."""
    value = json.loads(done.stdout)
    assert value["schema"] == "tuneloop.error/1"
    assert value["exit"] == done.returncode
    told = [Told(item["message"], item["line"], item["key"], item["hint"]) for item in value["problems"]]
    return list(dict.fromkeys(told))


def files(done: subprocess.CompletedProcess[str]) -> set[str | None]:
    return {item["file"] for item in json.loads(done.stdout)["problems"]}


def prepare(folder: Path, design: str = DESIGN) -> Path:
    """Make `folder` with `design.yaml`, a model and data; return it."""
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "config.json").write_text("{}")
    (folder / "data.jsonl").write_text('{"word": "one", "answer": "ONE"}\n{"word": "two", "answer": "TWO"}\n')
    (folder / "design.yaml").write_text(design)
    return folder


def designed(folder: Path) -> Path:
    """Make `folder` with a summary as a person may write it: the design and nothing else."""
    prepare(folder)
    (folder / "experiment_summary.md").write_text(f"---\n{DESIGN}---\n")
    return folder


def changed(*changes: tuple[str, str]) -> str:
    text = DESIGN
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text
