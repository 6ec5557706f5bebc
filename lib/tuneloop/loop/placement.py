"""Which cluster runs what, and what of this machine its jobs read.

A cluster that is reached over SSH sees a copy of the experiment and nothing else of this machine. What a design names
outside of the experiment has a place in it for those jobs: a link here, the thing itself there.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tuneloop.documents.config import Configuration
from tuneloop.documents.errors import InputError, MissingError, Problem
from tuneloop.documents.files import make_folder, make_link, remove_file, user_path
from tuneloop.experiment.expand import Run
from tuneloop.experiment.identity import digest
from tuneloop.experiment.layout import Layout
from tuneloop.experiment.read import Experiment
from tuneloop.experiment.references import parse_reference
from tuneloop.experiment.work import JobKey, JobSpec, Need
from tuneloop.jobs.board import Board
from tuneloop.jobs.state import GOING
from tuneloop.workers.hub import model_folder

LOCAL = "local"


def clusters_of(experiment: Experiment) -> list[str]:
    """Return the clusters of the runs, in their order; that of the design where there are none."""
    return list(dict.fromkeys(run.cluster for run in experiment.runs)) or [experiment.design.cluster]


def named_at(experiment: Experiment, cluster: str) -> tuple[str | int, ...]:
    """Return where the design names a cluster."""
    places = ((index, run) for index, run in enumerate(experiment.design.runs) if run.cluster == cluster)
    return next((("runs", index, "cluster") for index, _ in places), ("cluster",))


def collecting(jobs: Sequence[JobSpec], default: str) -> str:
    """Return the cluster of the job that collects: that of all others, or this machine, which sees all results."""
    clusters = {job.shape.cluster for job in jobs} or {default}
    return clusters.pop() if len(clusters) == 1 else LOCAL


def is_remote(configuration: Configuration, cluster: str) -> bool:
    try:
        return configuration.profile(cluster).ssh is not None
    except MissingError:
        return False


def refuse_out_of_reach(experiment: Experiment, configuration: Configuration) -> None:
    """Raise InputError for every run whose jobs could not see the checkpoint that they read."""
    problems = list(dict.fromkeys(_out_of_reach(experiment, configuration)))
    if problems:
        raise InputError(problems)


def _out_of_reach(experiment: Experiment, configuration: Configuration) -> Iterator[Problem]:
    clusters = {run.name: run.cluster for run in experiment.runs}
    for run in experiment.runs:
        text = run.checkpoint if run.kind == "eval-only" else experiment.design.model
        at = _checkpoint_at(experiment, run) if run.kind == "eval-only" else ("model",)
        reference = parse_reference(text or "")
        if reference is None or model_folder(text or "", experiment.layout.folder).is_dir():
            continue
        if reference.experiment is not None and is_remote(configuration, run.cluster):
            message = f"`{run.cluster}` cannot read `{text}`: it has a copy of this experiment and of no other"
            yield experiment.problem(at, message, f"`tuneloop export {text} DIR` makes a folder of it: name that")
        made_on = clusters.get(reference.run, run.cluster) if reference.experiment is None else run.cluster
        if made_on != run.cluster:
            message = (
                f"`{run.name}` runs on `{run.cluster}` and reads a checkpoint of `{reference.run}`, made on `{made_on}`"
            )
            yield experiment.problem(at, message, f"set `cluster: {made_on}` for `{run.name}`")


def refuse_apart(configuration: Configuration, board: Board, specs: Sequence[JobSpec]) -> None:
    """Raise InputError for jobs to be handed over that wait for jobs of another cluster, or read what only it has."""
    anew = {spec.key: spec.shape.cluster for spec in specs}
    problems = []
    for spec in specs:
        for need in spec.needs:
            made_on, going = _maker(board, anew, need)
            if made_on is not None and _apart(configuration, spec.shape.cluster, made_on, need, going=going):
                message = f"{spec.key} runs on `{spec.shape.cluster}` and needs {need.job}, which `{made_on}` has"
                hint = f"let that end first, or give its run `cluster: {made_on}` and scaffold again"
                problems.append(Problem(message, hint=hint))
    if problems:
        raise InputError(list(dict.fromkeys(problems)))


def _maker(board: Board, anew: Mapping[JobKey, str], need: Need) -> tuple[str | None, bool]:
    """Return the cluster that makes or made what a job needs, None where nobody did, and whether it goes on."""
    if need.experiment is None and need.job in anew:
        return anew[need.job], True
    status = board.states.get(need.job) if need.experiment is None else board.elsewhere.get(need)
    if status is None or status.native is None:
        return None, False
    return status.native.cluster, status.state in GOING


def _apart(configuration: Configuration, cluster: str, made_on: str, need: Need, *, going: bool) -> bool:
    if cluster == made_on:
        return False
    unseen = need.when == "ok" and (is_remote(configuration, cluster) or is_remote(configuration, made_on))
    # A scheduler knows its own jobs; the runner of this machine asks all of them.
    return unseen or (going and configuration.profile(cluster).executor != "local")


def _checkpoint_at(experiment: Experiment, run: Run) -> tuple[str | int, ...]:
    index = [item.name for item in experiment.design.runs].index(run.name)
    return ("runs", index, "checkpoint")


def outside(experiment: Experiment) -> dict[Path, str]:
    """Return what the design names outside of the experiment's folder, with its place in it for jobs elsewhere.

    Absolute paths, both as they are written and with links followed, since tools differ in what they make of them.
    """
    layout, found = experiment.layout, {}
    for path in _named(experiment):
        if not path.exists():
            continue  # the worker says so, with its place in the design
        place = layout.inputs / digest(str(path))[:8] / path.name
        for form in (path, path.resolve()):
            if not form.is_relative_to(layout.folder):
                found[form] = layout.relative(place)
    return found


def _named(experiment: Experiment) -> Iterator[Path]:
    design, folder = experiment.design, experiment.layout.folder
    checkpoints = [run.checkpoint for run in design.runs]
    for text in [design.model, design.method.teacher, design.method.reward_model, *checkpoints]:
        if text is not None:
            yield model_folder(text, folder)
    files = [entry.path for entry in design.data]
    for evaluation in design.evaluations:
        task = evaluation.task if evaluation.task.endswith(".py") else evaluation.task.rpartition("@")[0]
        files += [task] if task.endswith(".py") else []
    for text in files:
        yield Path(os.path.abspath(folder / user_path(text)))  # noqa: PTH100  (a link stays a link)


def link_inputs(layout: Layout, inputs: Mapping[Path, str]) -> None:
    """Make the links that stand for `inputs` here, so that what is generated for elsewhere reads the same here."""
    for path, name in inputs.items():
        link = layout.folder / name
        if link.is_symlink() and link.readlink() in (path, path.resolve()):
            continue
        if link.is_symlink():
            remove_file(link)
        make_folder(link.parent)
        make_link(link, str(path))
