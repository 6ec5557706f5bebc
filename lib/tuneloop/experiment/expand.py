"""From a design to its runs: the matrix times seeds, control runs, eval-only runs, overrides. Pure."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from tuneloop.documents.errors import InputError
from tuneloop.documents.shell import checked_name
from tuneloop.experiment.design import Design, Evaluation, ExtraRun
from tuneloop.experiment.work import JobKey, Setting, eval_key, train_key

Kind = Literal["train", "control", "eval-only"]

# Names as source document 002 writes them: `rank8_lr1e-5`.
_SHORT = {"lora_rank": "rank", "lora_alpha": "alpha", "batch_size": "batch", "weight_decay": "wd"}


@dataclass(frozen=True)
class Run:
    """One cell of the matrix with one seed, or a run beside the matrix."""

    name: str
    kind: Kind
    seed: int | None
    cell: Mapping[str, Any]  # the values of the variables; empty for a control run
    fields: Mapping[str, Setting]  # every field that the design sets for this run, each with its origin
    checkpoint: str | None = None
    cluster: str = "local"  # the profile that runs its jobs

    def value(self, field: str, default: Any = None) -> Any:
        setting = self.fields.get(field)
        return default if setting is None else setting.value

    @property
    def epochs(self) -> int:
        """Passes over the training data; 1 where the design is silent. A run that does not train has none."""
        return int(self.value("epochs", 1)) if self.kind == "train" else 0

    def evaluated_at(self, evaluation: Evaluation) -> Sequence[int | None]:
        """Return the epochs at which this run is evaluated; None once for a model as it is."""
        if self.kind != "train":
            return [None]
        if evaluation.epochs == "all":
            return range(self.epochs)
        if evaluation.epochs == "last":
            return [self.epochs - 1]
        return sorted(set(evaluation.epochs))


def expand(design: Design) -> list[Run]:
    """Return all runs in a stable order: the matrix, then the others as listed. Raises InputError on a clash."""
    extra = {item.name: item for item in design.runs}
    cells = list(_cells(design))
    names = _names(cells, design.seeds)
    controls = _controls(design)
    runs = []
    for ((index, cell), seed), name in zip(itertools.product(enumerate(cells), design.seeds), names, strict=True):
        place = f"variables.{index}" if isinstance(design.variables, list) else "variables"
        varied = {key: Setting(value, f"design: {place}.{key}") for key, value in cell.items()}
        run = Run(name, "train", seed, cell, varied, cluster=design.cluster)
        runs.append(_trained(controls, run, extra.pop(name, None)))
    runs += [_beside(design, item) for item in extra.values()]
    _refuse_clash([run.name for run in runs])
    return runs


def _refuse_clash(names: list[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        if name.casefold() in seen:
            raise InputError(
                f"`{seen[name.casefold()]}` and `{name}` are two runs", hint="names are compared without case"
            )
        seen[name.casefold()] = name


def expected_jobs(design: Design, runs: Sequence[Run]) -> dict[JobKey, str]:
    """Return the job of every training and every evaluation that the design stands for, with its backend."""
    jobs = {train_key(run.name): design.backend for run in runs if run.kind == "train"}
    for item in design.evaluations:
        jobs |= {eval_key(run.name, epoch, item.name): item.backend for run in runs for epoch in run.evaluated_at(item)}
    return jobs


def _cells(design: Design) -> Iterator[dict[str, Any]]:
    if isinstance(design.variables, list):
        yield from design.variables or [{}]
        return
    names = list(design.variables)
    for values in itertools.product(*design.variables.values()):
        yield dict(zip(names, values, strict=True))


def _names(cells: list[dict[str, Any]], seeds: list[int]) -> list[str]:
    """Name runs by their values; `r001` and so on where values make no plain, short, unique name."""
    names = []
    for cell, seed in itertools.product(cells, seeds):
        parts = [f"{_SHORT.get(key, key.rpartition('.')[2])}{_word(value)}" for key, value in cell.items()]
        name = "_".join(parts) or "train"
        names.append(f"{name}_s{seed}" if len(seeds) > 1 else name)
    try:
        for name in names:
            checked_name(name)
    except ValueError:
        return _numbered(len(names))
    return names if len({name.casefold() for name in names}) == len(names) else _numbered(len(names))


def _numbered(count: int) -> list[str]:
    width = max(3, len(str(count)))
    return [f"r{index:0{width}d}" for index in range(1, count + 1)]


def _word(value: Any) -> str:
    """Write a value as people do: 1e-5, 3e-4, 0.05, true, cosine."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, float):
        if value and abs(value) < 0.01:
            mantissa, exponent = f"{value:e}".split("e")
            return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
        return f"{value:g}"
    text = "-".join(map(str, value)) if isinstance(value, list) else str(value)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text)


def _trained(controls: Mapping[str, Setting], run: Run, override: ExtraRun | None) -> Run:
    """Return a run of the matrix, which has the fields of its cell alone, with all that the design sets for it."""
    if override is not None and override.kind != "train":
        raise InputError(
            f"`{run.name}` is a run of the matrix and a {override.kind} run",
            hint="give the second one another name",
        )
    fields = {**controls, **run.fields, "seed": Setting(run.seed, "design: seeds")}
    if override is None:
        return replace(run, fields=fields)
    return replace(run, fields=fields | _overrides(override), cluster=override.cluster or run.cluster)


def _beside(design: Design, item: ExtraRun) -> Run:
    cluster = item.cluster or design.cluster
    if item.kind == "train":
        fields = _controls(design) | {"seed": Setting(design.seeds[0], "design: seeds")} | _overrides(item)
        cell = {key: value for key, value in item.set.items() if key in _variables(design)}
        return Run(item.name, "train", design.seeds[0], cell, fields, cluster=cluster)
    return Run(item.name, item.kind, None, {}, {}, item.checkpoint, cluster)


def _controls(design: Design) -> dict[str, Setting]:
    return {key: Setting(value, f"design: controls.{key}") for key, value in design.controls.items()}


def _overrides(item: ExtraRun) -> dict[str, Setting]:
    return {key: Setting(value, f"design: runs.{item.name}.set.{key}") for key, value in item.set.items()}


def _variables(design: Design) -> set[str]:
    if isinstance(design.variables, dict):
        return set(design.variables)
    return {key for cell in design.variables for key in cell}
