"""The board: one reading of journal, facts and jobs, with the state of every job.

Asks for nothing to be done. Facts from a cluster over SSH are brought here first, and its tables and logs with them.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from tuneloop.documents.errors import InputError
from tuneloop.experiment.expand import expected_jobs
from tuneloop.experiment.read import Experiment, read_experiment
from tuneloop.experiment.stamp import Stamps
from tuneloop.experiment.store import Stored, all_specs, read_jobs
from tuneloop.experiment.work import JobKey, JobSpec, Need
from tuneloop.jobs.executors.fleet import Fleet
from tuneloop.jobs.facts import Attempt, Facts
from tuneloop.jobs.journal import Journal
from tuneloop.jobs.native import Native
from tuneloop.jobs.state import FINE, GOING, Intent, JobStatus, fold, states


@dataclass(frozen=True)
class Board:
    specs: Sequence[JobSpec]
    states: Mapping[JobKey, JobStatus]
    intent: Intent
    outdated: frozenset[JobKey]  # jobs that the design no longer stands for as they were scaffolded
    missing: frozenset[JobKey]  # jobs that the design stands for and a later scaffold would add
    elsewhere: Mapping[Need, JobStatus]  # jobs of other experiments that some of these need
    scheduled: frozenset[str] = frozenset()  # the clusters with a scheduler that jobs were handed over to

    @property
    def going(self) -> list[JobStatus]:
        return [status for status in self.states.values() if status.state in GOING]

    @property
    def unhanded(self) -> int:
        """How many jobs of the last plan with a yes were not handed over: no room for them, or the command died."""
        consent = self.intent.consent
        if consent is None:
            return 0
        left = sum(key not in consent.handed and status.state not in FINE for key, status in self.states.items())
        return max(0, min(consent.jobs - len(consent.handed), left))

    @property
    def watched(self) -> list[str]:
        """The clusters whose schedulers have the jobs that go."""
        return sorted({status.native.cluster for status in self.going if status.native} & self.scheduled)

    def native(self, status: JobStatus) -> Native | None:
        """Return what a scheduler calls a job; the ids of our own runner say nothing to anybody."""
        return status.native if status.native and status.native.cluster in self.scheduled else None

    @property
    def clusters(self) -> list[str]:
        """The clusters of what goes, else of all jobs."""
        keys = [status.key for status in self.going] or list(self.states)
        return sorted({self.spec(key).shape.cluster for key in keys})

    @cached_property
    def _by_key(self) -> dict[JobKey, JobSpec]:
        return {spec.key: spec for spec in self.specs}

    def spec(self, key: JobKey) -> JobSpec:
        return self._by_key[key]


def read_board(
    experiment: Experiment, fleet: Fleet, facts: Facts | None = None, *, citing: frozenset[Path] = frozenset()
) -> Board:
    """Return the state of every scaffolded job. Raises InputError for a broken journal.

    `citing` holds the experiments on whose behalf this one is read.
    """
    layout = experiment.layout
    stored = read_jobs(layout)
    specs = all_specs(stored)
    intent = fold(Journal(layout).read(), arrived=lambda open_: fleet.find(open_.cluster, open_.token))
    expected = expected_jobs(experiment.design, experiment.runs)
    outdated = _outdated(experiment, stored, expected)
    elsewhere = _elsewhere(experiment, specs, fleet, citing | {layout.folder})
    facts = facts or Facts(layout)
    scheduled = fleet.scheduled(item.cluster for item in intent.submissions.values())
    # Schedulers first: a job that ends in between has its facts, the other way round it would have none.
    answers = fleet.observe(_asked(specs, intent, facts.all(specs), scheduled)) if scheduled else {}
    found = states(
        specs,
        intent,
        facts.all(specs),
        retries=experiment.design.policy.retries,
        outdated=outdated,
        elsewhere=elsewhere,
        scheduled=scheduled,
        answers=answers,
        taken={name: news.taken for name, news in fleet.news(scheduled).items() if news.taken is not None},
    )
    # A worker that was never asked to scaffold lacks nothing.
    missing = {key for key, backend in expected.items() if backend in stored and key not in found}
    return Board(specs, found, intent, outdated, frozenset(missing), elsewhere, scheduled)


def _asked(
    specs: Sequence[JobSpec],
    intent: Intent,
    facts: Mapping[JobKey, Sequence[Attempt]],
    scheduled: Collection[str],
) -> dict[Native, str]:
    """Return the jobs that a scheduler is asked about, each with the time of handing over: not what is verified."""
    found: dict[Native, str] = {}
    for spec in specs:
        native = intent.native_of(spec.key)
        token, _ = intent.latest.get(spec.key, (None, 0))
        if native is None or token is None or native.cluster not in scheduled:
            continue
        if not any(item.verified and item.token == token for item in facts[spec.key]):
            found[native] = intent.submissions[token].time
    return found


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


def _elsewhere(
    experiment: Experiment, specs: Sequence[JobSpec], fleet: Fleet, citing: frozenset[Path]
) -> dict[Need, JobStatus]:
    """Return the state of each job of another experiment that a job needs."""
    boards: dict[str, Board | str] = {}
    found = {}
    for need in (need for spec in specs for need in spec.needs if need.experiment is not None):
        name = need.experiment or ""
        if name not in boards:
            boards[name] = _board_of(experiment.path(name), fleet, citing)
        board = boards[name]
        if isinstance(board, str):
            status = JobStatus(need.job, "blocked", board)
        else:
            status = board.states.get(need.job) or JobStatus(need.job, "blocked", "no such job is scaffolded there")
        found[need] = replace(status, key=JobKey(f"{name}: {need.job}"))
    return found


def _board_of(folder: Path, fleet: Fleet, citing: frozenset[Path]) -> Board | str:
    """Return the board of another experiment, or why there is none."""
    if folder in citing:
        return "the experiments cite each other"
    try:
        other = read_experiment(folder)
        return read_board(other, fleet.beside(other.layout), citing=citing)
    except InputError as error:
        return error.problems[0].message
