"""When a session begins: what is told about experiments that are going, and that it stays short and plain."""

import fcntl
import json
import os
import string
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hook_support import call, settings_line
from hypothesis import given, settings
from hypothesis import strategies as st

from lab import cli, make_echo, run, runner_pid, until
from tuneloop.documents.cache import status_file, status_folder
from tuneloop.hooks.session import MOST, summary

FIT = set(string.printable) - set("\t\n\r\v\f<>\"'$\\")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of state that this test alone uses."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def remember(folder: Path, *clusters: str, age: float = 0, here: bool = False, **counts: int) -> Path:
    """Remember an experiment as its runner does, or a command; return the lock that a runner would hold."""
    folder.mkdir(parents=True, exist_ok=True)
    entry = status_file(folder)
    entry.parent.mkdir(parents=True, exist_ok=True)
    value = {"experiment": str(folder.resolve()), "lock": "lock", "counts": counts}
    if clusters:
        value |= {"clusters": clusters, "time": time.time() - age, "here": here}
    entry.write_text(json.dumps(value))
    return folder / "lock"


@contextmanager
def held(lock: Path) -> Iterator[None]:
    handle = os.open(lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    yield
    os.close(handle)


def test_what_goes_and_what_has_stopped_is_told(state: Path, tmp_path: Path) -> None:
    with held(remember(tmp_path / "runs" / "cap", running=2, waiting=3, failed=1)):
        assert summary(tmp_path) == (
            "Tuneloop: runs/cap: 2 running, 3 waiting, 1 failed. `tuneloop status EXP` says more."
        )
    assert summary(tmp_path) == (
        "Tuneloop: runs/cap has stopped: 2 running, 3 waiting, 1 failed; `tuneloop run-experiment runs/cap` goes on."
        " `tuneloop status EXP` says more."
    )


def test_what_clusters_run_is_told_with_its_age_and_has_not_stopped(state: Path, tmp_path: Path) -> None:
    remember(tmp_path / "cap", "dev", "other $(one)", age=300, running=2, waiting=3)
    assert summary(tmp_path) == (
        "Tuneloop: cap: 2 running, 3 waiting, on dev and other ?(one) as of 5 min ago. `tuneloop status EXP` says more."
    )


def test_a_runner_that_has_stopped_is_told_beside_what_clusters_run(state: Path, tmp_path: Path) -> None:
    with held(remember(tmp_path / "cap", "dev", here=True, age=300, waiting=1)):
        assert "has stopped" not in summary(tmp_path)
    assert summary(tmp_path) == (
        "Tuneloop: cap has stopped on this machine: 1 waiting, on dev as of 5 min ago;"
        " `tuneloop run-experiment cap` goes on. `tuneloop status EXP` says more."
    )


def test_nothing_is_told_where_nothing_goes(state: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    assert summary(project) == ""
    remember(tmp_path / "elsewhere", running=1)
    gone = remember(project / "gone", running=1).parent
    gone.rmdir()
    (status_folder() / "broken.json").write_text("[1")
    (status_folder() / "other.json").write_text('{"experiment": 3}')
    (status_folder() / "list.json").write_text("[]")
    assert summary(project) == ""
    assert call(settings_line("SessionStart"), "{}", project) == (0, "", "")


def test_the_client_reads_it_as_context(state: Path, tmp_path: Path) -> None:
    remember(tmp_path / "cap", queued=1)
    answer = call(settings_line("SessionStart"), '{"hook_event_name": "SessionStart"}', tmp_path)
    assert answer.output["hookEventName"] == "SessionStart"
    assert answer.output["additionalContext"].startswith("Tuneloop: cap has stopped: 1 queued")


def test_many_experiments_are_counted(state: Path, tmp_path: Path) -> None:
    for number in range(40):
        remember(tmp_path / f"experiment-with-a-longer-name-{number}", running=1)
    text = summary(tmp_path)
    assert 200 < len(text) <= MOST < 400
    assert "and 3" in text
    assert text.endswith("more. `tuneloop status EXP` says more.")


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_no_folder_name_breaks_the_text(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    if name in (".", "..") or len(name.encode()) > 250:
        return
    place = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(place / ".state"))
        remember(place / name, running=1)
        text = summary(place)
    assert text
    assert len(text) <= MOST
    assert text.isprintable()
    assert not set(text.replace("`", "")) & set("<>\"'$\\")


def test_a_very_long_place_is_cut(state: Path, tmp_path: Path) -> None:
    with held(remember(tmp_path / Path(*["long" * 40] * 5), running=1)):
        text = summary(tmp_path)
    assert "…" in text
    assert len(text) < 200


@pytest.mark.slow
def test_a_runner_keeps_its_entry_and_takes_it_away(state: Path, tmp_path: Path) -> None:
    experiment = make_echo(tmp_path / "echo", variables="{lr: [1e-3]}", controls="{epochs: 1, seconds: 1.5}")
    run(experiment, "--detach")
    until(lambda: "running" in summary(tmp_path), what="a running job")
    assert "has stopped" not in summary(tmp_path)
    pid = runner_pid(experiment)
    assert pid is not None
    os.kill(pid, 9)
    until(lambda: "has stopped" in summary(tmp_path), what="a stopped runner")
    run(experiment)
    until(lambda: summary(tmp_path) == "", what="the end")
    assert not status_file(experiment).exists()


@pytest.mark.slow
def test_status_mends_an_old_entry(state: Path, tmp_path: Path) -> None:
    experiment = make_echo(tmp_path / "echo", scaffold=False)
    remember(experiment, running=7)
    cli("status", experiment)
    assert summary(tmp_path) == ""
