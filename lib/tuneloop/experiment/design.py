"""The design: the typed head of `experiment_summary.md`.

Its schema, and the faults that one key alone cannot show. What a field such as `lr` means to a tool is the
worker's business; here it is a name with a value.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field

from tuneloop.documents.errors import did_you_mean
from tuneloop.documents.schema import Schema
from tuneloop.documents.shell import checked_name
from tuneloop.experiment.formats import FORMATS, Format

SCHEMA = "tuneloop.experiment/1"
MOST_RUNS = 10_000
TRAINING_SPLITS = ("train", "validation")  # the others are the evaluations' business
MOST_EPOCHS = 10_000

PlainName = Annotated[str, BeforeValidator(lambda text: checked_name(text) if isinstance(text, str) else text)]


class Method(Schema):
    objective: Literal["sft", "preference", "rl", "distillation"] = "sft"
    algorithm: str | None = Field(default=None, description="dpo for preference, ppo for rl; those without it")
    update: Literal["full", "lora", "qlora", "dora", "qat"] = "lora"
    teacher: str | None = Field(default=None, description="distillation: the Hugging Face folder to learn from")
    reward_model: str | None = Field(default=None, description="rl: a Hugging Face classifier with one label")


class DataEntry(Schema):
    """One file of data. What an entry leaves out it takes from the first one; several may make up a split."""

    split: PlainName
    path: str = Field(description="relative to the experiment, or absolute")
    format: Format | None = None
    columns: dict[str, str] | None = Field(default=None, description="role (input, output …) to column name")
    prompt: str | None = Field(default=None, description="the user turn, with {input} where the input goes")
    system: str | None = Field(default=None, description="the system turn")
    weight: float = Field(
        default=1, gt=0, le=1000, allow_inf_nan=False, description="how often a training epoch holds each sample"
    )
    hash: str | None = Field(default=None, description="sha256 of the file; a change makes runs stale")


class Evaluation(Schema):
    name: PlainName
    backend: PlainName = "inspect"
    task: str = Field(description="FILE.py or FILE.py@TASK, relative to the experiment, or a registered task")
    split: str | None = Field(default=None, description="the data entry that the task reads")
    args: dict[str, Any] = {}
    generation: dict[str, Any] = Field(
        default={}, description="max_tokens, temperature …; greedy unless a temperature is given"
    )
    epochs: Literal["all", "last"] | list[int] = "all"
    limit: int | None = Field(default=None, ge=1)


class Primary(Schema):
    evaluation: str
    scorer: str | None = Field(default=None, description="the first one of the task unless named")
    direction: Literal["maximize", "minimize"] = "maximize"
    smallest_effect: float = Field(default=0.0, ge=0, description="the smallest difference that matters")


class Guardrail(Schema):
    evaluation: str
    scorer: str | None = None
    direction: Literal["maximize", "minimize"] = "maximize"
    tolerance: float = Field(ge=0, description="the largest loss against the control that is accepted")


class Metrics(Schema):
    primary: Primary
    guardrails: list[Guardrail] = []
    at: Literal["last", "lowest-validation-loss"] = "last"


class Budget(Schema):
    hours: float | None = Field(default=None, gt=0, description="job hours in all")


class Policy(Schema):
    retries: int = Field(default=1, ge=0, le=10, description="restarts of a job whose process vanished")
    resumes: int = Field(
        default=3, ge=0, le=100, description="times that a training goes on after its time limit, on a cluster"
    )
    out_of_memory: Literal["stop", "smaller-batch"] = Field(
        default="stop", description="what `retry` does with a training that ran out of memory"
    )
    keep: Literal["all", "best", "last", "none"] = Field(
        default="all", description="the epochs of each run whose weights stay when all jobs are done"
    )


class ExtraRun(Schema):
    """A control run, an eval-only run, a run outside the matrix, or an override of one in it."""

    name: PlainName
    kind: Literal["train", "control", "eval-only"] = "train"
    checkpoint: str | None = Field(default=None, description="a folder or [EXPERIMENT/]RUN@EPOCH")
    cluster: PlainName | None = Field(default=None, description="the profile that runs its jobs; else the design's")
    set: dict[str, Any] = {}


class Design(Schema):
    """What is varied, what is held, and how success is measured. A design owns each fact once."""

    schema_: Literal["tuneloop.experiment/1"] = Field(alias="schema")
    name: PlainName
    question: str
    hypothesis: str | None = None
    method: Method = Method()
    backend: PlainName = "torchtune"
    preset: str | None = Field(default=None, description="a config that the backend ships")
    model: str = Field(description="a Hugging Face folder, a cached hub id or EXPERIMENT/RUN@EPOCH")
    data: list[DataEntry] = Field(min_length=1)
    variables: dict[str, list[Any]] | list[dict[str, Any]] = Field(
        default={}, description="a grid (name to values) or a list of cells"
    )
    controls: dict[str, Any] = {}
    seeds: list[int] = Field(default=[1], min_length=1)
    evaluations: list[Evaluation] = []
    metrics: Metrics | None = None
    budget: Budget = Budget()
    cluster: PlainName = "local"
    policy: Policy = Policy()
    runs: list[ExtraRun] = []

    def evaluation(self, name: str) -> Evaluation:
        return next(item for item in self.evaluations if item.name == name)


@dataclass(frozen=True)
class Source:
    """A data entry with what it takes from the first one filled in."""

    index: int  # its place under `data`
    split: str
    path: str
    format: Format
    columns: dict[str, str]
    prompt: str | None
    system: str | None
    hash: str | None
    weight: float = 1.0


def sources(design: Design) -> dict[str, tuple[Source, ...]]:
    """Return the data of the design by split, inherited values filled in, the entries of a split in their order."""
    found: dict[str, list[Source]] = {}
    for index, entry in enumerate(design.data):
        found.setdefault(entry.split, []).append(_source(index, entry, design.data[0]))
    return {split: tuple(items) for split, items in found.items()}


def _source(index: int, entry: DataEntry, first: DataEntry) -> Source:
    kind = _format(entry, first)
    # Roles of columns belong to a format; a prompt goes around an input, wherever there is one; text has no turns.
    alike = kind == _format(first, first)
    prompt = first.prompt if alike or "input" in FORMATS[kind].columns else None
    system = first.system if alike or kind != "text" else None
    return Source(
        index=index,
        split=entry.split,
        path=entry.path,
        format=kind,
        columns=entry.columns if entry.columns is not None else (first.columns or {}) if alike else {},
        prompt=entry.prompt if entry.prompt is not None else prompt,
        system=entry.system if entry.system is not None else system,
        hash=entry.hash,
        weight=entry.weight,
    )


def _format(entry: DataEntry, first: DataEntry) -> Format:
    return entry.format or first.format or "instruct"


At = tuple[str | int, ...]  # where something stands in the design


class Fault(NamedTuple):
    at: At
    message: str
    hint: str | None


def faults(design: Design) -> Iterator[Fault]:
    """Yield what is wrong between the keys of a design that is right key by key."""
    yield from _repeated("evaluations", [item.name for item in design.evaluations], "name")
    yield from _repeated("runs", [item.name for item in design.runs], "name")
    yield from _repeated("seeds", [str(seed) for seed in design.seeds], None)
    yield from _matrix(design)
    yield from _numbers(design)
    yield from _data(design)
    yield from _epochs(design)
    yield from _evaluations(design)
    yield from _metrics(design)
    yield from _epoch_that_counts(design)
    for index, run in enumerate(design.runs):
        if run.kind == "eval-only" and run.checkpoint is None:
            yield Fault(
                ("runs", index),
                f"eval-only run `{run.name}` has no checkpoint",
                "add `checkpoint: RUN@EPOCH`",
            )
        if run.kind != "eval-only" and run.checkpoint is not None:
            yield Fault(("runs", index, "checkpoint"), "only an eval-only run has a checkpoint", "take it out")


def _repeated(section: str, names: list[str], key: str | None) -> Iterator[Fault]:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name.casefold() in seen:
            at = (section, index, key) if key else (section, index)
            hint = "names are compared without case" if key else "take the second one out"
            yield Fault(at, f"`{name}` stands twice in `{section}`", hint)
        seen.add(name.casefold())


def _matrix(design: Design) -> Iterator[Fault]:
    if isinstance(design.variables, dict):
        for name, values in design.variables.items():
            if not values:
                yield Fault(("variables", name), f"variable `{name}` has no values", "give at least one")
            if len({repr(value) for value in values}) != len(values):
                yield Fault(("variables", name), f"variable `{name}` repeats a value", "take the second one out")
            if name in design.controls:
                yield Fault(("controls", name), f"`{name}` is both a variable and a control", "keep it in one of them")
        cells = math.prod(len(values) for values in design.variables.values())
    else:
        cells = len(design.variables)
        keys = {tuple(sorted(cell)) for cell in design.variables}
        if len(keys) > 1:
            yield Fault(("variables",), "the cells name different variables", "give each cell the same keys")
        seen: set[str] = set()
        for index, cell in enumerate(design.variables):
            known = repr(sorted(cell.items(), key=str))
            if known in seen:
                yield Fault(("variables", index), "the cell repeats an earlier one", "take the second one out")
            seen.add(known)
    total = cells * len(design.seeds)
    if total > MOST_RUNS:
        yield Fault(
            ("variables",),
            f"the design expands into {total:,} runs, more than {MOST_RUNS:,}",
            "vary fewer values, or list the cells you want",
        )


def _numbers(design: Design) -> Iterator[Fault]:
    """Refuse what is no number to compute with, and what JSON, on the way to a worker, cannot carry."""
    places: list[tuple[At, Any]] = [(("variables",), design.variables), (("controls",), design.controls)]
    places += [(("runs", index, "set"), run.set) for index, run in enumerate(design.runs)]
    for at, value in (found for place in places for found in _leaves(*place)):
        if isinstance(value, float) and not math.isfinite(value):
            name = next(part for part in reversed(at) if isinstance(part, str))
            word = "not a number" if math.isnan(value) else "infinite"
            yield Fault(at, f"`{name}` is {word}", "write a finite number, such as 3e-4")


def _leaves(at: At, value: Any) -> Iterator[tuple[At, Any]]:
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves((*at, key), item)
    else:
        yield at, value


def _epochs(design: Design) -> Iterator[Fault]:
    """Refuse epochs that cannot be counted: the jobs of a design follow from them, whatever trains."""
    places: list[tuple[At, Any]] = []
    if "epochs" in design.controls:
        places.append((("controls", "epochs"), design.controls["epochs"]))
    if isinstance(design.variables, dict):
        given = design.variables.get("epochs", [])
        places += [(("variables", "epochs", index), value) for index, value in enumerate(given)]
    else:
        cells = enumerate(design.variables)
        places += [(("variables", index, "epochs"), cell["epochs"]) for index, cell in cells if "epochs" in cell]
    runs = enumerate(design.runs)
    places += [(("runs", index, "set", "epochs"), run.set["epochs"]) for index, run in runs if "epochs" in run.set]
    for at, value in places:
        right = isinstance(value, int) and not isinstance(value, bool)
        if not right or value < 1:
            message = f"`epochs` should be a whole number of at least 1, found {_short(value)}"
            yield Fault(at, message, "write it like `epochs: 1`")
        elif value > MOST_EPOCHS:
            yield Fault(at, f"more than {MOST_EPOCHS:,} epochs", "train fewer epochs")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:57]}..."


def _data(design: Design) -> Iterator[Fault]:
    first: dict[str, Source] = {}  # of each split, by its name without case
    for source in (item for items in sources(design).values() for item in items):
        at, before = ("data", source.index), first.setdefault(source.split.casefold(), source)
        if source.split != before.split:
            message = f"`{source.split}` stands twice in `data`"
            yield Fault((*at, "split"), message, "names are compared without case")
        if source.format != before.format:
            message = f"the split `{source.split}` has both the formats `{before.format}` and `{source.format}`"
            yield Fault((*at, "format"), message, "give all its entries one format, or convert the file")
        if source.weight != 1 and source.split != "train":
            message = f"a weight counts in training alone, not in the split `{source.split}`"
            yield Fault((*at, "weight"), message, "take it out")
    yield from _repeated_files(design)
    yield from _words_around(design)
    if "train" not in {entry.split for entry in design.data}:
        yield Fault(("data",), "no entry of `data` has `split: train`", "add one")


def _repeated_files(design: Design) -> Iterator[Fault]:
    seen: set[str] = set()
    for index, entry in enumerate(design.data):
        known = repr([value for key, value in entry if key not in ("weight", "hash")])
        if known in seen:
            message = f"`{entry.path}` stands twice in the split `{entry.split}`"
            yield Fault(("data", index), message, "take it out; `weight: 2` takes each sample twice")
        seen.add(known)


def _words_around(design: Design) -> Iterator[Fault]:
    """Yield prompts that hold no input, and words that a format has no place for."""
    for index, entry in enumerate(design.data):
        # What a task makes of its data is its own business.
        kind = _format(entry, design.data[0]) if entry.split in TRAINING_SPLITS else None
        if entry.prompt is not None and kind in ("chat", "text"):
            yield Fault(("data", index, "prompt"), f"`prompt` has no meaning for the format `{kind}`", "take it out")
        elif entry.prompt is not None and entry.prompt.count("{input}") != 1:
            yield Fault(
                ("data", index, "prompt"),
                "the prompt needs `{input}` exactly once",
                'write it like "capitalize: {input}"',
            )
        if entry.system is not None and kind == "text":
            yield Fault(("data", index, "system"), "`system` has no meaning for the format `text`", "take it out")


def _evaluations(design: Design) -> Iterator[Fault]:
    splits = [entry.split for entry in design.data]
    for index, item in enumerate(design.evaluations):
        at = ("evaluations", index, "split")
        if item.split is not None and item.split not in splits:
            yield Fault(at, f"no data has the split `{item.split}`", did_you_mean(item.split, splits))
        elif item.split is not None and splits.count(item.split) > 1:
            message = f"the split `{item.split}` has {splits.count(item.split)} files, an evaluation reads one"
            yield Fault(at, message, "give the file to evaluate on a split of its own")


def _metrics(design: Design) -> Iterator[Fault]:
    if design.metrics is None:
        return
    names = [item.name for item in design.evaluations]
    cited: list[tuple[At, str]] = [(("metrics", "primary", "evaluation"), design.metrics.primary.evaluation)]
    cited += [
        (("metrics", "guardrails", index, "evaluation"), item.evaluation)
        for index, item in enumerate(design.metrics.guardrails)
    ]
    for at, name in cited:
        if name not in names:
            yield Fault(at, f"no evaluation `{name}`", did_you_mean(name, names) if names else "add it")


def _epoch_that_counts(design: Design) -> Iterator[Fault]:
    """Yield why the epoch with the lowest validation loss cannot be chosen, or has no score when it is."""
    if design.metrics is None or design.metrics.at != "lowest-validation-loss":
        return
    if design.method.objective == "rl":
        yield Fault(("metrics", "at"), "the objective `rl` has no validation loss", "set `at: last`")
        return
    if "validation" not in {entry.split for entry in design.data}:
        hint = "add `{split: validation, path: FILE}` to `data`, or set `at: last`"
        yield Fault(("metrics", "at"), "no data has `split: validation`, so no epoch has a validation loss", hint)
    trained = set(range(_most_epochs(design)))
    for index, item in enumerate(design.evaluations):
        if item.name != design.metrics.primary.evaluation or item.epochs == "all":
            continue
        evaluated = {max(trained)} if item.epochs == "last" else set(item.epochs)
        if missing := sorted(trained - evaluated):
            message = f"`at: lowest-validation-loss` may choose epoch {missing[0]}, which `{item.name}` leaves out"
            yield Fault(("evaluations", index, "epochs"), message, "set `epochs: all`, or `at: last`")


def _most_epochs(design: Design) -> int:
    """Return the passes over the data of the longest run, 1 at least; a value that is no such number is not counted."""
    cells = design.variables if isinstance(design.variables, list) else []
    grid = design.variables if isinstance(design.variables, dict) else {}
    said = [*grid.get("epochs", []), *(values.get("epochs") for values in cells), design.controls.get("epochs")]
    said += [run.set.get("epochs") for run in design.runs]
    return max((value for value in said if type(value) is int and value > 0), default=1)
