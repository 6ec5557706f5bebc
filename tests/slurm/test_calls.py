"""How many calls a submission is; those of a poll are counted in test_snapshot.py."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from tuneloop.documents.config import Config, Configuration
from tuneloop.documents.profile import Profile
from tuneloop.experiment.layout import Layout
from tuneloop.experiment.work import COLLECT, JobKey, JobSpec, Need, Shape
from tuneloop.jobs.executors.fleet import Fleet
from tuneloop.jobs.executors.slurm import Slurm
from tuneloop.jobs.journal import Journal
from tuneloop.jobs.state import Consent
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


def test_two_hundred_runs_and_four_hundred_evaluations_are_forty_eight_submissions(tmp_path: Path) -> None:
    scheduler = Scheduler()
    layout = Layout(tmp_path)
    executor = Slurm(layout, "dev", Profile(executor="slurm"))
    executor.transport = scheduler  # type: ignore[assignment]
    fleet = Fleet(layout, Configuration(Config(), (), tmp_path), {"dev": executor})
    jobs = specs(200, 2)
    handed = hand_over(
        Journal(layout), fleet, lambda: Decision(jobs, Consent("plan", len(jobs), "run-experiment {}")), "test"
    )
    assert len(handed.keys) == len(jobs) == 601
    assert scheduler.asked == {"sbatch": 1 + 2 * 23 + 1}  # of arrays that wait for another, 9 tasks at a time
