"""Who works on an experiment and with what: workers, their work environments, the orders they get."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tuneloop.documents.config import Configuration, load
from tuneloop.documents.errors import MissingError, Problem
from tuneloop.documents.files import user_path
from tuneloop.experiment.expand import Run
from tuneloop.experiment.read import Experiment
from tuneloop.experiment.store import all_specs, read_jobs
from tuneloop.experiment.work import JobSpec, Machine, Usage
from tuneloop.jobs.executors.fleet import Fleet
from tuneloop.jobs.executors.local import cpus_per_job, gpu_count
from tuneloop.jobs.facts import Attempt, Facts
from tuneloop.jobs.slurm.site import site_of
from tuneloop.workers import Order
from tuneloop.workers import load as load_worker
from tuneloop.workers.bridge import Remote


class Crew:
    """The workers of one experiment, on the cluster that its design names."""

    def __init__(self, experiment: Experiment, configuration: Configuration | None = None) -> None:
        self.experiment = experiment
        self.configuration = configuration or load(experiment.layout.folder)
        self.cluster = experiment.design.cluster
        try:
            self.profile = self.configuration.profile(self.cluster)
        except MissingError as error:
            raise MissingError(_placed(experiment, ("cluster",), error)) from None

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

    def remote(self, name: str) -> Remote:
        """Return a worker as seen from here. Raises MissingError with the line that names it."""
        try:
            return Remote(load_worker(name), self.machine(name).python)
        except MissingError as error:
            raise MissingError(_placed(self.experiment, self._named_at(name), error)) from None

    def fleet(self) -> Fleet:
        return Fleet(self.experiment.layout, self.configuration)

    def machine(self, worker: str) -> Machine:
        python = self.profile.interpreter(worker)
        scheduled = self.profile.executor == "slurm"
        return Machine(
            cluster=self.cluster,
            gpus=min(1, self.profile.gpus if scheduled else gpu_count()),  # one job, one GPU
            cpus=self.profile.cpus if scheduled else cpus_per_job(self.profile),
            python=str(user_path(python)) if python else sys.executable,
            site=site_of(self.profile),
        )

    def order(self, worker: str, trained: Sequence[JobSpec] = (), runs: Sequence[Run] | None = None) -> Order:
        return Order(
            folder=str(self.experiment.layout.folder),
            design=self.experiment.design,
            runs=list(self.experiment.runs if runs is None else runs),
            machine=self.machine(worker),
            trained={job.run: job for job in trained if job.run is not None},
            seen=self._seen(),
        )

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
