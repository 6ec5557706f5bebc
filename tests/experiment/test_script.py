"""Job scripts: the text, and that it runs wherever it lies."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tuneloop.documents.errors import InputError
from tuneloop.experiment.script import Script, render, slurm_time
from tuneloop.experiment.work import JobKey, Machine, Shape

GOLDEN = Path(__file__).parent / "golden"
PYTHON = "/opt/work env/bin/python"

TRAINING = Script(
    title="Train rank8",
    command="tuneloop scaffold-echo",
    key=JobKey("train/rank8"),
    shape=Shape("local", gpus=1, cpus=4, memory_mb=8192, minutes=1570),
    machine=Machine("local", 1, 4, PYTHON),
    attempts=".attempts/train",
    log="slurm-{id}.out",
    digest="0123456789abcdef",
    steps=("tune run recipe --config finetune.yaml", "python -m worker verify"),
    environment={"OMP_NUM_THREADS": "4", "WORDS": "two words; $HOME"},
)
EVALUATION = replace(
    TRAINING,
    title="Evaluate rank8",
    key=JobKey("eval/rank8/e1/cap"),
    shape=Shape("local", minutes=10),
    attempts=".attempts/cap_epoch1",
    log="eval/slurm-{id}.out",
    steps=("python -m worker verify",),
    environment={},
    up="..",
)
NODES = replace(TRAINING, shape=replace(TRAINING.shape, nodes=2))
CASES = {"training": TRAINING, "evaluation": EVALUATION, "nodes": NODES}


@pytest.mark.parametrize("name", CASES)
def test_script_is_the_golden_one(name: str, renew: bool) -> None:
    golden, text = GOLDEN / f"{name}.slurm", render(CASES[name])
    if renew:
        golden.write_text(text)
    assert text == golden.read_text(), f"look at the difference; if it is meant: pytest {Path(__file__).name} --renew"


@pytest.mark.parametrize("name", CASES)
def test_bash_reads_the_script(name: str) -> None:
    subprocess.run(["bash", "-n", GOLDEN / f"{name}.slurm"], check=True)


def run_script(folder: Path, script: Script, place: str = "job.slurm") -> subprocess.CompletedProcess[str]:
    """Write the script and run it from somewhere else, by hand: no token in its environment."""
    path = folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(script))
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("TUNELOOP", "SLURM"))}
    return subprocess.run(["bash", path], cwd="/", env=clean, capture_output=True, text=True, check=False)


@pytest.fixture
def hello() -> Script:
    machine = Machine("local", 0, 1, sys.executable)
    return replace(TRAINING, machine=machine, steps=('echo "hi $WORDS"', "pwd", 'touch "$TUNELOOP_ATTEMPT/made"'))


def test_script_runs_in_a_hostile_folder(hostile_folder: Path, hello: Script) -> None:
    done = run_script(hostile_folder, hello)
    assert done.returncode == 0, done.stderr
    (attempt,) = (hostile_folder / ".attempts" / "train").iterdir()
    assert attempt.name.startswith("hand-")
    assert json.loads((attempt / "exit.json").read_text())["code"] == 0
    assert json.loads((attempt / "start.json").read_text())["digest"] == "0123456789abcdef"
    (log,) = hostile_folder.glob("slurm-*.out")
    assert log.read_text() == f"hi two words; $HOME\n{hostile_folder}\n"
    assert (attempt / "made").exists()
    assert sorted(path.name for path in hostile_folder.iterdir()) == [".attempts", "job.slurm", log.name]
    assert [path.name for path in hostile_folder.parent.iterdir()] == [hostile_folder.name], "the name ran as a command"


def test_evaluation_runs_in_the_folder_above(hostile_folder: Path, hello: Script) -> None:
    script = replace(hello, up="..", log="eval/slurm-{id}.out")
    assert run_script(hostile_folder, script, "eval/cap.slurm").returncode == 0
    (log,) = hostile_folder.glob("eval/slurm-*.out")
    assert log.read_text().splitlines()[-1] == str(hostile_folder).splitlines()[-1]


def test_exit_code_is_that_of_the_failed_step(tmp_path: Path, hello: Script) -> None:
    script = replace(hello, steps=("true", "(exit 7)", "touch not-reached"))
    assert run_script(tmp_path, script).returncode == 7
    (attempt,) = (tmp_path / ".attempts" / "train").iterdir()
    assert json.loads((attempt / "exit.json").read_text())["code"] == 7
    assert not (tmp_path / "not-reached").exists()


def test_a_job_of_several_nodes_does_not_begin_on_one(tmp_path: Path, hello: Script) -> None:
    done = run_script(tmp_path, replace(hello, shape=NODES.shape))
    assert (done.returncode, done.stderr) == (3, "train/rank8 runs on 2 nodes: hand it to SLURM with sbatch\n")
    assert [path.name for path in tmp_path.iterdir()] == ["job.slurm"], "an attempt was claimed"


def test_unset_variable_ends_the_script(tmp_path: Path, hello: Script) -> None:
    assert run_script(tmp_path, replace(hello, steps=("echo $NOT_SET", "touch not-reached"))).returncode != 0
    assert not (tmp_path / "not-reached").exists()


def test_control_character_enters_no_script() -> None:
    with pytest.raises(InputError, match="a control character in"):
        render(replace(TRAINING, environment={"WORDS": "a\nrm -rf /"}))


@pytest.mark.parametrize(
    ("minutes", "text"),
    [
        (0, "0-00:00:00"),
        (1, "0-00:01:00"),
        (59, "0-00:59:00"),
        (60, "0-01:00:00"),
        (1439, "0-23:59:00"),
        (1440, "1-00:00:00"),
        (1570, "1-02:10:00"),
        (144_000, "100-00:00:00"),
    ],
)
def test_time_limit_reads_one_way(minutes: int, text: str) -> None:
    assert slurm_time(minutes) == text
