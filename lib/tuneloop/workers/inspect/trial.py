"""`try-task`: builds a task file on data and, given a model folder, asks the model a few of its samples.

A step that `create-inspect-task` calls in the work environment. The answer goes into a file: what tools print on the
way cannot spoil it.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import FailedError, InputError, Problem, TuneloopError
from tuneloop.documents.files import write_json
from tuneloop.experiment.work import to_json
from tuneloop.workers.adapters import hide_old_torchao
from tuneloop.workers.inspect.tasks import Task, TaskFaultError, build_task, find_task

MOST_SHOWN = 3


@dataclass(frozen=True)
class Shown:
    """One sample as the model answered it; `scores` by scorer."""

    input: str
    target: str
    answer: str
    scores: dict[str, float]


@dataclass(frozen=True)
class Tried:
    samples: int
    shown: tuple[Shown, ...]


def try_task(arguments: Sequence[str]) -> int:
    """Write `{tried}` or `{error}` into the file `--answer`; 0 either way."""
    parser = argparse.ArgumentParser(prog="try-task")
    parser.add_argument("file", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--answer", type=Path, required=True)
    parser.add_argument("--model", type=Path)
    asked = parser.parse_args(arguments)
    try:
        tried = _tried(asked.file, asked.data, asked.model)
        write_json(asked.answer, {"tried": to_json(tried)})
    except TuneloopError as error:
        problems = [problem.as_dict() for problem in error.problems]
        write_json(asked.answer, {"error": {"exit": error.exit_code, "problems": problems}})
    return 0


def _tried(file: Path, data: str, model: Path | None) -> Tried:
    try:
        task = find_task(str(file), file.parent)
        built = build_task(task, {"data": data})
    except TaskFaultError as error:
        raise InputError([Problem(fault.message, hint=fault.hint) for fault in error.faults]) from None
    return Tried(built.samples, () if model is None else tuple(_shown(task, data, model)))


def _shown(task: Task, data: str, folder: Path) -> list[Shown]:
    """Return the first samples with the answers of a local model, on the CPU and greedy."""
    from inspect_ai import eval as evaluate
    from inspect_ai.model import get_model

    if (folder / "adapter_config.json").is_file():
        hide_old_torchao()
    model = get_model("hf/local", model_path=str(folder), device="cpu", do_sample=False)
    [log] = evaluate(
        task.spec,
        model=model,
        task_args={"data": data},
        limit=MOST_SHOWN,
        seed=1,
        max_connections=MOST_SHOWN,
        log_dir=str(Path(task.spec).parent / "logs"),
        display="none",
    )
    if log.status != "success":
        words = (log.error.message if log.error else log.status).strip().splitlines()[0]
        raise FailedError(
            f"the trial ended with the status `{log.status}`: {words}", hint="edit the task, or the flags"
        )
    return [_as_shown(sample) for sample in log.samples]


def _as_shown(sample: Any) -> Shown:
    from inspect_ai.scorer import value_to_float

    turns = [sample.input] if isinstance(sample.input, str) else [item.text for item in sample.input]
    target = sample.target if isinstance(sample.target, str) else json.dumps(sample.target)
    scores = {name: float(value_to_float()(score.value)) for name, score in (sample.scores or {}).items()}
    return Shown(turns[-1], target, sample.output.completion, scores)
