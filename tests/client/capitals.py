"""The shipped question, cut to one run and one evaluation, in a project of a person's own."""

import csv
import re
import shutil
from pathlib import Path

from claude import ROOT
from reading import Body, everything, results
from scripted_api import Use

TASK = "capitalization.py"
ITEMS = 20  # of the evaluation
DESIGN = """\
schema: tuneloop.experiment/1
name: capitals
question: Does a small model learn to capitalize a word?
method: {{objective: sft, update: lora}}
model: {up}model
data:
  - split: train
    path: {up}data/train.jsonl
    format: instruct
    columns: {{input: word, output: capitalized}}
    prompt: "capitalize: {{input}}"
  - {{split: test, path: {up}data/test.jsonl}}
controls: {{lora_rank: 8, lr: 3e-3, epochs: 1, batch_size: 32}}
evaluations:
  - {{name: capitals, task: {up}capitalization.py, split: test, limit: {items}, generation: {{max_tokens: 16}}}}
metrics:
  primary: {{evaluation: capitals, direction: maximize, smallest_effect: 0.05}}
budget: {{hours: 1}}
"""
_LIMIT = re.compile(r"`tuneloop wait\b.*\b(\d+,\d{3}) ms\b")
_PLAN = re.compile(r"^plan (\w+)$", re.MULTILINE)


def bring_material(project: Path) -> None:
    """Put data, task and model into the project, as a person has them before any question is asked."""
    example = ROOT / "examples" / "capitalization"
    shutil.copytree(example / "data", project / "data")
    shutil.copy(example / TASK, project / TASK)
    shutil.copytree(ROOT / "examples" / "tiny-base", project / "model")


def design(up: str = "") -> str:
    """Return the design; `up` leads from its folder to the project's, such as `../../`."""
    return DESIGN.format(up=up, items=ITEMS)


def plan_shown(body: Body) -> str:
    """Return the plan id that a dry run has printed last in the conversation."""
    return [found for result in results(body) for found in _PLAN.findall(result.text)][-1]


def shell(command: str) -> Use:
    return Use("Bash", {"command": command})


def wait(command: str, body: Body) -> Use:
    """Return a call that waits for jobs, with the limit that a text of ours, read before, tells for it.

    Without a limit the client ends a call after two minutes.
    """
    limits = _LIMIT.findall(everything(body))
    assert limits, "nothing that was read tells how long a call may wait"
    return Use("Bash", {"command": command, "timeout": int(limits[-1].replace(",", ""))})


def write(path: Path, text: str) -> Use:
    return Use("Write", {"file_path": str(path), "content": text})


def mean_score(experiment: Path) -> str:
    """Return the mean of the primary metric over the items, computed from the table, as a report prints it."""
    with (experiment / "analysis" / "results.csv").open() as file:
        scores = [row["value"] for row in csv.DictReader(file) if (row["scorer"], row["metric"]) == ("match", "score")]
    assert len(scores) == ITEMS
    return f"{sum(map(float, scores)) / ITEMS:.2f}"
