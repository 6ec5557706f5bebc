"""create-inspect-task: a task file for the data at hand, tried before it is written, and its entry for a design.

The head of a design belongs to people, so the entry is text to paste.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tuneloop.documents.config import load
from tuneloop.documents.errors import InputError, MissingError, Problem, did_you_mean
from tuneloop.documents.files import create_text, make_folder, read_text, user_path, write_text
from tuneloop.documents.shell import checked_name, typed
from tuneloop.documents.yamltext import dump_yaml
from tuneloop.experiment.design import Source, sources
from tuneloop.experiment.read import Experiment
from tuneloop.experiment.work import from_json
from tuneloop.loop.orders import Crew
from tuneloop.workers.bridge import broken, revived
from tuneloop.workers.inspect import worker
from tuneloop.workers.inspect.columns import read_rows
from tuneloop.workers.inspect.create import TaskSpec, Wish, render, resolve
from tuneloop.workers.inspect.trial import Tried

# What a design tells a task, by the task's own names.
_TOLD = ("input", "target", "prompt", "system")


@dataclass(frozen=True)
class Place:
    """Where the task goes, what it reads, and the split of the experiment that this is; None without one."""

    file: Path
    data: Path
    experiment: Experiment | None = None
    source: Source | None = None


@dataclass(frozen=True)
class TaskPlan:
    """A task file that was tried and not written yet."""

    place: Place
    spec: TaskSpec
    text: str
    tried: Tried
    entry: str | None  # YAML for the head of the design
    entry_goes: str | None  # where in the head


def place_alone(file: Path | None, data: Path | None) -> Place:
    """Return the place of a task without an experiment. Raises InputError when a part is not given."""
    problems = []
    if file is None:
        problems.append(
            Problem("no file named for the task", hint="write it like `tuneloop create-inspect-task words.py`")
        )
    if data is None:
        problems.append(Problem("no data named", hint="add `--data FILE`, or `--experiment EXP` to use its data"))
    if file is None or data is None:
        raise InputError(problems)
    _refuse_file(file)
    return Place(file, data)


def place_within(experiment: Experiment, file: Path | None, split: str | None, name: str) -> Place:
    """Return the place of a task for a split of an experiment: in its folder, unless another file is named.

    Raises InputError for a split that the design does not have, or data that a task cannot read.
    """
    known = sources(experiment.design)
    chosen = split or ("test" if "test" in known else None)
    if chosen is None or chosen not in known:
        message = f"no data has the split `{chosen}`" if chosen else "the design has no split `test`"
        hint = (
            did_you_mean(chosen or "", list(known))
            if chosen
            else f"say which one is read: `--split {next(iter(known))}`"
        )
        raise InputError(experiment.problem(("data",), message, hint))
    source, *more = known[chosen]
    if more:
        message = f"the split `{chosen}` has {len(more) + 1} files, and a task reads one"
        raise InputError(experiment.problem(("data",), message, "give the file to evaluate a split of its own"))
    if source.format != "instruct":
        message = f"the split `{chosen}` has the format `{source.format}`, and a task reads rows with columns"
        raise InputError(experiment.problem(("data",), message, "name an evaluation file of `format: instruct`"))
    target = experiment.layout.folder / f"{name}.py" if file is None else file
    _refuse_file(target)
    if name in {item.name for item in experiment.design.evaluations}:
        message = f"the design has an evaluation `{name}` already"
        raise InputError(experiment.problem(("evaluations",), message, "choose another with `--name`"))
    return Place(target, experiment.path(source.path), experiment, source)


def plan_task(place: Place, wish: Wish, model: Path | None) -> TaskPlan:
    """Check the data, make the text, and try it in the work environment; writes nothing.

    Raises InputError with every fault of the options and the data; FailedError when the trial fails.
    """
    if model is not None and not (model / "config.json").is_file() and not (model / "adapter_config.json").is_file():
        hint = "name the folder that transformers' save_pretrained wrote"
        raise InputError(Problem("not a model folder: no config.json in it", model, hint=hint))
    checked = _checked(wish.name)
    wish = _with_design(_with_judge(wish), place.source)
    spec = resolve(read_rows(place.data), wish)
    text = render(spec)
    tried = _try(place, spec, text, model)
    entry, goes = (None, None) if place.experiment is None else _entry(place, wish, checked)
    return TaskPlan(place, spec, text, tried, entry, goes)


def named_in(place: Path, data: Path) -> str:
    """Return the path of the data as the task at `place` names it: relative to its own folder."""
    return os.path.relpath(data.resolve(), place.resolve().parent)


def write_task(plan: TaskPlan) -> None:
    """Write the file. Raises InputError when there is one by now: a task is never overwritten."""
    make_folder(plan.place.file.parent)
    try:
        create_text(plan.place.file, plan.text, mode=0o644)
    except FileExistsError:
        _refuse_file(plan.place.file)


def _refuse_file(file: Path) -> None:
    if file.suffix != ".py":
        raise InputError(Problem("a task is a Python file", file, hint=f"name it {typed(file.with_suffix('.py'))}"))
    if file.exists():
        hint = f"edit it, name another file, or type `rm {typed(file)}` first"
        raise InputError(Problem("there is a file already, and it is not overwritten", file, hint=hint))


def _checked(name: str) -> str:
    try:
        return checked_name(name)
    except ValueError as error:
        message, _, hint = str(error).partition("\n")
        raise InputError(message, hint=f"{hint}; name it with `--name`") from None


def _with_judge(wish: Wish) -> Wish:
    """Return the wish with a judge that is a folder named as inspect-ai names it."""
    if wish.judge is None or not Path(wish.judge).is_dir():
        return wish
    folder = Path(wish.judge).resolve()
    return replace(wish, judge=f"hf/{folder.name}", judge_arg={"model_path": str(folder), **wish.judge_arg})


def _with_design(wish: Wish, source: Source | None) -> Wish:
    """Return the wish with what the design says where the options say nothing."""
    said = {} if source is None else _said(source)
    return replace(wish, **{name: value for name, value in said.items() if getattr(wish, name) is None})


def _said(source: Source) -> dict[str, Any]:
    columns = {"input": source.columns.get("input"), "target": source.columns.get("output")}
    return {**columns, "prompt": source.prompt, "system": source.system}


def _try(place: Place, spec: TaskSpec, text: str, model: Path | None) -> Tried:
    """Build the task in the work environment, from a file that is thrown away."""
    with tempfile.TemporaryDirectory(prefix="tuneloop-") as folder:
        file, answer = Path(folder) / f"{spec.name}.py", Path(folder) / "answer.json"
        write_text(file, text, sync=False)
        argv = [_interpreter(place.experiment), "-m", worker.module, "try-task", str(file)]
        argv += ["--data", str(place.data.resolve()), "--answer", str(answer)]
        argv += [] if model is None else ["--model", str(model.resolve())]
        try:
            done = subprocess.run(argv, env=_environment(folder), capture_output=True, text=True, check=False)
        except OSError as error:
            message = f"no work environment for `{worker.name}`: {argv[0]}: {error.strerror}"
            raise MissingError(message, hint="set `python:` of the cluster profile in tuneloop.yaml") from None
        if not answer.is_file():
            raise broken(worker.name, ["try-task"], done)
        value = json.loads(read_text(answer))
    if "error" in value:
        raise revived(value["error"])
    tried: Tried = from_json(Tried, value["tried"])
    return tried


def _environment(folder: str) -> Mapping[str, str]:
    """Return an environment in which a trial depends on nobody's settings and leaves nothing behind."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("INSPECT_")}
    quiet = {"TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "error"}
    return kept | quiet | {"HF_HUB_OFFLINE": "1", "INSPECT_EVAL_CTL_SERVER": "false", "XDG_DATA_HOME": folder}


def _interpreter(experiment: Experiment | None) -> str:
    if experiment is not None:
        return Crew(experiment).python(worker.name)
    python = load(Path.cwd()).profile("local").interpreter(worker.name)
    return str(user_path(python)) if python else sys.executable


def _entry(place: Place, wish: Wish, name: str) -> tuple[str, str]:
    """Return the evaluation as YAML for the head of the design as it stands, and where it goes."""
    assert place.experiment is not None
    assert place.source is not None
    experiment, said = place.experiment, _said(place.source)
    file = place.file.resolve()
    inside = file.is_relative_to(experiment.layout.folder)
    args = {key: getattr(wish, key) for key in _TOLD if getattr(wish, key) not in (None, said[key])}
    item = {
        "name": name,
        "task": file.relative_to(experiment.layout.folder).as_posix() if inside else str(file),
        "split": place.source.split,
        **({"args": args} if args else {}),
    }
    listed = dump_yaml([item])
    if not experiment.design.evaluations:
        goes = "in place of `evaluations:`" if ("evaluations",) in experiment.lines else "as a key of its own"
        return "evaluations:\n" + _indented(listed, "  "), goes
    first = read_text(experiment.layout.summary).splitlines()[experiment.lines[("evaluations", 0)] - 1]
    block = re.match(r"( *)- ", first)
    if block is None:  # a list between brackets
        return json.dumps(item, ensure_ascii=False) + ",\n", "as the first item in the brackets of `evaluations:`"
    return _indented(listed, block[1]), "under `evaluations:`"


def _indented(text: str, by: str) -> str:
    return "".join(f"{by}{line}" if line.strip() else line for line in text.splitlines(keepends=True))
