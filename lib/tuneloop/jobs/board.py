"""The board: one reading of journal, facts and jobs, with the state of every job. Writes nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tuneloop.experiment.expand import expected_jobs
from tuneloop.experiment.read import Experiment
from tuneloop.experiment.stamp import Stamps
from tuneloop.experiment.work import JobKey, JobSpec, Token
from tuneloop.jobs.executors import Executor
from tuneloop.jobs.facts import Facts
from tuneloop.jobs.journal import Journal
from tuneloop.jobs.state import GOING, Intent, JobStatus, fold, states
from tuneloop.jobs.store import Stored, all_specs, read_jobs


@dataclass(frozen=True)
class Board:
    specs: Sequence[JobSpec]
    states: Mapping[JobKey, JobStatus]
    intent: Intent
    outdated: frozenset[JobKey]  # jobs that the design no longer stands for as they were scaffolded
    missing: frozenset[JobKey]  # jobs that the design stands for and a later scaffold would add

    @property
    def going(self) -> list[JobStatus]:
        return [status for status in self.states.values() if status.state in GOING]

    @cached_property
    def _by_key(self) -> dict[JobKey, JobSpec]:
        return {spec.key: spec for spec in self.specs}

    def spec(self, key: JobKey) -> JobSpec:
        return self._by_key[key]


def read_board(experiment: Experiment, executor: Executor, facts: Facts | None = None) -> Board:
    """Return the state of every scaffolded job. Raises InputError for a broken journal."""
    layout = experiment.layout
    stored = read_jobs(layout)
    specs = all_specs(stored)
    intent = fold(Journal(layout).read(), arrived=lambda token: executor.find(Token(token)) is not None)
    expected = expected_jobs(experiment.design, experiment.runs)
    outdated = _outdated(experiment, stored, expected)
    found = states(
        specs,
        intent,
        (facts or Facts(layout)).all(specs),
        retries=experiment.design.policy.retries,
        outdated=outdated,
    )
    # A worker that was never asked to scaffold lacks nothing.
    missing = {key for key, backend in expected.items() if backend in stored and key not in found}
    return Board(specs, found, intent, outdated, frozenset(missing))


def _outdated(
    experiment: Experiment, stored: Mapping[str, Stored], expected: Mapping[JobKey, str]
) -> frozenset[JobKey]:
    stamps = Stamps(experiment.design)
    runs = {run.name: run for run in experiment.runs}
    return frozenset(
        job.key
        for item in stored.values()
        for job in item.jobs
        if job.run is not None
        and (job.key not in expected or stamps.of(runs[job.run], job.key) != item.stamps.get(job.key))
    )
