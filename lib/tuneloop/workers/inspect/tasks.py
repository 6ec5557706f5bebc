"""Tasks: find, load and build what an evaluation names, and map the design to the task's own arguments.

Loads through inspect's loader, the same that `inspect eval` uses, so that what fails there fails here before
compute is spent. Each file is loaded once, each distinct set of arguments built once.
"""

import contextlib
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import Problem, TuneloopError, did_you_mean
from tuneloop.documents.files import user_path
from tuneloop.experiment.design import Evaluation, Source
from tuneloop.experiment.work import Fault

# Role of a column in the design, and the task argument that takes its name.
_COLUMN_ARGUMENTS = {"input": "input", "output": "target"}


class TaskFaultError(Exception):
    """A task cannot be used. Carries faults whose `at` begins below the evaluation."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(fault.message for fault in faults))
        self.faults = tuple(faults)


@dataclass(frozen=True)
class Task:
    """A task that was found. `file` is None for a registered one."""

    name: str
    file: Path | None
    parameters: Mapping[str, bool]  # name to whether it must be given
    open: bool  # takes any further argument

    @property
    def spec(self) -> str:
        # Always with the name: inspect takes a path without one for a glob, and refuses an absolute glob.
        return self.name if self.file is None else f"{self.file}@{self.name}"


@dataclass(frozen=True)
class Built:
    """What building the task once has shown."""

    samples: int  # of the dataset, before any limit
    epochs: int
    top_k: int | None  # the task's own
    model: str | None  # a model that the task insists on


def find_task(text: str, folder: Path) -> Task:
    """Return the task that `FILE.py`, `FILE.py@TASK` or a registered name stands for. Raises TaskFaultError."""
    path, _, name = (text, "", "") if text.endswith(".py") else text.rpartition("@")
    if not path.endswith(".py"):
        return _registered(text)
    file = (folder / user_path(path)).resolve()
    if not file.is_file():
        raise _fault("task", f"no task file `{path}`", "paths start at the experiment's folder")
    names = _names_in(file, path)
    if not names:
        raise _fault("task", f"`{path}` has no @task", "decorate the function that returns the Task")
    if name and name not in names:
        raise _fault("task", f"`{path}` has no task `{name}`", did_you_mean(name, names))
    if not name and len(names) > 1:
        listed = ", ".join(f"`{path}@{item}`" for item in names)
        raise _fault("task", f"`{path}` has {len(names)} tasks", f"name one: {listed}")
    return _described(name or names[0], file)


def task_arguments(task: Task, evaluation: Evaluation, source: Source | None, data: Path | None) -> dict[str, Any]:
    """Return the arguments of the task: what the design knows and the task asks for, then the evaluation's own.

    Raises TaskFaultError for arguments that the task does not have, or needs and is not given.
    """
    known = _known(source, data)
    arguments = {name: value for name, value in known.items() if task.open or name in task.parameters}
    faults = []
    if source is not None and "data" not in arguments:
        message = f"task `{task.name}` takes no `data`, so `split: {source.split}` would be ignored"
        faults.append(Fault(message, ("split",), "give the task a parameter `data`, or take `split` out"))
    for name in evaluation.args:
        if not task.open and name not in task.parameters:
            message = f"task `{task.name}` has no parameter `{name}`"
            faults.append(Fault(message, ("args", name), did_you_mean(name, list(task.parameters))))
    arguments |= evaluation.args
    for name, required in task.parameters.items():
        if required and name not in arguments:
            hint = "name the `split` it reads" if name == "data" else "add it under `args:`"
            faults.append(Fault(f"task `{task.name}` needs `{name}`", (), hint))
    if faults:
        raise TaskFaultError(faults)
    return arguments


def build_task(task: Task, arguments: Mapping[str, Any]) -> Built:
    """Build the task once, without running it. Raises TaskFaultError with what the task says."""
    from inspect_ai._eval.loader import load_tasks

    try:
        with _writing_nothing():
            built = load_tasks([task.spec], dict(arguments))[0]
    except TuneloopError as error:  # a reader of ours: it knows all faults, with their places
        raise TaskFaultError([_told(task, problem) for problem in error.problems]) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever somebody's task raises)
        raise _fault(None, f"task `{task.name}` cannot be built: {_words(error)}") from None
    model = None if built.model is None else str(built.model)
    return Built(len(built.dataset), built.epochs or 1, built.config.top_k, model)


def _known(source: Source | None, data: Path | None) -> dict[str, Any]:
    """Return what the design says about the evaluation's data, by the names that tasks use for it."""
    if source is None:
        return {}
    columns = {argument: source.columns[role] for role, argument in _COLUMN_ARGUMENTS.items() if role in source.columns}
    words = {"prompt": source.prompt, "system": source.system}
    given = {name: value for name, value in words.items() if value is not None}
    return {"data": str(data), **columns, **given}


def _names_in(file: Path, path: str) -> list[str]:
    from inspect_ai._eval.loader import load_file_tasks
    from inspect_ai._util.decorator import parse_decorators

    try:
        with _writing_nothing():
            load_file_tasks(file)
        return [name for name, _ in parse_decorators(file, "task")]
    except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever somebody's task raises)
        raise _fault("task", f"`{path}` cannot be loaded: {_words(error)}") from None


def _registered(name: str) -> Task:
    from inspect_ai._util.registry import registry_lookup

    if registry_lookup("task", name) is None:
        hint = "write FILE.py, FILE.py@TASK or PACKAGE/TASK of an installed package"
        raise _fault("task", f"no task `{name}`", hint)
    return _described(name, None)


def _described(name: str, file: Path | None) -> Task:
    """Read the signature of the task that was registered last under this name, which is the one just loaded."""
    from inspect_ai._util.registry import registry_lookup

    signature = inspect.signature(registry_lookup("task", name))
    named = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
    parameters = {
        item.name: item.default is inspect.Parameter.empty
        for item in signature.parameters.values()
        if item.kind in named
    }
    takes_any = any(item.kind is inspect.Parameter.VAR_KEYWORD for item in signature.parameters.values())
    return Task(name, file, parameters, takes_any)


@contextlib.contextmanager
def _writing_nothing() -> Iterator[None]:
    """Keep Python from leaving a `__pycache__` beside the task file."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def _told(task: Task, problem: Problem) -> Fault:
    place = str(Problem(problem.message, problem.source, problem.line))
    return Fault(f"task `{task.name}` cannot be built: {place}", (), problem.hint)


def _words(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    first = text[0].rstrip(".") if text else ""
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _fault(key: str | None, message: str, hint: str | None = None) -> TaskFaultError:
    return TaskFaultError([Fault(message, () if key is None else (key,), hint)])
