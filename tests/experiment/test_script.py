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
from tuneloop.experiment.work import JobKey, Machine, Shape, Site

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
SITE = Site(setup=("source -- ~/'my site.sh'", "module load cuda/12", "export HF_HOME=~/hf"))
SET_UP = replace(TRAINING, machine=replace(TRAINING.machine, site=SITE))
CASES = {"training": TRAINING, "evaluation": EVALUATION, "nodes": NODES, "set_up": SET_UP}


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


def with_set_up(script: Script, folder: Path, *files: str, more: tuple[str, ...] = ()) -> Script:
    """Return the script behind a set-up that reads shell files of these texts, then does more."""
    lines = []
    for number, text in enumerate(files):
        (folder / f"site{number}.sh").write_text(text)
        lines.append(f"source -- {folder}/site{number}.sh")
    return replace(script, machine=replace(script.machine, site=Site(setup=(*lines, *more))))


@pytest.mark.parametrize(
    "text",
    ["grep -q zzz /dev/null\nfalse | true\n: $NOT_SET\n:\n", "set -euo pipefail\n", "true\n"],
    ids=["failures within", "options of its own", "nothing"],
)
def test_what_a_file_of_the_site_does_within_ends_no_job(text: str, tmp_path: Path, hello: Script) -> None:
    later = "grep -q zzz /dev/null\n: $NOT_SET\nexport WORDS=site\n"  # options of the first file do not reach it
    done = run_script(tmp_path, replace(with_set_up(hello, tmp_path, text, later), environment={}))
    assert done.returncode == 0, done.stderr
    (log,) = tmp_path.glob("slurm-*.out")
    assert log.read_text().startswith("hi site\n")


@pytest.mark.parametrize(
    ("text", "code"),
    [("false\n", 1), ("return 7\n", 7), ("exit 7\n", 7), ("exit 0\n", 1)],
    ids=["its last line failed", "it returned", "it ended the shell", "it ended the shell and said all is well"],
)
def test_a_line_of_the_set_up_that_fails_ends_the_job_in_words(
    text: str, code: int, tmp_path: Path, hello: Script
) -> None:
    done = run_script(tmp_path, with_set_up(hello, tmp_path, "true\n", text))
    assert done.returncode == code
    assert done.stderr.startswith("the set-up of the cluster profile ended with exit code ")
    assert done.stderr.endswith(f"in: source -- {tmp_path}/site1.sh\n")
    assert not (tmp_path / ".attempts").exists(), "an attempt was claimed"


def test_a_module_that_is_not_there_ends_the_job_with_its_own_words(tmp_path: Path, hello: Script) -> None:
    brings = "module() { echo \"Unable to locate a modulefile for '$2'\" >&2; return 1; }\n"
    done = run_script(tmp_path, with_set_up(hello, tmp_path, brings, more=("module load cuda",)))
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "Unable to locate a modulefile for 'cuda'",
        "the set-up of the cluster profile ended with exit code 1 in: module load cuda",
    ]


def test_steps_behind_a_set_up_are_as_strict_as_without(tmp_path: Path, hello: Script) -> None:
    for number, step in enumerate(("false | true", "echo $NOT_SET", "(exit 3)")):
        folder = tmp_path / str(number)
        folder.mkdir()
        script = with_set_up(replace(hello, steps=(step, "touch not-reached")), folder, "set +euo pipefail\n")
        assert run_script(folder, script).returncode != 0
        assert not (folder / "not-reached").exists()


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
