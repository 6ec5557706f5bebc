"""What jobs ask for against what their clusters have and allow, before anything is handed over."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from tuneloop.documents.config import Configuration, Profile
from tuneloop.documents.errors import InputError, MissingError
from tuneloop.documents.shell import typed
from tuneloop.experiment.read import Experiment
from tuneloop.experiment.work import COLLECT, JobKey, JobSpec
from tuneloop.jobs.executors.local import gpu_count
from tuneloop.workers.wording import counted


def refuse_unfit(experiment: Experiment, jobs: Sequence[JobSpec], configuration: Configuration) -> None:
    """Raise MissingError for nodes and GPUs that this machine lacks, InputError for what is over a site's limits.

    What the nodes of a cluster have, its scheduler says by itself.
    """
    scheduled = _scheduled(configuration)
    here = [job for job in jobs if job.shape.cluster not in scheduled]
    _refuse_missing_nodes(experiment, here)
    _refuse_missing_gpus(experiment, here)
    for cluster, profile in scheduled.items():
        _refuse_long(experiment, cluster, profile, [job for job in jobs if job.shape.cluster == cluster])
    _refuse_too_many(experiment, jobs, limits_of(configuration))


def limits_of(configuration: Configuration) -> dict[str, int]:
    """Return how many jobs a user may have in the queue of each cluster whose profile says so."""
    found = {name: profile.limits.jobs for name, profile in _scheduled(configuration).items()}
    return {name: limit for name, limit in found.items() if limit is not None}


def _refuse_too_many(experiment: Experiment, jobs: Sequence[JobSpec], limits: Mapping[str, int]) -> None:
    """Raise InputError for a chain of jobs that never fits into a queue at once."""
    for chain in _chains(jobs) if limits else ():
        for cluster, number in Counter(job.shape.cluster for job in chain).items():
            if number > limits.get(cluster, number):
                message = f"{chain[0].key} and what follows from it are {counted(number, 'job')}, and"
                message += f" `limits.jobs` of `{cluster}` is {limits[cluster]}"
                folder = typed(experiment.layout.folder)
                hint = f"`tuneloop run-{chain[0].worker} {folder}` hands over less at once; or raise the limit"
                raise InputError(experiment.problem(("cluster",), message, hint))


def fitting(jobs: Sequence[JobSpec], room: Mapping[str, int]) -> list[JobSpec]:
    """Return the jobs that fit into the room left on each cluster: whole chains, trainings with what follows from them.

    The job that collects waits for all others, so it goes with the last of them. A cluster without a number has room.
    """
    left = dict(room)
    kept: set[JobKey] = set()
    for chain in _chains(jobs):
        wanted = Counter(job.shape.cluster for job in chain)
        if all(number <= left.get(cluster, number) for cluster, number in wanted.items()):
            left = {cluster: number - wanted[cluster] for cluster, number in left.items()}
            kept |= {job.key for job in chain}
    others = [job for job in jobs if job.key != COLLECT]
    last = next((job for job in jobs if job.key == COLLECT), None)
    if last is not None and len(kept) == len(others) and left.get(last.shape.cluster, 1) > 0:
        kept.add(COLLECT)
    return [job for job in jobs if job.key in kept]


def _chains(jobs: Sequence[JobSpec]) -> list[list[JobSpec]]:
    """Return the jobs in groups that need each other, in the order of their first ones; none collects."""
    chained = {job.key: job for job in jobs if job.key != COLLECT}
    above = {key: key for key in chained}

    def first(key: JobKey) -> JobKey:
        while above[key] != key:
            key = above[key]
        return key

    for job in chained.values():
        for need in job.needs:
            if need.experiment is None and need.job in chained:
                above[first(job.key)] = first(need.job)
    found: dict[JobKey, list[JobSpec]] = {}
    for job in chained.values():
        found.setdefault(first(job.key), []).append(job)
    return list(found.values())


def _scheduled(configuration: Configuration) -> dict[str, Profile]:
    return {name: item for name, item in configuration.config.clusters.items() if item.executor == "slurm"}


def _refuse_long(experiment: Experiment, cluster: str, profile: Profile, jobs: Sequence[JobSpec]) -> None:
    """Raise InputError for a job that its time limit would end for good, or that asks for more than the site gives."""
    limit, resumes = profile.limits.minutes, experiment.design.policy.resumes
    if limit is None:
        return
    again = f"`tuneloop scaffold-experiment {typed(experiment.layout.folder)}`"
    longest = max(jobs, key=lambda job: _at_once(job, resumes), default=None)
    if longest is not None and _at_once(longest, resumes) > limit * 60:
        takes = math.ceil(_at_once(longest, resumes) / 60)
        what = f"an epoch of {longest.key}" if longest.resumable and resumes else longest.key
        message = f"{what} is expected to take {takes} minutes, and `{cluster}` allows {limit}"
        hint = f"{_shorter(longest, resumes)}, then {again}; or take a partition that allows more,"
        hint += " and its `limits.minutes`"
        raise InputError(experiment.problem(("cluster",), message, hint))
    most = max(jobs, key=lambda job: job.shape.minutes, default=None)
    if most is not None and most.shape.minutes > limit:
        message = f"{most.key} asks for {most.shape.minutes} minutes, and `{cluster}` allows {limit}"
        raise InputError(experiment.problem(("cluster",), message, f"{again} fits what jobs ask for to the limit"))


def _at_once(job: JobSpec, resumes: int) -> float:
    """Return the seconds of what a job must do before it can go on in a later one: an epoch, or all of it."""
    return job.seconds / max(1, len(job.makes)) if job.resumable and resumes else job.seconds


def _shorter(job: JobSpec, resumes: int) -> str:
    if not job.resumable:
        return "do less in one job"
    return "divide the data of an epoch" if resumes else "set `policy.resumes`, so that it goes on after its limit"


def _refuse_missing_nodes(experiment: Experiment, jobs: Sequence[JobSpec]) -> None:
    """Raise MissingError before a job that wants several machines is started on this one."""
    most = max(jobs, key=lambda job: job.shape.nodes, default=None)
    if most is None or most.shape.nodes == 1:
        return
    again = f"`tuneloop scaffold-experiment {typed(experiment.layout.folder)}`"
    message = f"{most.key} wants {most.shape.nodes} nodes, and `{most.shape.cluster}` is one machine"
    hint = f"set `nodes: 1`, then {again}; or let `cluster` name one that has them"
    raise MissingError(experiment.problem(("cluster",), message, hint))


def _refuse_missing_gpus(experiment: Experiment, jobs: Sequence[JobSpec]) -> None:
    """Raise MissingError before a job waits for hours only to find no GPU; jobs of the processor ask for none."""
    most = max(jobs, key=lambda job: job.shape.gpus, default=None)
    if most is None or most.shape.gpus == 0:
        return
    wanted, there = most.shape.gpus, gpu_count()
    if wanted <= there:
        return
    again = f"`tuneloop scaffold-experiment {typed(experiment.layout.folder)}`"
    fewer = f"set `devices: {max(1, there)}`, then {again}" if wanted > 1 else f"{again} fits the jobs to this machine"
    message = f"{most.key} wants {counted(wanted, 'GPU')}, and this machine has {there or 'none'}"
    raise MissingError(experiment.problem(("cluster",), message, f"{fewer}; or run it on a machine that has them"))
