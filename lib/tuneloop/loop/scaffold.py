"""scaffold-experiment = scaffold-<training tool> + scaffold-<evaluation tool> + the job that collects.

Planning asks the workers for texts and jobs and writes nothing; `write` then brings the folder to that state.
A job that is already done is never scaffolded over in silence: what changed is listed, and `--replace RUN` sets
its results aside.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import InputError, Problem
from tuneloop.documents.files import make_folder, read_text, write_text
from tuneloop.documents.logs import EventLog
from tuneloop.documents.shell import typed
from tuneloop.documents.yamltext import load_yaml
from tuneloop.experiment.expand import Run
from tuneloop.experiment.identity import digest
from tuneloop.experiment.layout import Layout
from tuneloop.experiment.read import Experiment
from tuneloop.experiment.script import Script, render
from tuneloop.experiment.shapes import within
from tuneloop.experiment.stamp import Stamps
from tuneloop.experiment.store import Stored, all_specs, read_jobs, write_jobs
from tuneloop.experiment.work import COLLECT, Estimate, File, JobSpec, Need, Scaffolded, Setting, Shape, evaluation_of
from tuneloop.jobs.board import read_board
from tuneloop.jobs.executors.fleet import Fleet
from tuneloop.jobs.facts import Facts
from tuneloop.jobs.journal import Journal
from tuneloop.jobs.state import fold
from tuneloop.jobs.tables import refresh_status
from tuneloop.loop.manifest import write_manifest
from tuneloop.loop.orders import Crew
from tuneloop.loop.placement import collecting, link_inputs, refuse_out_of_reach
from tuneloop.loop.setups import setup_mark

ANALYSIS = "analysis"
_COLLECT_S = 10.0  # what collecting is expected to take
_IGNORED = "*.pt\n*.safetensors\n.attempts/\n.tuneloop/runner.log\n.tuneloop/inputs/\n.tuneloop/fetched/\n*.lock\n"


@dataclass(frozen=True)
class Changed:
    """A run with results from other inputs than the ones to be scaffolded."""

    run: str
    jobs: tuple[JobSpec, ...]
    changes: tuple[str, ...]

    def __str__(self) -> str:
        return f"`{self.run}` has {len(self.jobs)} results from another design: {'; '.join(self.changes)}"


@dataclass(frozen=True)
class ScaffoldPlan:
    experiment: Experiment
    workers: Mapping[str, Scaffolded]
    estimates: Mapping[str, Estimate]  # by job key
    versions: Mapping[str, Mapping[str, str]]  # by worker
    changed: tuple[Changed, ...]
    runs: frozenset[str] | None = None  # those that are scaffolded anew; None: all
    inputs: Mapping[Path, str] = field(default_factory=dict)  # outside, and its place for jobs on another machine

    @property
    def jobs(self) -> list[JobSpec]:
        return [job for item in self.workers.values() for job in item.jobs]

    @property
    def files(self) -> list[File]:
        return [file for item in self.workers.values() for file in item.files]

    @property
    def settings(self) -> dict[str, dict[str, Setting]]:
        found: dict[str, dict[str, Setting]] = {}
        for item in self.workers.values():
            for run, settings in item.settings.items():
                found.setdefault(run, {}).update(settings)
        return found


def plan_scaffold(
    experiment: Experiment, crew: Crew, only: Sequence[str] | None = None, runs: Sequence[str] | None = None
) -> ScaffoldPlan:
    """Ask the workers what they would write; `only` names some of them, and `runs` the runs that are not left alone.

    Raises one InputError with every fault that the workers find in the design.
    """
    asked = [name for name in crew.names if only is None or name in only]
    _refuse_untrained(experiment, crew, asked)
    refuse_out_of_reach(experiment, crew.configuration)
    trained = [] if crew.trainer in asked else _trained_before(experiment, crew)
    answers: dict[str, dict[str, Any]] = {}
    problems: list[Problem] = []
    for name in asked:
        # Evaluations of runs that cannot be trained would only repeat what is wrong with the training.
        wanted = [run for run in experiment.runs if runs is None or run.name in runs]
        possible = [run for run in wanted if run.kind != "train" or not problems]
        answers[name] = _answers(crew, name, trained, possible)
        found: Scaffolded = answers[name]["scaffold"]
        problems += [experiment.problem(fault.at, fault.message, fault.hint) for fault in found.faults]
        if name == crew.trainer:
            trained = list(found.jobs)
    if problems:
        raise InputError(list(dict.fromkeys(problems)))
    workers = {name: answer["scaffold"] for name, answer in answers.items()}
    if runs is not None:
        workers = {name: _beside_others(experiment, name, item, runs) for name, item in workers.items()}
    if only is None:
        workers[ANALYSIS] = _collect(experiment, crew, [job for item in workers.values() for job in item.jobs])
    return ScaffoldPlan(
        experiment,
        workers,
        estimates={key: item for answer in answers.values() for key, item in answer["estimate"].items()},
        versions={name: answer["versions"] for name, answer in answers.items()},
        changed=tuple(_changes(experiment, workers)),
        runs=None if runs is None else frozenset(runs),
        inputs=crew.inputs,
    )


def _beside_others(experiment: Experiment, worker: str, found: Scaffolded, runs: Sequence[str]) -> Scaffolded:
    """Return what was scaffolded for some runs with the jobs on record of the others, in their order."""
    new = {job.key: job for job in found.jobs}
    stored = read_jobs(experiment.layout).get(worker)
    before = () if stored is None else stored.jobs
    kept = [new.pop(job.key) if job.key in new else job for job in before if job.key in new or job.run not in runs]
    return replace(found, jobs=(*kept, *new.values()))


def _answers(crew: Crew, name: str, trained: Sequence[JobSpec], runs: Sequence[Run]) -> dict[str, Any]:
    """Ask a worker once for each cluster that has some of the runs, and put its answers together."""
    parts = []
    for cluster in list(dict.fromkeys(run.cluster for run in runs)) or [crew.cluster]:
        order = crew.order(name, trained, [run for run in runs if run.cluster == cluster], cluster)
        parts.append(crew.remote(name, cluster).ask(order, "versions", "scaffold", "estimate"))
    places = {run.name: index for index, run in enumerate(runs)}
    found: list[Scaffolded] = [part["scaffold"] for part in parts]
    jobs = [job for item in found for job in item.jobs]
    return {
        "versions": parts[0]["versions"],
        "scaffold": Scaffolded(
            files=tuple(file for item in found for file in item.files),
            jobs=tuple(sorted(jobs, key=lambda job: places.get(job.run or "", len(places)))),
            settings={run: settings for item in found for run, settings in item.settings.items()},
            faults=tuple(fault for item in found for fault in item.faults),
            notes=tuple(dict.fromkeys(note for item in found for note in item.notes)),
        ),
        "estimate": {key: item for part in parts for key, item in part["estimate"].items()},
    }


def write_scaffold(plan: ScaffoldPlan, crew: Crew, replace: Sequence[str] = ()) -> dict[str, int]:
    """Write what the plan holds; return how many files each worker wrote anew. Idempotent.

    Raises InputError when results from other inputs stand in the way and their run is not in `replace`.
    """
    layout = plan.experiment.layout
    fleet = crew.fleet()
    _refuse_changes(plan, replace, fleet)
    replaced = [job for changed in plan.changed for job in changed.jobs]
    if replaced:
        # Before the act: killed in between, the jobs are stale still and the same command goes on.
        Journal(layout).append("retired", keys=[job.key for job in replaced], by="replace")
    for job in replaced:
        _set_aside(layout, job, fleet)
    make_folder(layout.internal)
    write_text(layout.gitignore, _IGNORED, sync=False)
    link_inputs(layout, plan.inputs)
    written = {name: _write_worker(plan, crew, name, item) for name, item in plan.workers.items()}
    _record_runs(layout)
    write_manifest(plan.experiment, plan.versions)
    refresh_status(layout, read_board(plan.experiment, fleet))
    return written


def _write_worker(plan: ScaffoldPlan, crew: Crew, name: str, item: Scaffolded) -> int:
    layout = plan.experiment.layout
    log = EventLog(layout.folder, f"scaffold-{name}" if name != ANALYSIS else "scaffold-experiment")
    changed = 0
    for file in item.files:
        if write_text(layout.folder / file.path, file.text, mode=0o755 if file.executable else 0o644, sync=False):
            log.event(f"wrote {file.path}")
            changed += 1
    stamps = Stamps(plan.experiment.design)
    runs = {run.name: run for run in plan.experiment.runs}
    stored = {str(job.key): stamps.of(runs[job.run], job.key) for job in item.jobs if job.run in runs}
    setups = {str(job.key): setup_mark(crew.configuration.profile(job.shape.cluster), job) for job in item.jobs}
    if plan.runs is not None and (before := read_jobs(layout).get(name)) is not None:
        left = {str(job.key) for job in item.jobs if job.run not in plan.runs}
        stored |= {key: stamp for key, stamp in before.stamps.items() if key in left}
        setups = {key: mark for key, mark in setups.items() if key not in left}
        setups |= {key: mark for key, mark in before.setups.items() if key in left}
    write_jobs(layout, name, Stored(item.jobs, stored, setups))
    log.event(f"{len(item.jobs)} jobs, {len(item.files)} files, {changed} written")
    return changed


def _refuse_untrained(experiment: Experiment, crew: Crew, asked: Sequence[str]) -> None:
    """Raise InputError when evaluations are asked for alone and their training is not scaffolded."""
    if crew.trains and crew.trainer not in asked and not _trained_before(experiment, crew):
        hint = f"`tuneloop scaffold-{crew.trainer} {typed(experiment.layout.folder)}` first"
        raise InputError(Problem("the training is not scaffolded", experiment.layout.summary, hint=hint))


def _trained_before(experiment: Experiment, crew: Crew) -> list[JobSpec]:
    stored = read_jobs(experiment.layout).get(crew.trainer)
    return [] if stored is None else list(stored.jobs)


def _collect(experiment: Experiment, crew: Crew, jobs: Sequence[JobSpec]) -> Scaffolded:
    """Return the last job of the graph: it waits for all others, however they end, and writes the report."""
    cluster = collecting(jobs, crew.cluster)
    layout, machine = experiment.layout, crew.machine(ANALYSIS, cluster)
    shape = Shape(cluster, cpus=1, memory_mb=2048, minutes=within(machine, 30, _COLLECT_S))
    all_digests = digest(sorted(job.digest for job in jobs))
    internal = layout.relative(layout.internal)
    text = render(
        Script(
            title=f"Collect the results of {experiment.design.name} and write its report",
            command="tuneloop scaffold-experiment",
            key=COLLECT,
            shape=shape,
            machine=machine,
            attempts=layout.relative(layout.collect_attempts),
            log=f"{internal}/slurm-{{id}}.out",
            digest=all_digests,
            steps=["python -m tuneloop analyze-experiment .", *_cleaning(experiment)],
            up="..",
        )
    )
    job = JobSpec(
        key=COLLECT,
        worker=ANALYSIS,
        run=None,
        script=layout.relative(layout.collect_script),
        attempts=layout.relative(layout.collect_attempts),
        needs=tuple(Need(job.key, "any") for job in jobs),
        makes=("report",),
        digest=all_digests,
        shape=shape,
        resumable=False,
        seconds=_COLLECT_S,
        log=f"{internal}/slurm-*.out",
    )
    return Scaffolded(files=(File(job.script, text, executable=True),), jobs=(job,))


def _cleaning(experiment: Experiment) -> list[str]:
    """Return the step that removes the weights which the design's policy does not keep."""
    return [] if experiment.design.policy.keep == "all" else ["python -m tuneloop clean . --by-policy"]


def _changes(experiment: Experiment, workers: Mapping[str, Scaffolded]) -> list[Changed]:
    """Return the runs that have results from other inputs, with what changed."""
    facts = Facts(experiment.layout)
    jobs: dict[str, list[JobSpec]] = {}
    changes: dict[str, list[str]] = {}
    for item in workers.values():
        for job in item.jobs:
            if job.run is not None and _made_otherwise(facts, job):
                jobs.setdefault(job.run, []).append(job)
                changes.setdefault(job.run, []).extend(_differences(experiment.layout, job, item))
    return [
        Changed(run, tuple(found), tuple(dict.fromkeys(changes[run])) or ("its inputs differ",))
        for run, found in jobs.items()
    ]


def _made_otherwise(facts: Facts, job: JobSpec) -> bool:
    kept = [attempt for attempt in facts.of(job) if attempt.verified or attempt.alive]
    return bool(kept) and all(attempt.digest != job.digest for attempt in kept)


def _differences(layout: Layout, job: JobSpec, scaffolded: Scaffolded) -> Iterator[str]:
    """Yield what differs between the inputs on disk and those to be scaffolded."""
    name = evaluation_of(job.key)
    if name is not None:
        # An evaluation whose own request is the same changes with its training alone.
        request = layout.request_of(job)
        before = _mapping(request)
        text = next((file.text for file in scaffolded.files if file.path == layout.relative(request)), "{}")
        now = {key: value for key, value in load_yaml(text).items() if key != "digest"}
        yield from (
            f"{name}.{key}: {before.get(key)!r} is now {value!r}"
            for key, value in now.items()
            if before and before.get(key) != value
        )
        return
    before = _mapping(layout.run(job.run or "").setup).get("settings", {})
    for key, setting in scaffolded.settings.get(job.run or "", {}).items():
        was = before.get(key, {}).get("value")
        if before and was != setting.value:
            yield f"{key}: {was!r} is now {setting.value!r}"


def _mapping(path: Path) -> dict[str, Any]:
    """Return a generated YAML or JSON file, empty where there is none."""
    if not path.is_file():
        return {}
    value = load_yaml(read_text(path), path)
    return value if isinstance(value, dict) else {}


def _refuse_changes(plan: ScaffoldPlan, replace: Sequence[str], fleet: Fleet) -> None:
    summary, folder = plan.experiment.layout.summary, typed(plan.experiment.layout.folder)
    left = [changed for changed in plan.changed if changed.run not in replace]
    if left:
        options = " ".join(f"--replace {changed.run}" for changed in plan.changed)
        hint = f"`tuneloop scaffold-experiment {folder} {options}` sets them aside; or give the runs other names"
        raise InputError([Problem(str(changed), summary, hint=hint) for changed in left])
    going = {status.key for status in read_board(plan.experiment, fleet).going}
    busy = [job.key for changed in plan.changed for job in changed.jobs if job.key in going]
    if busy:
        message = f"{len(busy)} jobs to be replaced are still going, such as `{busy[0]}`"
        raise InputError(Problem(message, summary, hint=f"`tuneloop cancel {folder}` first"))


def _set_aside(layout: Layout, job: JobSpec, fleet: Fleet) -> None:
    """Move a job's attempts and results into `.tuneloop/replaced/<n>/`, wherever they are: nothing is deleted."""
    made = {layout.folder / job.attempts, *layout.made_by(job), *layout.checkpoints_of(job)}
    for mirror in fleet.mirrors():  # it may have run on another one than the design names now
        mirror.set_aside(sorted(made))
    target = next(layout.replaced / str(n) for n in count(1) if not (layout.replaced / str(n)).exists())
    for path in [layout.folder / job.attempts, *layout.made_by(job)]:
        if path.exists():
            place = target / layout.relative(path)
            make_folder(place.parent)
            shutil.move(path, place)


def _record_runs(layout: Layout) -> None:
    """Write to the journal which runs the design added or dropped since it was last on record."""
    journal = Journal(layout)
    old = fold(journal.read()).runs
    new = {job.run for job in all_specs(read_jobs(layout)) if job.run}
    if new - old:
        journal.append("added", runs=sorted(new - old), by="design")
    if old - new:
        journal.append("retired", runs=sorted(old - new), by="design")
