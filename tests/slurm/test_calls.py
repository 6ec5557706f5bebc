"""How many calls a scheduler gets: a handful for hundreds of jobs, and one a round however many there are."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tuneloop.documents.config import Config, Configuration
from tuneloop.documents.profile import Profile
from tuneloop.experiment.layout import Layout
from tuneloop.experiment.work import COLLECT, JobKey, JobSpec, Need, Shape
from tuneloop.jobs.executors.fleet import Fleet
from tuneloop.jobs.executors.slurm import Slurm
from tuneloop.jobs.journal import Journal
from tuneloop.jobs.native import Native
from tuneloop.jobs.slurm.snapshot import Snapshot
from tuneloop.jobs.submit import Decision, hand_over
from tuneloop.jobs.transport import Called

NOTHING: Mapping[str, str] = {}


class Scheduler:
    """Counts the commands that it is asked, and takes every submission."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.queue: list[str] = []

    def call(
        self, argv: Sequence[str], *, stdin: str = "", timeout: float = 60, environment: Mapping[str, str] = NOTHING
    ) -> Called:
        del timeout, environment
        words = [*argv, *stdin.replace("$(", " ").split()]
        command = next(word for word in words if word in ("squeue", "sacct", "scancel", "sbatch"))
        self.asked[command] += 1
        if command == "sbatch":
            return Called(0, f"{self.asked['sbatch']}\n", "")
        return Called(0, "\n".join(self.queue) if command == "squeue" else "", "")


def spec(key: str, *needs: Need) -> JobSpec:
    kind = key.partition("/")[0]
    run = None if key == COLLECT else key.split("/")[1]
    return JobSpec(JobKey(key), kind, run, "s", "a", needs, (), "d", Shape("dev"), False, 1.0, "log")


def specs(runs: int, epochs: int) -> list[JobSpec]:
    trainings = [spec(f"train/r{run}") for run in range(runs)]
    evaluations = [
        spec(f"eval/r{run}/e{epoch}/cap", Need(trainings[run].key)) for run in range(runs) for epoch in range(epochs)
    ]
    jobs = [*trainings, *evaluations]
    return [*jobs, spec(COLLECT, *(Need(item.key, "any") for item in jobs))]


def test_two_hundred_runs_and_four_hundred_evaluations_are_four_submissions(tmp_path: Path) -> None:
    scheduler = Scheduler()
    layout = Layout(tmp_path)
    executor = Slurm(layout, "dev", Profile(executor="slurm"))
    executor.transport = scheduler  # type: ignore[assignment]
    fleet = Fleet(layout, Configuration(Config(), (), tmp_path), {"dev": executor})
    jobs = specs(200, 2)
    handed = hand_over(Journal(layout), fleet, lambda: Decision(jobs), "plan", "test")
    assert len(handed.keys) == len(jobs) == 601
    assert scheduler.asked == {"sbatch": 4}


@pytest.mark.parametrize("jobs", [10, 100, 1000])
def test_a_round_is_one_call_however_many_jobs(jobs: int, tmp_path: Path) -> None:
    scheduler = Scheduler()
    scheduler.queue = [f"1|{task}|RUNNING|None" for task in range(jobs)]
    snapshot = Snapshot("here", scheduler, tmp_path)  # type: ignore[arg-type]
    natives = {Native("dev", "1", task): 0.0 for task in range(jobs)}
    answers = snapshot.answers(natives, 100.0)
    assert len(answers) == jobs
    assert {answer.state for answer in answers.values()} == {"running"}
    assert scheduler.asked == {"squeue": 1}
    snapshot.answers(natives, 105.0, fresh=True)
    assert scheduler.asked == {"squeue": 1}, "somebody asked again within ten seconds"
    scheduler.queue = []
    snapshot.answers(natives, 200.0)
    assert scheduler.asked == {"squeue": 2, "sacct": 1}
