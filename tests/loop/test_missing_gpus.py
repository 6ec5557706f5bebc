"""Jobs that want more GPUs or nodes than there are, are refused before anything is handed over."""

import json
from pathlib import Path

import pytest

from lab import as_json, cli, make_echo, states

pytestmark = pytest.mark.slow

HERE, NONE, TWO = ({"CUDA_VISIBLE_DEVICES": devices} for devices in ("0", "", "0,1"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An echo experiment whose training is scaffolded as if it ran on two GPUs."""
    folder = make_echo(tmp_path / "exp", variables="{lr: [1e-3]}", controls="{epochs: 1, seconds: 0.1, steps: 1}")
    ask(folder, 2)
    return folder


def ask(folder: Path, gpus: int, nodes: int = 1) -> None:
    path = folder / ".tuneloop" / "jobs" / "echo.json"
    stored = json.loads(path.read_text())
    for job in stored["jobs"]:
        job["shape"] |= {"gpus": gpus, "nodes": nodes}
    path.write_text(json.dumps(stored))


@pytest.mark.parametrize("options", [["--dry-run"], ["--yes", "12345678"]])
def test_a_machine_without_gpus_is_told_and_nothing_is_handed_over(folder: Path, options: list[str]) -> None:
    done = cli("run-experiment", folder, *options, check=False, env=NONE)
    assert done.returncode == 3
    assert "train/lr1e-3 wants 2 GPUs, and this machine has none" in done.stderr
    assert "hint: set `devices: 1`, then `tuneloop scaffold-experiment" in done.stderr
    assert set(states(folder).values()) == {"planned"}


def test_too_few_gpus_are_refused_and_enough_are_not(folder: Path) -> None:
    refused = cli("retry", folder, "--failed", "--dry-run", check=False, env=HERE)
    assert (refused.returncode, "and this machine has 1" in refused.stderr) == (3, True)
    assert "GPU" in cli("run-experiment", folder, "--dry-run", env=TWO).stdout


def test_one_machine_is_not_several_nodes(folder: Path) -> None:
    ask(folder, 0, nodes=2)
    refused = cli("run-experiment", folder, "--dry-run", check=False, env=TWO)
    assert refused.returncode == 3
    assert "train/lr1e-3 wants 2 nodes, and `local` is one machine" in refused.stderr
    assert "hint: set `nodes: 1`, then `tuneloop scaffold-experiment" in refused.stderr
    assert set(states(folder).values()) == {"planned"}


def test_jobs_of_one_gpu_are_scaffolded_again_for_a_machine_without(folder: Path) -> None:
    ask(folder, 1)
    refused = cli("run-experiment", folder, "--dry-run", check=False, env=NONE)
    assert "wants 1 GPU, and" in refused.stderr
    assert "fits the jobs to this machine" in refused.stderr


@pytest.mark.slow
def test_a_job_gets_the_gpus_that_it_wants_and_no_two_share_one(tmp_path: Path) -> None:
    variables, controls = "{lr: [1e-3, 1e-4, 1e-5]}", "{epochs: 1, seconds: 0.6, steps: 2}"
    folder = make_echo(tmp_path / "exp", variables=variables, controls=controls)
    ask(folder, 2)
    plan = as_json("run-experiment", folder, "--dry-run", env={"CUDA_VISIBLE_DEVICES": "0,1,2"})["plan"]
    cli("run-experiment", folder, "--yes", plan, "--follow", env={"CUDA_VISIBLE_DEVICES": "0,1,2"})
    assert set(states(folder).values()) == {"done"}
    trained = [json.loads(path.read_text()) for path in folder.glob("lr*/.attempts/train/*/start.json")]
    assert len(trained) == 3
    assert all(len(start["gpu"].split(",")) == 2 for start in trained)


def test_jobs_of_the_processor_need_no_gpu(folder: Path) -> None:
    cli("scaffold-experiment", folder)
    ask(folder, 0)
    assert as_json("run-experiment", folder, "--dry-run")["jobs"]
    ask(folder, 2)
    # The evaluations alone ask for none.
    assert cli("run-echo-eval", folder, "--dry-run", check=False, env=NONE).returncode == 0
