"""What a scheduler is asked, and what waiting only for one's own parent saves, on a real SLURM of this machine.

The cluster is brought up for the measurement and taken down after it. The jobs are the echo worker's.
"""

import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.experiments import ROOT, tuneloop
from tuneloop.experiment.read import read_experiment
from tuneloop.jobs.board import read_board
from tuneloop.jobs.executors.slurm import Slurm
from tuneloop.jobs.native import Native
from tuneloop.jobs.slurm.snapshot import Snapshot
from tuneloop.jobs.transport import Called, Here
from tuneloop.loop.orders import Crew
from tuneloop.loop.run import plan_run, start

_PORT = "23000"
_CPUS = 4  # of the one node
_NOTHING: Mapping[str, str] = {}
_DESIGN = """\
schema: tuneloop.experiment/1
name: slurm
question: What does a scheduler cost?
backend: echo
model: model
data: [{{split: train, path: data.jsonl, columns: {{input: word, output: answer}}}}, {{split: test, path: data.jsonl}}]
variables: {variables}
controls: {controls}
evaluations: [{{name: cap, backend: echo-eval, task: echo, split: test, args: {{seconds: {evaluation}}}}}]
metrics: {{primary: {{evaluation: cap}}}}
cluster: dev
"""
# One training is as long as all others together: as in a search where one of the runs is larger.
_UNEQUAL = "{seconds: [2, 3, 4, 5, 6, 7, 8, 30]}"


class Counting(Here):
    """Calls the commands of this machine, and keeps count and time."""

    def __init__(self) -> None:
        self.calls, self.seconds = 0, 0.0

    def call(
        self, argv: Sequence[str], *, stdin: str = "", timeout: float = 60, environment: Mapping[str, str] = _NOTHING
    ) -> Called:
        began = time.perf_counter()
        called = super().call(argv, stdin=stdin, timeout=timeout, environment=environment)
        self.calls, self.seconds = self.calls + 1, self.seconds + time.perf_counter() - began
        return called


def measure() -> Iterator[tuple[str, str, str]]:
    with tempfile.TemporaryDirectory(prefix="tl-") as place, _cluster(Path(place) / "cluster"):
        folder = Path(place)
        yield from _submission(_make(folder / "many", f"{{x: {list(range(200))}}}", "{epochs: 2, seconds: 0}"))
        for jobs in (10, 100, 1000):
            yield from _round(jobs, folder / f"memory{jobs}")
        yield from _makespan(folder)


@contextlib.contextmanager
def _cluster(folder: Path) -> Iterator[None]:
    script = ROOT / "scripts" / "slurm-dev-cluster"
    options = ("--name", "bench", "--nodes", "1", "--cpus", str(_CPUS), "--port", _PORT)
    subprocess.run([script, "up", "--folder", folder, *options], check=True, capture_output=True)
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    try:
        yield
    finally:
        subprocess.run([script, "down", "--purge", "--folder", folder], check=True, capture_output=True)


def _make(folder: Path, variables: str, controls: str, evaluation: float = 0) -> Path:
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "config.json").write_text("{}")
    (folder / "data.jsonl").write_text('{"word": "one", "answer": "ONE"}\n{"word": "two", "answer": "TWO"}\n')
    (folder / "tuneloop.yaml").write_text("clusters: {dev: {executor: slurm, cpus: 1}}\n")
    (folder / "design.yaml").write_text(_DESIGN.format(variables=variables, controls=controls, evaluation=evaluation))
    tuneloop("design-experiment", folder, "--from", folder / "design.yaml")
    tuneloop("scaffold-experiment", folder)
    return folder


def _submission(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Hand over 200 runs with 400 evaluations to nodes that take no jobs, and take them back."""
    _slurm("scontrol", "update", "nodename=ALL", "state=drain", "reason=benchmark")
    experiment = read_experiment(folder)
    fleet = Crew(experiment).fleet()
    executor = fleet.of("dev")
    assert isinstance(executor, Slurm)
    executor.transport = counting = Counting()
    plan = plan_run(experiment, read_board(experiment, fleet))
    began = time.perf_counter()
    keys = start(experiment, fleet, plan, by="benchmark")
    whole = time.perf_counter() - began
    assert len(keys) == 601, len(keys)
    yield "submitting 200 runs and 400 evaluations, in SLURM", f"{counting.seconds:.2f} s", "< 5 s"
    yield "the same, calls of sbatch", f"{counting.calls}", ""
    yield "the same, the whole hand-over", f"{whole:.2f} s", ""
    _slurm("scancel", "--user", _slurm("id", "-un").strip())
    _slurm("scontrol", "update", "nodename=ALL", "state=resume")


def _round(jobs: int, memory: Path) -> Iterator[tuple[str, str, str]]:
    """Ask once for an array that is in the queue."""
    job = _slurm("sbatch", "--parsable", "--hold", f"--array=0-{jobs - 1}", "--output=/dev/null", "--wrap=true").strip()
    counting = Counting()
    answers = Snapshot("bench", counting, memory).answers({Native("dev", job, task): 0 for task in range(jobs)})
    assert len(answers) == jobs, len(answers)
    _slurm("scancel", job)
    yield f"a poll of {jobs:,} jobs, calls", f"{counting.calls}", "1"
    yield f"a poll of {jobs:,} jobs", f"{counting.seconds * 1000:.0f} ms", ""


def _makespan(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Run one unequal set twice: evaluations after their own training, and all of them after the last one."""
    pipelined = _make(folder / "pipelined", _UNEQUAL, "{epochs: 1}", evaluation=8)
    barrier = _make(folder / "barrier", _UNEQUAL, "{epochs: 1}", evaluation=8)
    seconds = _timed(pipelined, "run-experiment")
    waited = _timed(barrier, "run-echo") + _timed(barrier, "run-experiment")
    yield "unequal runs, evaluations after their own training", f"{seconds:.0f} s", ""
    yield "the same with a barrier after all trainings", f"{waited:.0f} s", ""
    yield "makespan against the barrier's", f"{seconds / waited:.2f}", "< 1"


def _timed(folder: Path, verb: str) -> float:
    plan = json.loads(tuneloop(verb, folder, "--dry-run", "--json"))["plan"]
    began = time.perf_counter()
    tuneloop(verb, folder, "--yes", plan, "--follow")
    return time.perf_counter() - began


def _slurm(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
