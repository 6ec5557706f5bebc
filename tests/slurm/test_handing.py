"""Handing a script over: what sbatch's answers mean, and that a token is handed over once. No cluster is needed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from slurm_lab import shims
from tuneloop.documents.errors import FailedError, MissingError, TuneloopError, UnreachableError
from tuneloop.experiment.work import Token
from tuneloop.jobs.slurm import handing
from tuneloop.jobs.transport import Here

TOKEN = Token("0123456789")


@pytest.fixture
def sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Let `sbatch` be a shell text, and the queue empty; return the folder of the submissions."""

    def place(text: str) -> Path:
        env = shims(tmp_path / "bin", f"echo called >>{tmp_path}/calls\n{text}\n")
        for name in ("squeue", "sacct"):
            (tmp_path / "bin" / name).write_text(f"#!/bin/sh\ncat {tmp_path}/queue 2>/dev/null || :\n")
            (tmp_path / "bin" / name).chmod(0o755)
        monkeypatch.setenv("PATH", env["PATH"])
        folder = tmp_path / "submissions"
        folder.mkdir()
        monkeypatch.chdir(folder)
        return folder

    return place


def calls(folder: Path) -> int:
    file = folder.parent / "calls"
    return len(file.read_text().splitlines()) if file.exists() else 0


def test_a_token_is_handed_over_once(sbatch: Callable[[str], Path]) -> None:
    folder = sbatch("echo '7;cluster'")
    assert [handing.submit(Here(), str(folder), TOKEN) for _ in range(2)] == ["7", "7"]
    assert handing.given_up(Here(), str(folder), TOKEN) == "7"
    assert handing.noted(folder, TOKEN) == "7"
    assert calls(folder) == 1


def test_a_token_that_was_given_up_is_never_handed_over(sbatch: Callable[[str], Path]) -> None:
    folder = sbatch("echo 7")
    assert handing.given_up(Here(), str(folder), TOKEN) is None
    with pytest.raises(FailedError, match="given up"):
        handing.submit(Here(), str(folder), TOKEN)
    assert calls(folder) == 0


def test_an_id_that_cannot_be_written_down_is_told_all_the_same(sbatch: Callable[[str], Path]) -> None:
    folder = sbatch(f"mkdir {TOKEN}.id.new; echo 7")
    assert handing.submit(Here(), str(folder), TOKEN) == "7"


def test_what_the_queue_has_is_not_given_up(sbatch: Callable[[str], Path]) -> None:
    folder = sbatch("echo 7")
    (folder.parent / "queue").write_text(f"6|other\n7_0|{TOKEN}\n")
    assert handing.given_up(Here(), str(folder), TOKEN) == "7"
    assert not (folder / f"{TOKEN}.refused").exists(), "its job would end at once"


def test_a_job_that_arrives_while_it_is_given_up_is_known_by_its_comment(sbatch: Callable[[str], Path]) -> None:
    folder = sbatch("echo 7")
    late = folder.parent / "bin" / "squeue"
    later = folder.parent / "later"  # what the queue has when it is asked again
    late.write_text(f"#!/bin/sh\ncat {later} 2>/dev/null\necho '7|{TOKEN}' >{later}\n")
    assert handing.given_up(Here(), str(folder), TOKEN) == "7"
    assert handing.noted(folder, TOKEN) == "7"
    assert not (folder / f"{TOKEN}.refused").exists()


def test_a_token_is_not_given_up_while_the_queue_is_silent(sbatch: Callable[[str], Path]) -> None:
    folder = sbatch("echo 7")
    answers_once = f"[ -e {folder}/asked ] && exit 1; : >{folder}/asked"
    (folder.parent / "bin" / "squeue").write_text(f"#!/bin/sh\n{answers_once}\n")
    with pytest.raises(UnreachableError):
        handing.given_up(Here(), str(folder), TOKEN)
    assert not (folder / f"{TOKEN}.refused").exists()


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("echo 'sbatch: error: invalid partition specified: x' >&2; exit 1", FailedError, "invalid partition"),
        ("echo 'sbatch: unrecognized option' >&2; exit 255", FailedError, "unrecognized option"),
        ("exit 1", FailedError, "gave no reason"),
        ("echo 'QOSMaxSubmitJobPerUserLimit' >&2; exit 1", FailedError, "limits: {jobs: N}"),
        ("echo 'sbatch: error: Unable to contact slurm controller' >&2; exit 1", UnreachableError, "does not answer"),
        ("echo 'sbatch: error: Socket timed out on send/recv' >&2; exit 1", UnreachableError, "does not answer"),
        ("kill -9 $$", UnreachableError, "ended with 137"),
        ("exit 127", MissingError, "cannot be run"),
        ("exit 0", UnreachableError, "no id"),
    ],
)
def test_only_the_word_of_sbatch_is_a_refusal(
    text: str, error: type[TuneloopError], words: str, sbatch: Callable[[str], Path]
) -> None:
    with pytest.raises(error, match=words.replace("{", r"\{")):
        handing.submit(Here(), str(sbatch(text)), TOKEN)


def test_a_cluster_without_flock_lacks_something(
    sbatch: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, bare = sbatch("echo 7"), tmp_path / "bare"
    bare.mkdir()
    (bare / "sh").symlink_to("/bin/sh")
    (bare / "sbatch").symlink_to(tmp_path / "bin" / "sbatch")
    monkeypatch.setenv("PATH", str(bare))
    with pytest.raises(MissingError, match="no `flock`"):
        handing.submit(Here(), str(folder), TOKEN)
    assert calls(folder) == 0


def test_a_folder_that_is_gone_is_no_refusal_of_sbatch(sbatch: Callable[[str], Path]) -> None:
    folder = sbatch("echo 7")
    with pytest.raises(FailedError, match=r"can't cd|[Nn]o such file"):
        handing.submit(Here(), str(folder / "gone"), TOKEN)
    assert calls(folder) == 0
