"""Who works on an experiment and with what: workers, their work environments, the orders they get."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from tuneloop.documents.config import Configuration, Profile, load
from tuneloop.documents.errors import InputError, MissingError, Problem
from tuneloop.documents.files import user_path
from tuneloop.experiment.expand import Run
from tuneloop.experiment.read import Experiment
from tuneloop.experiment.store import all_specs, read_jobs
from tuneloop.experiment.work import JobSpec, Machine, Usage
from tuneloop.jobs.executors.fleet import Fleet
from tuneloop.jobs.executors.local import cpus_per_job, gpu_count
from tuneloop.jobs.facts import Attempt, Facts
from tuneloop.jobs.slurm.site import site_of
from tuneloop.loop.clusters import misnamed
from tuneloop.loop.placement import LOCAL, clusters_of, named_at, outside
from tuneloop.workers import Order
from tuneloop.workers import load as load_worker
from tuneloop.workers.bridge import Remote


class Crew:
    """The workers of one experiment, on the clusters that its design names."""

    def __init__(self, experiment: Experiment, configuration: Configuration | None = None) -> None:
        self.experiment = experiment
        self.configuration = configuration or load(experiment.layout.folder)
        self.cluster = experiment.design.cluster
        for cluster in dict.fromkeys([self.cluster, *clusters_of(experiment)]):
            self._profile(cluster)

    @property
    def trainer(self) -> str:
        return self.experiment.design.backend

    @property
    def evaluators(self) -> list[str]:
        return list(dict.fromkeys(item.backend for item in self.experiment.design.evaluations))

    @property
    def trains(self) -> bool:
        return any(run.kind == "train" for run in self.experiment.runs)

    @property
    def names(self) -> list[str]:
        """The workers that have something to do, in the order of their work."""
        return list(dict.fromkeys([*([self.trainer] if self.trains else []), *self.evaluators]))

    def remote(self, name: str, cluster: str | None = None) -> Remote:
        """Return a worker as seen from here. Raises MissingError with the line that names it."""
        try:
            return Remote(load_worker(name), self.python(name, cluster))
        except MissingError as error:
            raise MissingError(_placed(self.experiment, self._named_at(name), error)) from None

    @property
    def gpus_here(self) -> int:
        """How many GPUs a worker uses that is asked about a model: of the profile, unless that is elsewhere."""
        remote = self._profile(self.cluster).ssh is not None
        return min(1, gpu_count()) if remote else self.machine(self.trainer).gpus

    def fleet(self) -> Fleet:
        return Fleet(self.experiment.layout, self.configuration)

    def python(self, worker: str, cluster: str | None = None) -> str:
        """Return the interpreter that a worker is asked with: of this machine, wherever its jobs run."""
        profile = self._profile(cluster or self.cluster)
        python = (self._profile(LOCAL) if profile.ssh else profile).interpreter(worker)
        return str(user_path(python)) if python else sys.executable

    def machine(self, worker: str, cluster: str | None = None) -> Machine:
        """Return where jobs run, for whoever scaffolds them. Raises MissingError for a profile that lacks something."""
        cluster = cluster or self.cluster
        profile = self._profile(cluster)
        self._refuse_misnamed(cluster, profile)
        scheduled = profile.executor == "slurm"
        return Machine(
            cluster=cluster,
            gpus=min(1, profile.gpus if scheduled else gpu_count()),  # one job, one GPU
            cpus=profile.cpus if scheduled else cpus_per_job(profile),
            python=self._python_there(worker, cluster) if profile.ssh else self.python(worker, cluster),
            site=site_of(profile),
        )

    def order(
        self,
        worker: str,
        trained: Sequence[JobSpec] = (),
        runs: Sequence[Run] | None = None,
        cluster: str | None = None,
    ) -> Order:
        remote = self._profile(cluster or self.cluster).ssh is not None
        return Order(
            folder=str(self.experiment.layout.folder),
            design=self.experiment.design,
            runs=list(self.experiment.runs if runs is None else runs),
            machine=self.machine(worker, cluster),
            trained={job.run: job for job in trained if job.run is not None},
            seen=self._seen(),
            inputs={str(path): name for path, name in self.inputs.items()} if remote else {},
        )

    @cached_property
    def inputs(self) -> Mapping[Path, str]:
        """What lies outside of the experiment and is read by jobs that see only a copy of it."""
        remote = any(self._profile(cluster).ssh for cluster in clusters_of(self.experiment))
        return outside(self.experiment) if remote else {}

    def _profile(self, cluster: str) -> Profile:
        try:
            return self.configuration.profile(cluster)
        except MissingError as error:
            raise MissingError(_placed(self.experiment, named_at(self.experiment, cluster), error)) from None

    def _refuse_misnamed(self, cluster: str, profile: Profile) -> None:
        """Raise InputError for an interpreter of no worker: the one it was meant for would get another."""
        at = named_at(self.experiment, cluster)
        problems = [
            self.experiment.problem(at, f"`clusters.{cluster}.python` names an unknown worker `{name}`", hint)
            for name, hint in misnamed(profile).items()
        ]
        if problems:
            raise InputError(problems)

    def _python_there(self, worker: str, cluster: str) -> str:
        python = self._profile(cluster).interpreter(worker)
        if python is None or not python.startswith("/"):
            message = f"the profile `{cluster}` is reached over SSH and names no interpreter there for `{worker}`"
            hint = "set its `python:` to the absolute path of one that has tuneloop"
            raise MissingError(self.experiment.problem(named_at(self.experiment, cluster), message, hint))
        return python

    def _named_at(self, name: str) -> tuple[str | int, ...]:
        if name == self.trainer:
            return ("backend",)
        index = [item.backend for item in self.experiment.design.evaluations].index(name)
        return ("evaluations", index, "backend")

    def _seen(self) -> Mapping[str, Usage]:
        """Return what the verified jobs of this experiment used, for estimates."""
        facts = Facts(self.experiment.layout)
        used = {str(spec.key): _used(facts.of(spec)) for spec in all_specs(read_jobs(self.experiment.layout))}
        return {key: usage for key, usage in used.items() if usage is not None}


def _used(attempts: Sequence[Attempt]) -> Usage | None:
    """Return what the last verified attempt used, together with those that it took over from."""
    verified = [item for item in attempts if item.verified and item.usage is not None]
    if not verified:
        return None
    last = verified[-1]
    parts = [item.usage for item in attempts if item.usage and (item.token, item.digest) == (last.token, last.digest)]
    assert last.usage is not None
    return replace(
        last.usage,
        wall_s=sum(part.wall_s for part in parts),
        cpu_s=sum(part.cpu_s for part in parts),
        peak_memory_mb=max(part.peak_memory_mb for part in parts),
    )


def _placed(experiment: Experiment, at: tuple[str | int, ...], error: MissingError) -> list[Problem]:
    """Return the problems of an error with their place in the design."""
    return [experiment.problem(at, problem.message, problem.hint) for problem in error.problems]
