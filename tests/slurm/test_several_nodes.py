"""Training on several nodes: the generated script, handed to a real SLURM, over gloo where torchtune wants GPUs."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

import torchtune_case as case
from lab import until
from slurm_cluster import DevCluster
from tuneloop.documents.yamltext import load_yaml

pytestmark = [pytest.mark.slow, pytest.mark.train]

RECIPE = "lora_finetune_distributed"
# Two processes in all: in one node, and in two.
SHAPES: dict[str, dict[str, Any]] = {"one": {"devices": 2}, "two": {"devices": 1, "nodes": 2}}
# Each process tells where it runs before it does what it is for.
TELLS = """
import os
from pathlib import Path

Path("rank" + os.environ["RANK"]).write_text(f"{os.environ['SLURMD_NODENAME']} {os.environ['CUDA_VISIBLE_DEVICES']}")
"""
WAITS = f"""{TELLS}
import time

while not (os.environ["RANK"] == "1" and Path("fail").exists()):
    time.sleep(0.1)
raise SystemExit(7)
"""
# What is done to a job, and the exit codes that tell so; torchrun's is 1 whatever a worker's was. srun asks the other
# launchers to end, kills those that take longer than the two seconds of `KillWait` here, and gives the highest code. A
# cancelled job has no longer to write one, and SLURM tells itself what it did.
FAULTS = {"a worker fails": {1, 137}, "a launcher is killed": {137}, "the job is cancelled": None}


def scaffolded(folder: Path, name: str, program: str | None = None) -> Path:
    """Scaffold one training of a shape, with a program in the place of the recipe; return the run's folder."""
    controls = {"epochs": 2, "batch_size": 4, **SHAPES[name]}
    asked = case.order(folder / name, samples=48, variables={}, controls=controls)
    (job,) = case.scaffolded(asked).jobs
    run = asked.path / str(job.run)
    over_gloo = run / case.over_gloo(run, RECIPE)
    over_gloo.write_text(program or TELLS + over_gloo.read_text())
    script = run / "finetune.slurm"
    script.write_text(script.read_text().replace(f"{RECIPE} --config", f"{over_gloo.name} --config"))
    return run


def submit(cluster: DevCluster, run: Path) -> str:
    return cluster.call("env", "-C", run, "sbatch", "--parsable", "finetune.slurm").strip()


def log_of(run: Path) -> str:
    return "".join(path.read_text() for path in run.glob("slurm-*.out"))


def ranks(run: Path) -> list[list[str]]:
    """Return node and GPUs of each process that has begun, by rank."""
    return [path.read_text().split() for path in sorted(run.glob("rank*"))]


@pytest.fixture(scope="module")
def trained(cluster: DevCluster, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the runs of all shapes, trained beside each other."""
    folder = tmp_path_factory.mktemp("trained")
    runs = {name: scaffolded(folder, name) for name in SHAPES}
    jobs = {name: submit(cluster, run) for name, run in runs.items()}
    for name, job in jobs.items():
        cluster.wait_state(job, "COMPLETED", "FAILED", seconds=300)
        assert cluster.state(job) == "COMPLETED", log_of(runs[name])
    return runs


@pytest.mark.parametrize("name", SHAPES)
def test_the_checkpoints_load_and_are_looked_at_once(trained: dict[str, Path], name: str) -> None:
    run = trained[name]
    assert log_of(run).count("verify: 2 of 2 checkpoints load") == 1
    (verdict,) = run.glob(".attempts/train/*/verified.json")
    assert json.loads(verdict.read_text())["ok"]
    assert (run / "epoch_1" / "adapter_model.safetensors").is_file()


def test_a_launcher_runs_on_each_node_and_has_its_gpus(trained: dict[str, Path]) -> None:
    (first, first_gpus), (second, second_gpus) = ranks(trained["two"])
    assert first != second
    assert first_gpus == second_gpus == "0"
    (first, first_gpus), (second, second_gpus) = ranks(trained["one"])
    assert first == second
    assert first_gpus == second_gpus == "0,1"
    assert [log_of(run).count("Running with torchrun...") for run in trained.values()] == [1, 2]


def test_two_nodes_train_what_one_does(trained: dict[str, Path]) -> None:
    logged = {}
    for name, run in trained.items():
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        steps = load_yaml((run / "setup_finetune.yaml").read_text())["steps"]
        assert [line["step"] for line in lines] == list(range(1, steps + 1))
        logged[name] = [line["loss"] for line in lines]
    assert logged["two"] == pytest.approx(logged["one"], rel=1e-4)


def launchers(attempt: Path) -> list[int]:
    return [pid for pid, argv in case.processes_of(attempt).items() if b"bin/tune\0run\0" in argv]


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_left_running_and_the_exit_code_tells_of_it(cluster: DevCluster, tmp_path: Path, fault: str) -> None:
    runs = {name: scaffolded(tmp_path, name, WAITS) for name in SHAPES}
    jobs = {name: submit(cluster, run) for name, run in runs.items()}
    for name, run in runs.items():
        until(lambda run=run: len(ranks(run)) == 2, 120, f"two processes of {name}")
        (attempt,) = (run / ".attempts" / "train").iterdir()
        assert len(launchers(attempt)) == SHAPES[name].get("nodes", 1)
        hurt(cluster, fault, run, attempt, jobs[name])
    for name, run in runs.items():
        cluster.wait_state(jobs[name], "CANCELLED" if fault == "the job is cancelled" else "FAILED")
        (attempt,) = (run / ".attempts" / "train").iterdir()
        assert case.processes_of(attempt) == {}
        codes = FAULTS[fault]
        if codes is not None:
            assert json.loads((attempt / "exit.json").read_text())["code"] in codes
        assert not (attempt / "verified.json").exists()


def hurt(cluster: DevCluster, fault: str, run: Path, attempt: Path, job: str) -> None:
    if fault == "a worker fails":
        (run / "fail").touch()
    elif fault == "a launcher is killed":
        os.kill(launchers(attempt)[-1], signal.SIGKILL)
    else:
        cluster.call("scancel", job)
