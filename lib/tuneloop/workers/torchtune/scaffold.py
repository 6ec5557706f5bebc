"""From an order to files and jobs: resolve, validate, write texts. Returns everything; writes nothing."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from tuneloop.documents.yamltext import dump_yaml
from tuneloop.experiment.estimates import corrected
from tuneloop.experiment.expand import Run
from tuneloop.experiment.identity import digest
from tuneloop.experiment.layout import Layout, RunLayout
from tuneloop.experiment.script import Script, render
from tuneloop.experiment.shapes import shape_of
from tuneloop.experiment.work import Estimate, File, JobKey, JobSpec, Machine, Scaffolded, Setting, Shape, train_key
from tuneloop.workers import Order
from tuneloop.workers.torchtune.citing import record
from tuneloop.workers.torchtune.configs import config_of, escaped, identity_of
from tuneloop.workers.torchtune.estimate import estimate_of
from tuneloop.workers.torchtune.inputs import Faults, Inputs, read_inputs
from tuneloop.workers.torchtune.launching import by_hand, training
from tuneloop.workers.torchtune.recipes import SCHEDULE
from tuneloop.workers.torchtune.settings import Resolved, at_of, resolve
from tuneloop.workers.torchtune.splits import Data, reading_of
from tuneloop.workers.torchtune.validation import Validator
from tuneloop.workers.wording import counted

SETUP_SCHEMA = "tuneloop.setup/1"
_MODULE = "tuneloop.workers.torchtune"
_COMMAND = "tuneloop scaffold-torchtune"
_MUCH_DROPPED = 0.1  # of an epoch's samples


@dataclass(frozen=True)
class Plan:
    """A run with everything resolved."""

    run: Run
    resolved: Resolved
    config: Mapping[str, Any]
    digest: str
    estimate: Estimate

    @property
    def key(self) -> JobKey:
        return train_key(self.run.name)


def scaffold(order: Order) -> Scaffolded:
    """Return the files, jobs and settings of all training runs, or every fault of the design."""
    faults = Faults()
    inputs, plans = _plans(order, faults)
    if faults.found or inputs is None:
        return Scaffolded(faults=tuple(faults.found))
    files: list[File] = []
    jobs: list[JobSpec] = []
    settings: dict[str, dict[str, Setting]] = {}
    layout = Layout(order.path)
    for plan in plans:
        job = _job(plan, inputs, layout, order.machine)
        files += _files(plan, job, inputs, layout, order.machine)
        jobs.append(job)
        settings[plan.run.name] = _all_settings(plan.resolved, inputs)
    return Scaffolded(tuple(files), tuple(jobs), settings, notes=tuple(_notes(inputs, plans, order.machine)))


def estimate(order: Order) -> dict[JobKey, Estimate]:
    """Return the cost of every training job; a design with faults has none."""
    _, plans = _plans(order, Faults())
    return {plan.key: plan.estimate for plan in plans}


def _plans(order: Order, faults: Faults) -> tuple[Inputs | None, list[Plan]]:
    runs = [run for run in order.runs if run.kind == "train"]
    if not runs:
        return None, []
    inputs = read_inputs(order, faults)
    if inputs is None:
        return None, []
    validator = Validator()
    tried = [_plan(run, order, inputs, validator, faults) for run in runs]
    plans = [plan for plan in tried if plan is not None]
    costs = corrected({plan.key: plan.estimate for plan in plans}, order.seen)
    return inputs, [replace(plan, estimate=costs[plan.key]) for plan in plans]


def _plan(run: Run, order: Order, inputs: Inputs, validator: Validator, faults: Faults) -> Plan | None:
    before = faults.count
    resolved = resolve(run, order.design, inputs, order.machine, faults)
    if resolved is None:
        return None
    config = config_of(resolved["seed"] or 0, resolved, inputs, faults)
    origin = resolved.settings["optimizer"].origin
    validator.check(config, resolved, at_of(origin, order.design), faults)
    if faults.count > before:
        return None
    decides = {
        "config": identity_of(config),
        # In how many nodes they are changes nothing.
        "recipe": [resolved.recipe.name, resolved.processes],
        "model": inputs.model_hash,
        **{name: companion.hash for name, companion in inputs.companions.items()},
        "data": {split: [entry.hash for entry in data.entries] for split, data in inputs.data.items()},
        "read": {split: [reading_of(entry.source) for entry in data.entries] for split, data in inputs.data.items()},
        "template": inputs.template_hash,
    }
    estimated = estimate_of(resolved, inputs, order.machine)
    return Plan(run, resolved, config, digest(decides), estimated)


def _job(plan: Plan, inputs: Inputs, layout: Layout, machine: Machine) -> JobSpec:
    run = layout.run(plan.run.name)
    return JobSpec(
        key=plan.key,
        worker="torchtune",
        run=plan.run.name,
        script=layout.relative(run.script),
        attempts=layout.relative(run.train_attempts),
        needs=() if inputs.cited is None else (inputs.cited.need,),
        makes=tuple(f"checkpoint:{plan.run.name}/e{epoch}" for epoch in range(plan.resolved["epochs"])),
        digest=plan.digest,
        shape=_shape(plan, inputs, machine),
        resumable=True,
        seconds=plan.estimate.seconds,
        log=f"{layout.relative(run.folder)}/slurm-*.out",
    )


def _shape(plan: Plan, inputs: Inputs, machine: Machine) -> Shape:
    """A distributed recipe asks for GPUs even where this machine has none: it runs on nothing else."""
    gpus = int(plan.resolved["devices"]) if plan.resolved.recipe.distributed else None
    nodes, resumes = int(plan.resolved["nodes"]), inputs.order.design.policy.resumes
    epoch = plan.estimate.seconds / int(plan.resolved["epochs"]) if resumes else None
    return shape_of(plan.estimate, machine, nodes=nodes, gpus=gpus, resumes_after=epoch)


def _files(plan: Plan, job: JobSpec, inputs: Inputs, layout: Layout, machine: Machine) -> Iterator[File]:
    run = layout.run(plan.run.name)
    yield File(layout.relative(run.setup), _setup_text(plan, inputs))
    yield File(layout.relative(run.config), _config_text(plan))
    yield File(layout.relative(run.script), render(_script(plan, job, run, machine)), executable=True)
    yield File(layout.relative(run.chat_template), inputs.model.family.template)


def _setup_text(plan: Plan, inputs: Inputs) -> str:
    """Return the resolved inputs; `prepare` and `verify` read what they need from here."""
    setup = {
        "schema": SETUP_SCHEMA,
        "run": plan.run.name,
        "digest": plan.digest,
        "objective": plan.resolved.recipe.objective,
        "recipe": plan.resolved.recipe.name,
        "update": inputs.update,
        "adapter": plan.resolved.recipe.adapter,
        "devices": plan.resolved["devices"],
        "nodes": plan.resolved["nodes"],
        "epochs": plan.resolved["epochs"],
        "steps_per_epoch": plan.resolved.steps_per_epoch,
        "steps": plan.resolved.steps,
        "model": {
            "path": inputs.from_run(inputs.model.path),
            "hash": inputs.model_hash,
            "layout": asdict(inputs.model.family.layout),
            **({} if inputs.cited is None else {"cited": record(inputs.cited)}),
        },
        **_companions(inputs),
        "data": {split: _files_of(data, inputs) for split, data in inputs.data.items()},
        "settings": {
            name: {"value": setting.value, "origin": setting.origin}
            for name, setting in _all_settings(plan.resolved, inputs).items()
        },
    }
    head = (
        f"# The resolved inputs of `{plan.run.name}`, each with its origin.\n"
        f"# Written by `{_COMMAND}`; change experiment_summary.md instead.\n"
    )
    return head + dump_yaml(setup)


def _companions(inputs: Inputs) -> dict[str, Any]:
    return {
        name: {"path": inputs.from_run(companion.model.path), "hash": companion.hash}
        for name, companion in inputs.companions.items()
    }


def _files_of(data: Data, inputs: Inputs) -> list[dict[str, Any]]:
    return [
        {
            "path": inputs.from_run(entry.path),
            "hash": entry.hash,
            "samples": len(entry.lengths),
            **reading_of(entry.source),
        }
        for entry in data.entries
    ]


def _config_text(plan: Plan) -> str:
    head = (
        f"# The torchtune config of `{plan.run.name}`. From this folder:\n"
        f"#   {by_hand(plan.resolved)}\n"
        f"# Written by `{_COMMAND}`; change experiment_summary.md instead.\n"
    )
    return head + dump_yaml(escaped(dict(plan.config)))


def _script(plan: Plan, job: JobSpec, run: RunLayout, machine: Machine) -> Script:
    return Script(
        title=f"Fine-tunes `{plan.run.name}`: {plan.resolved.recipe.name}, {plan.resolved.steps} steps.",
        command=_COMMAND,
        key=job.key,
        shape=job.shape,
        machine=machine,
        attempts=run.train_attempts.relative_to(run.folder).as_posix(),
        log="slurm-{id}.out",
        digest=plan.digest,
        steps=(
            f"python -m {_MODULE} prepare",
            'mapfile -t overrides < "$TUNELOOP_ATTEMPT/overrides"',
            "if [[ ! -e $TUNELOOP_ATTEMPT/skip ]]; then",
            *(f"  {line}" for line in training(plan.resolved, job.shape)),
            "fi",
            f"python -m {_MODULE} verify",
        ),
        environment=_environment(machine),
    )


def _environment(machine: Machine) -> dict[str, str]:
    said = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    if machine.gpus:
        return said
    # Threads that spin while they wait made a step eight times slower on a busy machine (2 cores, load 3).
    return {"OMP_NUM_THREADS": str(machine.cpus), "OMP_WAIT_POLICY": "passive", **said}


def _all_settings(resolved: Resolved, inputs: Inputs) -> dict[str, Setting]:
    """Return the settings, then what the model's folder decided."""
    from_model = {
        f"model.{name}": Setting(value, "model: config.json") for name, value in inputs.model.family.dimensions.items()
    }
    return {**resolved.settings, **from_model}


def _notes(inputs: Inputs, plans: list[Plan], machine: Machine) -> Iterator[str]:
    if machine.gpus == 0:
        yield from _told_of_runs(
            "a distributed recipe needs GPUs, and there is none here: the config is validated, the job cannot run",
            [
                (plan.run.name, f"{plan.resolved.recipe.name} on {_hardware(plan.resolved)}")
                for plan in plans
                if plan.resolved.recipe.distributed
            ],
        )
    if any(plan.resolved["lora_dropout"] for plan in plans if plan.resolved.recipe.adapter):
        # torchtune's recipe state holds no state of the random numbers.
        yield "with `lora_dropout` a resumed run draws other random numbers than an uninterrupted one"
    if "validation" not in inputs.data:
        yield "no data has the split `validation`: epochs will have no validation loss"
    yield from _told_of_runs(
        "the learning rate is still warming up when training ends",
        [
            (plan.run.name, f"{plan.resolved['warmup_steps']:,} of {plan.resolved.steps:,} steps")
            for plan in plans
            if SCHEDULE in plan.resolved.recipe.traits and plan.resolved["warmup_steps"] >= plan.resolved.steps
        ],
    )
    yield from _told_of_runs(
        "many samples of each epoch are not trained on: they make no whole step, which torchtune drops",
        [
            (plan.run.name, f"{100 * plan.resolved.dropped:.0f} % of them")
            for plan in plans
            if plan.resolved.dropped > _MUCH_DROPPED
        ],
    )


def _hardware(resolved: Resolved) -> str:
    devices = counted(resolved["devices"], "device")
    return devices if resolved["nodes"] == 1 else f"{devices} in each of {resolved['nodes']} nodes"


def _told_of_runs(text: str, runs: list[tuple[str, str]]) -> Iterator[str]:
    """Yield one note however many runs it is about; the first of them comes with its figures."""
    if runs:
        name, figures = runs[0]
        more = f", and {counted(len(runs) - 1, 'more run')}" if len(runs) > 1 else ""
        yield f"{text} (`{name}`: {figures}{more})"
