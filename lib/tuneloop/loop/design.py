"""design-experiment: from a question to a checked `experiment_summary.md`.

The head is written once; from then on people own it. Commands come back only for the generated block `design`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tuneloop.documents.blocks import replace_block
from tuneloop.documents.errors import InputError, Problem, Problems
from tuneloop.documents.files import make_folder, read_text, user_path, write_text
from tuneloop.documents.logs import EventLog
from tuneloop.documents.schema import validate
from tuneloop.documents.yamltext import dump_yaml, lines_of, load_yaml
from tuneloop.experiment.design import SCHEMA, Design
from tuneloop.experiment.layout import Layout
from tuneloop.experiment.read import Experiment, check_design, read_experiment
from tuneloop.experiment.references import parse_reference
from tuneloop.jobs.summary import update_block
from tuneloop.loop.orders import Crew
from tuneloop.loop.overview import design_block
from tuneloop.loop.scaffold import ScaffoldPlan, plan_scaffold

# Keys of the design whose text is a path; in a list, of each of its entries.
PATHS = (
    ("model",),
    ("method", "teacher"),
    ("method", "reward_model"),
    ("data", "path"),
    ("evaluations", "task"),
    ("runs", "checkpoint"),
)
_CITING = (("model",), ("runs", "checkpoint"))  # of them, those that may name EXPERIMENT/RUN@EPOCH


@dataclass(frozen=True)
class Draft:
    """A design on its way into a folder, checked but not written."""

    experiment: Experiment
    text: str
    plan: ScaffoldPlan


def read_source(source: Path, folder: Path) -> dict[str, Any]:
    """Return the design in a YAML file, its relative paths rewritten for the experiment's folder."""
    value = load_yaml(read_text(source), source)
    if not isinstance(value, dict):
        raise InputError(Problem("expected keys and values", source, 1))
    if source.parent.resolve() == folder.resolve():
        return value
    return moved(value, source.parent, folder, beside_first=True)


def moved(head: Mapping[str, Any], before: Path, folder: Path, *, beside_first: bool = False) -> dict[str, Any]:
    """Return a head whose relative paths start in `before` as an experiment in `folder` writes it.

    A checkpoint is of an experiment seen from `before`; with `beside_first` of one seen from `folder`, where both
    are there: a design that is handed on may count on the experiments beside the new one.
    """
    return _with_paths(head, lambda keys, text: _moved(keys, text, before, folder, beside_first=beside_first))


def _placed(path: Path, folder: Path, text: str) -> str:
    """Return a path as a design in `folder` names it: relative inside, absolute outside, as it was if not there."""
    if not path.exists():
        return text
    path, folder = path.resolve(), folder.resolve()
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _moved(keys: tuple[str, ...], text: str, before: Path, folder: Path, *, beside_first: bool) -> str:
    """Return the text at `keys` of a design."""
    path = before / user_path(text)
    if keys in _CITING and not path.exists():
        return _cited(text, before, folder, beside_first=beside_first)
    if keys == ("evaluations", "task"):
        file, at, task = text.partition("@")
        return _placed(before / user_path(file), folder, file) + at + task
    return _placed(path, folder, text)


def _cited(text: str, before: Path, folder: Path, *, beside_first: bool) -> str:
    """Return a checkpoint's name, that of its experiment rewritten where it is the one seen from `before`."""
    reference = parse_reference(text)
    if reference is None or reference.experiment is None:
        return text
    experiment = user_path(reference.experiment)
    here, there = ((place / experiment).resolve() for place in (folder, before))
    places = (here, there) if beside_first else (there, here)
    found = next((place for place in places if Layout(place).summary.is_file()), here)
    if found == here:
        return text
    return _placed(there, folder, reference.experiment) + text.removeprefix(reference.experiment)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the keys of `over`; mappings are merged, everything else is replaced."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def draft(folder: Path, head: Mapping[str, Any], *, source: Path | None = None) -> Draft:
    """Check a design without writing it. Raises one InputError with every fault of its keys, or of its inputs."""
    layout = Layout(folder.resolve())
    if layout.summary.exists():
        hint = "edit its head and type `tuneloop check-experiment`, or choose another folder"
        raise InputError(Problem("an experiment is here already", layout.summary, hint=hint))
    head = {"schema": SCHEMA, "name": folder.resolve().name, **head}
    text = dump_yaml(head)
    # An error points into the file that a person wrote, or into the head as it would be written.
    lines = lines_of(text, first_line=2) if source is None else lines_of(read_text(source))
    design = validate(Design, head, source or layout.summary, lines)
    check_design(design, source or layout.summary, lines)
    experiment = Experiment(layout, design, lines, source)
    plan = plan_scaffold(experiment, Crew(experiment))
    return Draft(experiment, _document(experiment, plan, text), plan)


def write(checked: Draft) -> None:
    """Write the experiment's summary. Raises InputError when the folder cannot be written."""
    layout = checked.experiment.layout
    make_folder(layout.folder)
    write_text(layout.summary, checked.text)
    log = EventLog(layout.folder, "design-experiment")
    log.event(f"wrote {layout.summary.name}: {len(checked.experiment.runs)} runs, {len(checked.plan.jobs) - 1} jobs")


def check(folder: Path) -> tuple[Experiment, ScaffoldPlan]:
    """Return the experiment and what scaffolding it would write. Raises InputError with every fault."""
    experiment = read_experiment(folder)
    return experiment, plan_scaffold(experiment, Crew(experiment))


def refresh(experiment: Experiment, plan: ScaffoldPlan) -> None:
    """Bring the generated block `design` up to date."""
    update_block(experiment.layout, "design", design_block(experiment, plan))


def _document(experiment: Experiment, plan: ScaffoldPlan, head: str) -> str:
    design = experiment.design
    body = f"\n# {design.name}\n\n{design.question}\n"
    if design.hypothesis:
        body += f"\nExpected: {design.hypothesis}\n"
    body = replace_block(f"{body}\n## Design\n", "design", design_block(experiment, plan))
    body = replace_block(f"{body}\n## Status\n", "status", "Nothing is scaffolded yet.")
    body = replace_block(f"{body}\n## Results\n", "results", "Not analyzed yet.")
    return f"---\n{head}---\n{body}\n## Notes\n\nWrite here what the numbers cannot say.\n"


def _with_paths(head: Mapping[str, Any], change: Callable[[tuple[str, ...], str], str]) -> dict[str, Any]:
    """Return the head with the text at each of `PATHS` changed; what has another shape is left to the schema."""
    value = dict(head)
    for keys in PATHS:
        *sections, key = keys
        moved = partial(change, keys)
        if not sections:
            value = _changed(value, key, moved)
        for section in sections:
            item = value.get(section)
            if isinstance(item, list):
                value[section] = [_changed(entry, key, moved) for entry in item]
            elif isinstance(item, dict):
                value[section] = _changed(item, key, moved)
    return value


def _changed(entry: Any, key: str, change: Callable[[str], str]) -> Any:
    if not isinstance(entry, dict) or not isinstance(entry.get(key), str):
        return entry
    return entry | {key: change(entry[key])}


def parse_assignments(items: Sequence[str], option: str, *, several: bool) -> dict[str, Any]:
    """Return `name=value` or `name=value,value` words as values. Raises one InputError for all bad ones."""
    problems = Problems()
    found: dict[str, Any] = {}
    for item in items:
        name, equals, text = item.partition("=")
        if not equals or not name or not text:
            shape = "NAME=VALUE,VALUE" if several else "NAME=VALUE"
            problems.add(f"`{option} {item}` is not {shape}", hint=f"write it like `{option} lr=3e-4`")
        elif name in found:
            problems.add(f"`{option} {name}` is given twice", hint="give all its values at once, with commas")
        else:
            found[name] = load_yaml(f"[{text}]") if several else load_yaml(text)
    problems.raise_if_any()
    return found
