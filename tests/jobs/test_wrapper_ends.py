"""The wrapper of a submission under bash alone: what it does when its time limit is near, and what it returns."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from lab import until
from tuneloop.documents.config import Profile
from tuneloop.experiment.work import JobKey, Shape, Token
from tuneloop.jobs.batches import Batch
from tuneloop.jobs.slurm.wrapper import render

# What a job script does: tells how it was asked to end, and ends with 7, or as the file `code` says.
JOB = """\
echo "$TUNELOOP_ID $TUNELOOP_RESTART" >>began
trap 'echo limit >>asked; exit "$(cat code 2>/dev/null || echo 7)"' USR1
trap 'echo end >>asked; exit 143' TERM
while :; do sleep 0.05; done
"""


def submission(folder: Path, *, array: bool, resumes: int, shim: str = "exit 0") -> list[str]:
    """Write a wrapper with its job and a `scontrol` that notes how it is called; return the command that starts it."""
    keys = tuple(JobKey(f"train/{name}") for name in ("a", "b")[: 2 if array else 1])
    scripts = tuple(f"{key.split('/')[1]} it's/job.sh" for key in keys)
    batch = Batch(Token("tok"), "echo", Shape("dev"), keys, scripts, tuple(range(len(keys))), resumes=resumes)
    place = folder / ".tuneloop" / "submissions"
    place.mkdir(parents=True)
    (place / "tok.slurm").write_text(render(batch, [], Profile(executor="slurm"), "x"))
    for script in scripts:
        (folder / script).parent.mkdir()
        (folder / script).write_text(JOB)
    (folder / "bin").mkdir()
    tool = folder / "bin" / "scontrol"
    tool.write_text(f'#!/bin/sh\necho "$@" >>{folder}/called\n{shim}\n')
    tool.chmod(0o755)
    return ["bash", str(place / "tok.slurm")]


def start(folder: Path, argv: list[str], *, array: bool = False, restart: int = 0) -> subprocess.Popen[bytes]:
    task = {"SLURM_ARRAY_JOB_ID": "40", "SLURM_ARRAY_TASK_ID": "1"} if array else {}
    environment = {
        "PATH": f"{folder}/bin:{os.environ['PATH']}",
        "SLURM_SUBMIT_DIR": str(folder / ".tuneloop/submissions"),
        "SLURM_JOB_ID": "42",
        **({"SLURM_RESTART_COUNT": str(restart)} if restart else {}),
        **task,
    }
    child = subprocess.Popen(argv, env=environment)
    job = folder / ("b it's" if array else "a it's")
    before = restart
    until(lambda: (job / "began").exists() and len((job / "began").read_text().splitlines()) > before, 20, "the job")
    return child


def read(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize(("array", "job", "name"), [(False, "a it's", "42"), (True, "b it's", "40_1")])
def test_a_job_at_its_limit_goes_back_by_its_own_name(tmp_path: Path, job: str, name: str, *, array: bool) -> None:
    argv = submission(tmp_path, array=array, resumes=1)
    child = start(tmp_path, argv, array=array)
    child.send_signal(signal.SIGUSR1)
    until(lambda: read(tmp_path / "called") == [f"requeue {name}"], 20, "the requeue")
    assert child.poll() is None, "it did not wait for SLURM to end it"
    child.send_signal(signal.SIGTERM)
    assert child.wait(timeout=20) == 143
    assert read(tmp_path / job / "asked") == ["limit"]
    assert read(tmp_path / job / "began") == [f"{name} 0"]
    again = start(tmp_path, argv, array=array, restart=1)
    again.send_signal(signal.SIGUSR1)
    assert again.wait(timeout=20) == 7, "its cap is one"
    assert read(tmp_path / "called") == [f"requeue {name}"]


def test_restarts_for_other_reasons_do_not_count(tmp_path: Path) -> None:
    argv = submission(tmp_path, array=False, resumes=1)
    (tmp_path / "a it's" / "began").write_text("before\n" * 5)
    child = start(tmp_path, argv, restart=5)
    child.send_signal(signal.SIGUSR1)
    until(lambda: read(tmp_path / "called") == ["requeue 42"], 20, "the requeue")
    child.send_signal(signal.SIGTERM)
    child.wait(timeout=20)


@pytest.mark.parametrize(
    ("resumes", "shim", "said", "code", "called"),
    [
        (3, "exit 1", None, 7, 1),  # the requeue fails
        (0, "exit 0", None, 7, 0),  # a job that cannot resume
        (3, "exit 0", "0", 0, 0),  # it was just done
    ],
)
def test_the_jobs_own_code_reaches_slurm(
    tmp_path: Path, resumes: int, shim: str, said: str | None, code: int, called: int
) -> None:
    argv = submission(tmp_path, array=False, resumes=resumes, shim=shim)
    if said is not None:
        (tmp_path / "a it's" / "code").write_text(said)
    child = start(tmp_path, argv)
    child.send_signal(signal.SIGUSR1)
    assert child.wait(timeout=20) == code
    assert len(read(tmp_path / "called")) == called


def test_a_job_that_is_asked_to_end_does_not_go_back(tmp_path: Path) -> None:
    child = start(tmp_path, submission(tmp_path, array=False, resumes=3))
    child.send_signal(signal.SIGTERM)
    assert child.wait(timeout=20) == 143
    assert read(tmp_path / "a it's" / "asked") == ["end"]
    assert read(tmp_path / "called") == []


@pytest.mark.parametrize(("minutes", "lead"), [(1, 30), (4, 60), (60, 120), (600, 120)])
def test_the_lead_before_the_limit_lets_a_job_end(tmp_path: Path, minutes: int, lead: int) -> None:
    batch = Batch(Token("tok"), "echo", Shape("dev", minutes=minutes), (JobKey("train/a"),), ("a/job.sh",), (0,))
    assert f"#SBATCH --signal=B:USR1@{lead}\n" in render(batch, [], Profile(executor="slurm"), "x")
