"""The contract of a worker, the same for every one: ours, and echo, that only tests know."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from inspect_support import HEAD, make_experiment, order_of, training_job

from tuneloop.experiment.layout import Layout
from tuneloop.experiment.work import JobSpec, Usage
from tuneloop.workers import Order, Worker, load, names
from tuneloop.workers.bridge import Remote

pytestmark = pytest.mark.slow

STAGES = {"torchtune": "train", "inspect": "evaluate", "echo": "train", "echo-eval": "evaluate"}


@pytest.fixture(params=STAGES)
def worker(request: pytest.FixtureRequest) -> Worker:
    return load(request.param)


def changes_for(worker: Worker, **changes: Any) -> dict[str, Any]:
    """Return the changes to the small design that give the worker something to do."""
    evaluations = [HEAD["evaluations"][0] | {"backend": worker.name}] if worker.stage == "evaluate" else []
    backend = worker.name if worker.stage == "train" else "torchtune"
    controls = HEAD["controls"] if backend == "echo" else HEAD["controls"] | {"lr": 1e-3, "batch_size": 4}
    return {"backend": backend, "controls": controls, "evaluations": evaluations} | changes


def order_for(worker: Worker, folder: Path, **changes: Any) -> Order:
    order = order_of(make_experiment(folder, **changes_for(worker, **changes)))
    return order if worker.stage == "evaluate" else replace(order, trained={})


def jobs(worker: Worker, order: Order) -> dict[str, JobSpec]:
    result = worker.scaffold(order)
    assert result.faults == ()
    return {job.key: job for job in result.jobs}


def test_every_worker_is_held_to_the_contract() -> None:
    assert set(STAGES) <= set(names())


def test_a_worker_says_what_it_is(worker: Worker) -> None:
    assert worker.stage == STAGES[worker.name]
    versions = worker.versions()
    assert versions
    assert all(version and version != "missing" for version in versions.values())


def test_loading_a_worker_loads_no_tool(worker: Worker) -> None:
    heavy = ("torch", "torchtune", "transformers", "inspect_ai", "pandas")
    code = (
        f"import sys; from tuneloop.workers import load; load({worker.name!r}); "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_scaffold_is_pure(worker: Worker, tmp_path: Path) -> None:
    order = order_for(worker, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    first = worker.scaffold(order)
    assert first.jobs
    assert worker.scaffold(order) == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_jobs_lie_where_the_layout_says(worker: Worker, tmp_path: Path) -> None:
    order = order_for(worker, tmp_path)
    result = worker.scaffold(order)
    layout = Layout(order.path)
    files = {file.path: file for file in result.files}
    runs = {run.name for run in order.runs}
    assert len(files) == len(result.files)
    for job in result.jobs:
        assert job.worker == worker.name
        assert job.run in runs
        assert files[job.script].executable
        run = layout.run(job.run)
        scripts = [run.script, *(run.eval_script("cap", epoch) for epoch in (None, 0, 1))]
        attempts = [run.train_attempts, *(run.eval_attempts("cap", epoch) for epoch in (None, 0, 1))]
        assert (order.path / job.script, order.path / job.attempts) in zip(scripts, attempts, strict=True)
        assert PurePosixPath(job.log).match(f"{job.run}/**") or job.log.startswith(f"{job.run}/")
        assert job.log.endswith("slurm-*.out")
        assert job.seconds > 0
        assert job.digest


def test_jobs_make_what_their_keys_say(worker: Worker, tmp_path: Path) -> None:
    found = jobs(worker, order_for(worker, tmp_path))
    if worker.stage == "train":
        assert {key: job.makes for key, job in found.items()} == {
            f"train/{run}": (f"checkpoint:{run}/e0", f"checkpoint:{run}/e1") for run in ("rank4", "rank8")
        }
    else:
        stages = [f"{run}/{stage}" for run in ("rank4", "rank8") for stage in ("e0", "e1")]
        assert {key: job.makes for key, job in found.items()} == {
            f"eval/{stage}/cap": (f"evaluation:{stage}/cap",) for stage in [*stages, "control/base"]
        }


def test_every_need_is_a_known_job(worker: Worker, tmp_path: Path) -> None:
    order = order_for(worker, tmp_path)
    found = jobs(worker, order)
    known = {*found, *(job.key for job in order.trained.values())}
    assert {need.job for job in found.values() for need in job.needs} <= known
    for job in found.values():
        waits = worker.stage == "evaluate" and job.run != "control"
        assert [need.job for need in job.needs] == ([f"train/{job.run}"] if waits else [])


def test_more_runs_leave_the_others_alone(worker: Worker, tmp_path: Path) -> None:
    before = jobs(worker, order_for(worker, tmp_path))
    after = jobs(worker, order_for(worker, tmp_path, variables={"lora_rank": [4, 8, 16]}))
    assert {key: after[key].digest for key in before} == {key: job.digest for key, job in before.items()}
    assert len(after) > len(before)


def test_words_decide_nothing(worker: Worker, tmp_path: Path) -> None:
    before = jobs(worker, order_for(worker, tmp_path))
    after = jobs(worker, order_for(worker, tmp_path, question="Another?", budget={"hours": 3}, hypothesis="It does"))
    assert {key: job.digest for key, job in after.items()} == {key: job.digest for key, job in before.items()}


def test_other_data_are_another_result(worker: Worker, tmp_path: Path) -> None:
    order = order_for(worker, tmp_path)
    before = jobs(worker, order)
    path = tmp_path / f"data/{'train' if worker.stage == 'train' else 'test'}.jsonl"
    path.write_text(path.read_text() + path.read_text().splitlines()[0] + "\n")
    after = jobs(worker, order)
    assert before.keys() == after.keys()
    assert all(after[key].digest != job.digest for key, job in before.items())


def test_one_variable_changes_one_run(worker: Worker, tmp_path: Path) -> None:
    if worker.stage == "train":
        before = jobs(worker, order_for(worker, tmp_path))
        changed = [{"name": "rank8", "set": {"lr": 2e-3}}]
        after = jobs(worker, order_for(worker, tmp_path, runs=changed))
    else:
        order = order_for(worker, tmp_path)
        before = jobs(worker, order)
        after = jobs(worker, replace(order, trained={**order.trained, "rank8": training_job("rank8", "other")}))
    differ = {job.run for key, job in before.items() if key in after and after[key].digest != job.digest}
    assert differ == {"rank8"}


def test_scripts_are_bash(worker: Worker, tmp_path: Path) -> None:
    result = worker.scaffold(order_for(worker, tmp_path / "it's a $test; x"))
    scripts = [file for file in result.files if file.executable]
    assert len(scripts) == len(result.jobs)
    for file in scripts:
        subprocess.run(["bash", "-n"], input=file.text, text=True, check=True)
        assert file.text.startswith("#!/usr/bin/env bash\n")
        assert str(tmp_path) not in file.text


def test_a_missing_model_is_a_fault(worker: Worker, tmp_path: Path) -> None:
    order = order_for(worker, tmp_path, model="no/such/model")
    result = worker.scaffold(order)
    assert result.jobs == result.files == ()
    assert ("model",) in [fault.at for fault in result.faults]
    assert all(fault.message and not fault.message.endswith(".") for fault in result.faults)
    # Asked in the same breath, the other verbs raise nothing: the faults are scaffold's to tell.
    worker.estimate(order)
    worker.checks(order)
    assert worker.rows(order) == []


def test_every_job_has_an_estimate(worker: Worker, tmp_path: Path) -> None:
    order = order_for(worker, tmp_path)
    found = jobs(worker, order)
    costs = worker.estimate(order)
    assert costs.keys() == found.keys()
    assert all(cost.seconds > 0 and cost.memory_mb > 0 and cost.basis for cost in costs.values())
    key = next(iter(found))
    measured = worker.estimate(replace(order, seen={found[key].key: Usage(77.0, 50.0, 300.0)}))[found[key].key]
    assert measured.seconds == pytest.approx(77.0, rel=0.5)


def test_checks_pass_on_a_good_design(worker: Worker, tmp_path: Path) -> None:
    checks = worker.checks(order_for(worker, tmp_path))
    assert checks
    assert [check.message for check in checks if not check.ok] == []


def test_nothing_run_means_no_rows(worker: Worker, tmp_path: Path) -> None:
    assert worker.rows(order_for(worker, tmp_path)) == []


def test_answers_survive_the_bridge(worker: Worker, tmp_path: Path) -> None:
    order = order_for(worker, tmp_path)
    answers = Remote(worker, sys.executable).ask(order, "versions", "scaffold", "estimate", "rows")
    assert answers == {
        "versions": worker.versions(),
        "scaffold": worker.scaffold(order),
        "estimate": worker.estimate(order),
        "rows": [],
    }
