"""Nothing is lost or doubled: SIGKILL before and after a journal event, then one more victim each time.

The victims take turns: the command that follows, the runner, the runner's whole session, one job.
"""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kills import VICTIMS, disturb, disturb_at_random, dying, finish
from lab import (
    as_json,
    cli,
    command,
    events,
    live_attempts,
    make_echo,
    plan_id,
    results,
    run,
    runner_pid,
    starts,
    states,
    until,
)

pytestmark = pytest.mark.slow

EVENTS = 11  # of handing over: consented, then submitting and submitted for each of five batches


@pytest.fixture(scope="module")
def scaffolded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_echo(tmp_path_factory.mktemp("scaffolded") / "exp")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, scaffolded: Path) -> Path:
    # A folder can be moved, so one is scaffolded for all.
    folder = tmp_path_factory.mktemp("undisturbed") / "exp"
    shutil.copytree(scaffolded, folder)
    run(folder)
    return folder


@pytest.fixture
def poison(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """An environment in which a command dies at a journal event, such as `1 before`."""
    return lambda point: dying(tmp_path / "site", point)


# The consent, the first batch, the beginning of the second and the end of the last; `make soak` dies everywhere.
QUICK = {1, 2, 3, 4, EVENTS}
POINTS = [
    pytest.param(
        number,
        when,
        VICTIMS[(number - 1) % 4],
        id=f"{when}-{number}-{VICTIMS[(number - 1) % 4]}",
        marks=() if number in QUICK else pytest.mark.soak,
    )
    for number in range(1, EVENTS + 1)
    for when in ("before", "after")
]


@pytest.mark.parametrize(("number", "when", "victim"), POINTS)
def test_a_killed_pass_ends_like_an_undisturbed_one(
    number: int,
    when: str,
    victim: str,
    tmp_path: Path,
    scaffolded: Path,
    undisturbed: Path,
    poison: Callable[[str], dict[str, str]],
) -> None:
    folder = tmp_path / "exp"
    shutil.copytree(scaffolded, folder)
    plan = plan_id(folder)
    assert plan is not None
    died = cli("run-experiment", folder, "--yes", plan, "--detach", check=False, env=poison(f"{number} {when}"))
    assert died.returncode == -signal.SIGKILL

    again = plan_id(folder)
    consent = ["--yes", again] if again else []
    with subprocess.Popen(
        command("run-experiment", folder, *consent, "--follow"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as follower:
        until(lambda: bool(live_attempts(folder)) and runner_pid(folder) is not None, what="a running job")
        disturb(folder, victim, follower)
        follower.kill()

    run(folder)
    assert set(states(folder).values()) == {"done"}
    assert results(folder) == results(undisturbed)
    jobs = {job: count for job, count in starts(folder).items() if not job.endswith("/collect")}
    assert jobs.keys() == {job for job in starts(undisturbed) if not job.endswith("/collect")}
    if victim in ("follower", "runner"):
        assert set(jobs.values()) == {1}, "a job that nobody killed was started twice"
    else:
        assert sum(jobs.values()) <= len(jobs) + 2, "more starts than jobs killed"


@pytest.mark.parametrize("when", ["before", "after"])
def test_scaffolding_killed_at_its_event(
    when: str, tmp_path: Path, undisturbed: Path, poison: Callable[[str], dict[str, str]]
) -> None:
    folder = make_echo(tmp_path / "exp", scaffold=False)
    died = cli("scaffold-experiment", folder, check=False, env=poison(f"1 {when}"))
    assert died.returncode == -signal.SIGKILL
    cli("scaffold-experiment", folder)
    run(folder)
    assert results(folder) == results(undisturbed)
    added = [line for line in events(folder) if line["event"] == "added"]
    assert sum(len(line["runs"]) for line in added) == 3, "each run is added once"


@pytest.mark.parametrize("when", ["before", "after"])
def test_cancelling_killed_at_its_event(
    when: str, tmp_path: Path, scaffolded: Path, undisturbed: Path, poison: Callable[[str], dict[str, str]]
) -> None:
    folder = tmp_path / "exp"
    shutil.copytree(scaffolded, folder)
    run(folder, "--detach")
    until(lambda: bool(live_attempts(folder)), what="a running job")
    died = cli("cancel", folder, check=False, env=poison(f"1 {when}"))
    assert died.returncode == -signal.SIGKILL
    cli("cancel", folder, check=False)
    cli("wait", folder, "--timeout", "60", check=False)
    retry = as_json("retry", folder, "--failed", "--dry-run")
    cli("retry", folder, "--failed", "--yes", retry["plan"], "--follow")
    assert set(states(folder).values()) == {"done"}
    assert results(folder) == results(undisturbed)


@pytest.mark.parametrize("when", ["before", "after"])
def test_replacing_killed_at_its_event(
    when: str, tmp_path: Path, undisturbed: Path, poison: Callable[[str], dict[str, str]]
) -> None:
    folder = tmp_path / "exp"
    shutil.copytree(undisturbed, folder)
    summary = folder / "experiment_summary.md"
    summary.write_text(summary.read_text().replace("steps: 4", "steps: 5", 1))
    replace = ("--replace", "lr1e-3", "--replace", "lr1e-4")
    died = cli("scaffold-experiment", folder, *replace, check=False, env=poison(f"1 {when}"))
    assert died.returncode == -signal.SIGKILL
    cli("scaffold-experiment", folder, *replace)
    summary.write_text(summary.read_text().replace("steps: 5", "steps: 4", 1))
    cli("scaffold-experiment", folder)
    run(folder)
    assert results(folder) == results(undisturbed)


def test_handing_over_writes_the_events_counted_here(undisturbed: Path) -> None:
    kinds = [line["event"] for line in events(undisturbed)]
    assert kinds == ["added", "consented", *["submitting", "submitted"] * 5]
    assert len(kinds) == EVENTS + 1


@pytest.mark.soak
def test_two_hundred_random_kills(tmp_path: Path) -> None:
    seed = int(os.environ.get("TUNELOOP_SEED") or time.time())
    print(f"TUNELOOP_SEED={seed}")
    values = ", ".join(f"{number}e-4" for number in range(1, 13))
    fresh = make_echo(tmp_path / "fresh", f"{{lr: [{values}]}}", "{epochs: 2, seconds: 1, steps: 4}")
    undisturbed = Path(shutil.copytree(fresh, tmp_path / "undisturbed"))
    run(undisturbed)
    stream, hit, passes = random.Random(seed), 0, 0
    while hit < 200:
        folder = Path(shutil.copytree(fresh, tmp_path / f"exp{passes}"))
        hit += disturb_at_random(folder, stream, kills=25, longest=1.5)
        passes += 1
        finish(folder)
        assert results(folder) == results(undisturbed), f"TUNELOOP_SEED={seed}"
        print(f"{hit} kills in {passes} passes", flush=True)
