"""Scaffold: every evaluation of the runs as a request, a script and a job, or every fault. Writes nothing."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import InputError, did_you_mean
from tuneloop.documents.files import user_path
from tuneloop.experiment.design import Evaluation, sources
from tuneloop.experiment.estimates import corrected
from tuneloop.experiment.expand import Run
from tuneloop.experiment.identity import digest, file_hash
from tuneloop.experiment.layout import Layout
from tuneloop.experiment.work import Estimate, Fault, File, JobKey, JobSpec, Scaffolded, Setting, eval_key
from tuneloop.workers import Order
from tuneloop.workers.inspect.estimate import estimate, weights_bytes
from tuneloop.workers.inspect.jobs import job_script, job_spec
from tuneloop.workers.inspect.models import ModelFaultError, Models, Subject, portable
from tuneloop.workers.inspect.request import SCHEMA, Request, render_request, request_path
from tuneloop.workers.inspect.tasks import Built, Task, TaskFaultError, build_task, find_task, task_arguments

# One batch of the hf provider. It waits 2 s for each one that is not full, so batches are made equal.
LARGEST_BATCH = 128


@dataclass(frozen=True)
class Plan:
    """What all jobs of one evaluation share."""

    evaluation: Evaluation
    task: Task
    args: dict[str, Any]
    data: Path | None
    files: Mapping[Path, str]  # with their hashes
    built: Built
    generation: dict[str, Any]
    sampling: bool

    @property
    def samples(self) -> int:
        return min(self.built.samples, self.evaluation.limit or self.built.samples) * self.built.epochs


@dataclass
class Found:
    """Collects faults once each, however many runs share them, and notes."""

    faults: dict[Fault, None] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)

    def add(self, fault: Fault, below: tuple[str | int, ...] = ()) -> None:
        self.faults[Fault(fault.message, below + fault.at, fault.hint)] = None


def scaffold(order: Order) -> Scaffolded:
    found = Found()
    plans = list(_plans(order, found))
    if found.faults:
        _check_models(order, found)
        return Scaffolded(faults=tuple(found.faults))
    layout = Layout(order.path.resolve())
    files: list[File] = []
    jobs: list[JobSpec] = []
    settings: dict[str, dict[str, Setting]] = {}
    for request, subject, cost in _costed(order, plans, found):
        spec = job_spec(layout, request, subject, order.machine, cost)
        run = layout.run(request.run)
        path = request_path(run, request.evaluation, request.epoch)
        files.append(File(layout.relative(path), render_request(request)))
        files.append(File(spec.script, job_script(layout, request, spec, order.machine), executable=True))
        jobs.append(spec)
        settings.setdefault(request.run, {}).update(_settings(request, order))
    if found.faults:
        return Scaffolded(faults=tuple(found.faults))
    return Scaffolded(tuple(files), tuple(jobs), settings, (), tuple(found.notes))


def estimates(order: Order) -> Mapping[JobKey, Estimate]:
    """Return the cost of each job; what is at fault has none, and scaffold says why."""
    found = Found()
    return {_key(request): cost for request, _, cost in _costed(order, list(_plans(order, found)), found)}


def _costed(order: Order, plans: list[Plan], found: Found) -> list[tuple[Request, Subject, Estimate]]:
    """Return each evaluation of each run, its cost corrected by what earlier ones used."""
    asked = list(_requests(order, plans, found))
    costs = corrected({_key(request): cost for request, _, cost in asked}, order.seen)
    return [(request, subject, costs[_key(request)]) for request, subject, _ in asked]


def _key(request: Request) -> JobKey:
    return eval_key(request.run, request.epoch, request.evaluation)


def _plans(order: Order, found: Found) -> Iterator[Plan]:
    for index, evaluation in enumerate(order.design.evaluations):
        if evaluation.backend != "inspect":
            continue
        at = ("evaluations", index)
        _check_epochs(order, evaluation, at, found)
        for fault in _generation_faults(evaluation):
            found.add(fault, at)
        try:
            yield _plan(order, evaluation, found)
        except TaskFaultError as error:
            for fault in error.faults:
                found.add(fault, at)
        except InputError as error:
            for problem in error.problems:
                message = f"{problem.source}: {problem.message}" if problem.source else problem.message
                found.add(Fault(message, ("split",), problem.hint), at)


def _plan(order: Order, evaluation: Evaluation, found: Found) -> Plan:
    source = None if evaluation.split is None else sources(order.design)[evaluation.split][0]
    data = None if source is None else (order.path / user_path(source.path)).resolve()
    files = {} if data is None else {data: file_hash(data)}
    task = find_task(evaluation.task, order.path)
    if task.file is not None:
        files[task.file] = file_hash(task.file)
    args = task_arguments(task, evaluation, source, data)
    built = build_task(task, args)
    _check_built(task, evaluation, built)
    if source is not None and source.prompt is not None and "prompt" not in args:
        found.notes[f"task `{task.name}` takes no `prompt`: it must ask as the training data do"] = None
    generation, sampling = _generation(evaluation, built)
    return Plan(evaluation, task, args, data, files, built, generation, sampling)


def _requests(order: Order, plans: list[Plan], found: Found) -> Iterator[tuple[Request, Subject, Estimate]]:
    """Yield each evaluation of each run; a fault of a model is collected and its evaluations are left out."""
    models = Models(order)
    costs: dict[str, Estimate] = {}
    for run in order.runs:
        for plan in plans:
            for epoch in run.evaluated_at(plan.evaluation):
                try:
                    subject = models.subject(run, epoch)
                    name = plan.evaluation.name
                    if name not in costs:
                        costs[name] = _cost(order, plan, models)
                except ModelFaultError as error:
                    found.add(error.fault)
                    continue
                yield _request(order, run, plan, epoch, subject), subject, costs[name]


def _request(order: Order, run: Run, plan: Plan, epoch: int | None, subject: Subject) -> Request:
    folder = Layout(order.path.resolve()).run(run.name).folder

    def path(value: Path) -> str:
        return portable(value, folder, order)

    args = dict(plan.args)
    if plan.data is not None and args.get("data") == str(plan.data):
        args["data"] = path(plan.data)
    task = plan.task.name if plan.task.file is None else f"{path(plan.task.file)}@{plan.task.name}"
    return Request(
        schema=SCHEMA,
        run=run.name,
        evaluation=plan.evaluation.name,
        epoch=epoch,
        digest=_digest(plan, subject),
        task=task,
        args=args,
        files={path(file): mark for file, mark in plan.files.items()},
        model=subject.model,
        generation=plan.generation,
        sampling=plan.sampling,
        samples=plan.samples,
        limit=plan.evaluation.limit,
    )


def _digest(plan: Plan, subject: Subject) -> str:
    """Return the identity of the result. Paths do not enter: a folder can be moved without becoming stale."""
    args = {name: value for name, value in plan.args.items() if plan.data is None or value != str(plan.data)}
    return digest(
        {
            "model": subject.identity,
            "own template": subject.model.chat_template is None,
            "evaluation": plan.evaluation.name,
            "task": plan.task.name,
            "files": sorted(plan.files.values()),
            "args": args,
            "generation": {name: value for name, value in plan.generation.items() if name != "max_connections"},
            "sampling": plan.sampling,
            "limit": plan.evaluation.limit,
            "samples": plan.samples,
        }
    )


def _generation(evaluation: Evaluation, built: Built) -> tuple[dict[str, Any], bool]:
    """Return inspect's generation settings, and whether answers are sampled.

    A temperature of 0 means greedy; it is not passed on, because transformers refuses a zero.
    """
    settings = {"seed": 1, **evaluation.generation}
    if not settings.get("temperature"):
        settings.pop("temperature", None)
    samples = min(built.samples, evaluation.limit or built.samples) * built.epochs
    batches = math.ceil(samples / LARGEST_BATCH)
    settings.setdefault("max_connections", math.ceil(samples / batches))
    return settings, "temperature" in settings


def _generation_faults(evaluation: Evaluation) -> Iterator[Fault]:
    from inspect_ai.model import GenerateConfig
    from pydantic import ValidationError

    known = list(GenerateConfig.model_fields)
    for name in evaluation.generation:
        if name not in known:
            yield Fault(f"inspect has no generation setting `{name}`", ("generation", name), did_you_mean(name, known))
    try:
        GenerateConfig(**{name: value for name, value in evaluation.generation.items() if name in known})
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            name = str(fault["loc"][0])
            words = fault["msg"].removeprefix("Input should be ").rstrip(".")
            hint = f"correct `{name}`, or take it out: then the task's own value holds"
            yield Fault(f"`{name}` should be {words}, found {fault['input']!r}", ("generation", name), hint)


def _check_built(task: Task, evaluation: Evaluation, built: Built) -> None:
    if built.model is not None:
        message = f"task `{task.name}` names its own model, {built.model}: the run's would not be evaluated"
        raise TaskFaultError([Fault(message, ("task",), "take `model=` out of the task")])
    given = evaluation.generation
    if given.get("temperature") and built.top_k == 1 and "top_k" not in given:
        message = f"task `{task.name}` sets top_k to 1, so the temperature would have no effect"
        raise TaskFaultError([Fault(message, ("generation",), "add `top_k:`, 50 for example")])


def _check_epochs(order: Order, evaluation: Evaluation, at: tuple[str | int, ...], found: Found) -> None:
    if not isinstance(evaluation.epochs, list):
        return
    for run in order.runs:
        late = [epoch for epoch in evaluation.epochs if not 0 <= epoch < run.epochs]
        if run.kind == "train" and late:
            hint = f"epochs count from 0; the last is {run.epochs - 1}"
            found.add(Fault(f"`{run.name}` has no epoch {late[0]}", (*at, "epochs"), hint))
            return


def _check_models(order: Order, found: Found) -> None:
    """Look for the models even when a task is at fault, so that everything is reported at once."""
    models = Models(order)
    for run in order.runs:
        try:
            models.subject(run, 0 if run.kind == "train" else None)
        except ModelFaultError as error:
            found.add(error.fault)


def _cost(order: Order, plan: Plan, models: Models) -> Estimate:
    """The same for every run: an adapter weighs little, a full checkpoint what its base weighs."""
    weights = weights_bytes(models.base())
    return estimate(weights, plan.samples, plan.generation.get("max_tokens"), order.machine.gpus)


def _settings(request: Request, order: Order) -> dict[str, Setting]:
    """Return what was resolved for the evaluation, each value with its origin."""
    given = order.design.evaluation(request.evaluation)
    prefix = f"evaluations.{request.evaluation}"
    result = {
        f"{prefix}.{name}": Setting(
            value,
            f"design: {prefix}.generation" if name in given.generation else "default of the inspect worker",
        )
        for name, value in request.generation.items()
    }
    greedy = "design: a temperature is given" if request.sampling else "default: greedy without a temperature"
    result[f"{prefix}.do_sample"] = Setting(request.sampling, greedy)
    result[f"{prefix}.device"] = Setting(request.model.device, "the cluster profile: GPUs a job")
    template = "the model's own" if request.model.chat_template is None else "the training's"
    result[f"{prefix}.chat_template"] = Setting(request.model.chat_template or "", template)
    for name, value in request.args.items():
        origin = f"design: {prefix}.args" if name in given.args else f"design: data, split {given.split}"
        result[f"{prefix}.args.{name}"] = Setting(value, origin)
    return result
