"""10, 100 and 1,000 runs in one experiment: what `status` costs, and whether journal and state stay linear.

The jobs are the echo worker's. One experiment of ten runs really passes; the facts of its jobs are then repeated for
every job of the larger ones, and their journals are written by the commands' own writer: a pass of 2,000 jobs would
take a quarter of an hour and leave the same files.
"""

import json
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.experiments import tuneloop
from tuneloop.experiment.layout import Layout
from tuneloop.experiment.read import read_experiment
from tuneloop.experiment.store import all_specs, read_jobs
from tuneloop.experiment.work import COLLECT, JobSpec, evaluation_of
from tuneloop.jobs.board import read_board
from tuneloop.jobs.journal import Journal
from tuneloop.jobs.state import fold, states
from tuneloop.loop.orders import Crew

_TOKENS = ("aaaaaaaaaa", "bbbbbbbbbb", "cccccccccc")
_DESIGN = """\
schema: tuneloop.experiment/1
name: many
question: What does status cost?
backend: echo
model: model
data: [{{split: train, path: data.jsonl, columns: {{input: word, output: answer}}}}, {{split: test, path: data.jsonl}}]
variables: {{x: {values}}}
controls: {{epochs: 1, steps: 4, seconds: 0}}
evaluations: [{{name: cap, backend: echo-eval, task: echo, split: test}}]
metrics: {{primary: {{evaluation: cap}}}}
"""


def measure() -> Iterator[tuple[str, str, str]]:
    with tempfile.TemporaryDirectory() as place:
        real = _make(Path(place) / "10", 10)
        plan = json.loads(tuneloop("run-experiment", real, "--dry-run", "--json"))["plan"]
        tuneloop("run-experiment", real, "--yes", plan, "--follow")
        for count in (10, 100, 1000):
            folder = real if count == 10 else _passed(_make(Path(place) / str(count), count), real)
            promised = ("< 0.5 s", "< 200 MB") if count == 1000 else ("", "")
            seconds, megabytes = _status(folder)
            yield f"status of {count:,} finished runs, CPU", f"{seconds:.2f} s", promised[0]
            yield f"status of {count:,} finished runs, memory", f"{megabytes:.0f} MB", promised[1]
            yield f"journal of {count:,} runs", f"{_journal(folder):.0f} B a job", "linear"
            yield f"states of {count:,} runs", f"{_folding(folder):.1f} us a job", "linear"


def _make(folder: Path, count: int) -> Path:
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "config.json").write_text("{}")
    (folder / "data.jsonl").write_text('{"word": "one", "answer": "ONE"}\n{"word": "two", "answer": "TWO"}\n')
    (folder / "design.yaml").write_text(_DESIGN.format(values=list(range(1, count + 1))))
    tuneloop("design-experiment", folder, "--from", folder / "design.yaml")
    tuneloop("scaffold-experiment", folder)
    return folder


def _passed(folder: Path, real: Path) -> Path:
    """Give every job the facts of a job of its kind, and the journal what handing over writes."""
    layout, old = Layout(folder), Layout(real)
    models = {_kind(spec): real / spec.attempts for spec in all_specs(read_jobs(old))}
    kinds: dict[str, list[JobSpec]] = {}
    for spec in all_specs(read_jobs(layout)):
        kinds.setdefault(_kind(spec), []).append(spec)
    journal = Journal(layout)
    journal.append("consented", plan="0" * 8, jobs=sum(map(len, kinds.values())), by="benchmark")
    for token, (kind, specs) in zip(_TOKENS, kinds.items(), strict=True):
        with journal.writing() as writer:
            writer.append("submitting", token=token, keys=[spec.key for spec in specs], cluster="local")
            writer.append("submitted", token=token, native=["local", token, None])
        [model] = [path for path in models[kind].iterdir() if not path.name.startswith(".")]
        for index, spec in enumerate(specs):
            _copy(model, folder / spec.attempts / f"{token}.0", spec, token, index)
    return folder


def _kind(spec: JobSpec) -> str:
    return spec.key if spec.key == COLLECT else "train" if evaluation_of(spec.key) is None else "eval"


def _copy(model: Path, attempt: Path, spec: JobSpec, token: str, index: int) -> None:
    shutil.copytree(model, attempt)
    start = json.loads((attempt / "start.json").read_text())
    start |= {"token": token, "id": f"{token}_{index}", "digest": spec.digest}
    (attempt / "start.json").write_text(json.dumps(start))


def _status(folder: Path) -> tuple[float, float]:
    """Return CPU seconds, the best of five, and MB of resident memory at the peak of `tuneloop status`."""
    told = "sys.stderr.write(f'{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss} KiB')"
    code = f"import atexit, resource, sys; from tuneloop.cli.main import main; atexit.register(lambda: {told}); main()"
    seconds, peaks = [], []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-c", code, "status", folder], capture_output=True, text=True, check=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        peaks.append(int(re.findall(r"(\d+) KiB", done.stderr)[-1]) / 1024)
    return min(seconds), max(peaks)


def _journal(folder: Path) -> float:
    layout = Layout(folder)
    return layout.journal.stat().st_size / len(all_specs(read_jobs(layout)))


def _folding(folder: Path) -> float:
    """Return microseconds of a job to fold the journal and decide its state, facts already read; the best of five."""
    experiment = read_experiment(folder)
    board = read_board(experiment, Crew(experiment).fleet())
    facts = {key: status.attempts for key, status in board.states.items()}
    times = []
    for _ in range(5):
        began = time.perf_counter()
        states(board.specs, fold(Journal(experiment.layout).read()), facts)
        times.append(time.perf_counter() - began)
    return min(times) / len(board.specs) * 1e6
