"""What may go wrong around a submission: silent daemons, a limit, a lost script, a full disk, somebody's scancel.

Each fault ends in a state with its right name and exit code, and what could finish has finished; then `retry` makes
the same results as a pass that nobody disturbed.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import cli, events, live_attempts, plan_id, results, starts, states, until
from places import fill
from slurm_cluster import DevCluster
from slurm_lab import copy_of, hand_over, make_on_slurm, reasons, scheduler_starts, wait

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("on_cluster")]

RETRY = ("retry", "--failed")
RUNS = [f"lr1e-{number}" for number in range(3, 9)]
JOBS = 2 * len(RUNS) + 2  # a training and an evaluation each, the control's, and the one that collects
QUICK_JOBS = 8  # of three runs
DOWN_S = 30


@pytest.fixture(scope="module")
def scaffolded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    values = ", ".join(run.removeprefix("lr") for run in RUNS)
    # One training fewer at once than there are, so that one is pending.
    profile = f"cpus: 1, limits: {{running: {len(RUNS) - 1}}}"
    controls = "{epochs: 1, seconds: 6, steps: 4}"
    return make_on_slurm(tmp_path_factory.mktemp("scaffolded") / "lab", f"{{lr: [{values}]}}", controls, profile)


@pytest.fixture
def quick(tmp_path: Path, quick_scaffolded: Path) -> Path:
    return copy_of(quick_scaffolded, tmp_path / "quick")


@pytest.fixture(scope="module")
def quick_scaffolded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scaffolded") / "quick"
    return make_on_slurm(folder, "{lr: [1e-3, 1e-4, 1e-5]}", "{epochs: 1, seconds: 0.3, steps: 4}")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, scaffolded: Path) -> Path:
    folder = copy_of(scaffolded, tmp_path_factory.mktemp("undisturbed") / "lab")
    hand_over(folder)
    assert wait(folder) == 0
    return folder


@pytest.fixture
def folder(tmp_path: Path, scaffolded: Path) -> Path:
    return copy_of(scaffolded, tmp_path / "lab")


def profile(folder: Path, text: str) -> None:
    """Give the experiment's cluster another profile."""
    (folder.parent / "tuneloop.yaml").write_text(f"clusters: {{dev: {{executor: slurm, cpus: 1, {text}}}}}\n")


def assert_mended(folder: Path, undisturbed: Path) -> None:
    """`retry` does what is left, and nothing that was done."""
    before = {job: count for job, count in starts(folder).items() if _is_done(folder, job)}
    hand_over(folder, verb=RETRY)
    assert wait(folder) == 0, reasons(folder)
    assert results(folder) == results(undisturbed)
    assert {job: count for job, count in starts(folder).items() if job in before} == before


def _is_done(folder: Path, job: str) -> bool:
    return any((path / "verified.json").is_file() for path in (folder / job).iterdir()) and not job.endswith("collect")


def native(folder: Path, key: str) -> str:
    """Return what the queue calls a job."""
    handed = {line["token"]: line for line in events(folder) if line["event"] == "submitting"}
    for line in events(folder):
        if line["event"] == "submitted" and key in handed[line["token"]]["keys"]:
            asked, given = handed[line["token"]], line["native"]
            task = asked["tasks"][asked["keys"].index(key)]
            return given[1] if given[2] is None else f"{given[1]}_{task}"
    raise AssertionError(f"{key} was never handed over")


@contextmanager
def on_a_full_disk(run: Path, disk: Path) -> Iterator[None]:
    """Let the folder of a run lie on a disk without a free block."""
    shutil.copytree(run, disk / "run")
    subprocess.run(["mount", "--bind", disk / "run", run], check=True)
    try:
        fill(disk)
        yield
        (disk / "ballast").unlink()
        shutil.copytree(run, disk.parent / "kept")
    finally:
        subprocess.run(["umount", run], check=True)
    shutil.copytree(disk.parent / "kept", run, dirs_exist_ok=True)


def test_a_fault_of_one_run_is_named_and_spares_the_others(
    cluster: DevCluster, folder: Path, undisturbed: Path, small_disk: Path
) -> None:
    running, dependent, lost, full, pending, spared = RUNS
    with on_a_full_disk(folder / full, small_disk):
        script = folder / lost / "finetune.slurm"
        text = script.read_text()
        script.unlink()
        hand_over(folder)
        cluster.call("scancel", native(folder, f"train/{pending}"))
        cluster.call("scancel", native(folder, f"eval/{dependent}/e0/cap"))
        cluster.wait_state(native(folder, f"train/{running}"), "RUNNING")
        until(lambda: any(running in str(path) for path in live_attempts(folder)))
        cluster.call("scancel", native(folder, f"train/{running}"))
        assert wait(folder) == 1
    found = reasons(folder)
    by = f"by {os.environ.get('USER') or 'root'}"
    assert found[f"train/{running}"] in {("cancelled", by), ("cancelled", "")}
    # A task that did not begin is on record or not, as it happens.
    for key in (f"train/{pending}", f"eval/{dependent}/e0/cap"):
        assert found[key] in {("cancelled", by), ("cancelled", "before it began")}
    for run in (running, pending, lost, full):
        assert found[f"eval/{run}/e0/cap"][0] == "blocked"
    assert found[f"train/{lost}"] == ("failed", "exit code 127")
    assert found[f"train/{full}"] == ("failed", "exit code 2")
    done = {key for key, (state, _) in found.items() if state == "done"}
    expected = {f"train/{dependent}", f"train/{spared}", f"eval/{spared}/e0/cap", "eval/control/base/cap", "collect"}
    assert done == expected
    script.write_text(text)
    assert_mended(folder, undisturbed)


def test_a_scheduler_that_is_silent_for_half_a_minute_is_no_news(
    tmp_path: Path, scaffolded: Path, cluster: DevCluster, folder: Path, undisturbed: Path
) -> None:
    other = copy_of(scaffolded, tmp_path / "other")
    hand_over(folder)
    plan = plan_id(other)
    assert plan is not None
    until(lambda: bool(live_attempts(folder)))
    with cluster.stopped("slurmctld"):
        end = time.monotonic() + DOWN_S
        ended = cli("run-experiment", other, "--yes", plan, "--detach", check=False)
        assert ended.returncode == 3
        assert "the scheduler does not answer" in ended.stderr
        assert not {"failed", "lost", "cancelled", "blocked"} & set(states(folder).values())
        time.sleep(max(0, end - time.monotonic()))
        assert not {"failed", "lost", "cancelled", "blocked"} & set(states(folder).values())
    hand_over(other)
    for item in (folder, other):
        assert wait(item) == 0, reasons(item)
        assert results(item) == results(undisturbed)
        assert set(starts(item).values()) == {1}
        until(lambda item=item: sum(scheduler_starts(cluster, item).values()) >= JOBS, 60, "all starts")  # type: ignore[misc]
        assert sum(scheduler_starts(cluster, item).values()) == JOBS


def test_accounting_that_is_silent_costs_nothing(cluster: DevCluster, quick: Path) -> None:
    with cluster.stopped("slurmdbd"):
        hand_over(quick)
        assert wait(quick) == 0, reasons(quick)
    until(lambda: sum(scheduler_starts(cluster, quick).values()) >= QUICK_JOBS, 60, "all starts in accounting")
    assert sum(scheduler_starts(cluster, quick).values()) == QUICK_JOBS


@pytest.fixture
def few(cluster: DevCluster) -> Iterator[str]:
    """A QOS under which a user may have four jobs in the queue."""
    manage = ("sacctmgr", "-i", "-Q", "add")  # fails where an earlier test has added it
    user = cluster.call("id", "-un").strip()
    conf = cluster.folder / "slurm.conf"
    text = conf.read_text()
    for added in (
        ("qos", "few", "MaxSubmitJobsPerUser=4"),
        ("account", "lab", "qos=few,normal"),
        ("user", user, "account=lab", "qos=few,normal", "defaultaccount=lab"),
    ):
        cluster.call(*manage, *added, check=False)
    cluster.stop("slurmctld")
    conf.write_text(f"{text}\nAccountingStorageEnforce=limits,qos\n")
    cluster.start("slurmctld")
    yield "few"
    cluster.cancel_all()
    cluster.stop("slurmctld")
    conf.write_text(text)
    cluster.start("slurmctld")
    cluster.restore()


def refused(folder: Path, *verb: str) -> str:
    """Hand over what a limit does not let through; return what the command said."""
    ended = cli(*verb, folder, "--yes", plan_id(folder, *verb) or "", "--detach", check=False)
    assert ended.returncode == 1, ended.stdout
    return ended.stderr


def test_a_limit_reached_half_way_leaves_whole_chains_and_the_rest_for_later(few: str, quick: Path) -> None:
    # The profile does not know: the array of trainings fits, that of evaluations does not, and is not cut.
    profile(quick, f"qos: {few}")
    said = refused(quick, "run-experiment")
    assert f"3 of {QUICK_JOBS} jobs were handed over; then: " in said
    assert "limits: {jobs: N}" in said
    assert wait(quick) == 1, "it is not finished: the rest was not handed over"
    refused(quick, "run-experiment")  # evaluations and the control's: four, and no room for the one that collects
    assert wait(quick) == 1
    hand_over(quick)
    assert wait(quick) == 0
    assert set(states(quick).values()) == {"done"}
    assert set(starts(quick).values()) == {1}


def test_a_limit_that_is_known_is_filled_with_whole_chains(few: str, quick: Path) -> None:
    profile(quick, f"qos: {few}, limits: {{jobs: 4}}")
    line = ("run-experiment", quick, "--yes", plan_id(quick) or "", "--detach")
    assert f"{QUICK_JOBS - 4} jobs wait for room in the queue: type the same command again" in cli(*line).stdout
    first, second, *_ = _handed(quick)
    assert {key.split("/")[1] for key in first} == {key.split("/")[1] for key in second}
    assert wait(quick) == 1, reasons(quick)
    cli(*line)
    assert wait(quick) == 0
    assert set(states(quick).values()) == {"done"}
    assert set(starts(quick).values()) == {1}


def _handed(folder: Path) -> list[list[str]]:
    """Return the jobs of each submission that was asked for."""
    return [line["keys"] for line in events(folder) if line["event"] == "submitting"]


@pytest.mark.soak
def test_preempted_and_cancelled_by_the_scheduler_is_lost_and_done_again(cluster: DevCluster, tmp_path: Path) -> None:
    # SLURM takes a quarter of a minute to make room.
    undisturbed = make_on_slurm(tmp_path / "undisturbed", "{lr: [1e-3, 1e-4]}", "{epochs: 1, seconds: 40, steps: 4}")
    folder = copy_of(undisturbed, tmp_path / "lab")
    hand_over(undisturbed)
    assert wait(undisturbed) == 0
    profile(folder, "partition: lowcancel")
    hand_over(folder)
    until(lambda: len(live_attempts(folder)) > 1)
    strong = cluster.sbatch("--exclusive", "--nodes=3", "--partition=main", wrap="sleep 1")
    cluster.wait_state(strong, "COMPLETED")
    assert wait(folder) == 1
    found = reasons(folder)
    assert found["train/lr1e-3"] == found["train/lr1e-4"] == ("lost", "preempted")
    assert found["eval/lr1e-3/e0/cap"][0] == "blocked"
    assert found["collect"][0] == found["eval/control/base/cap"][0] == "done"
    assert_mended(folder, undisturbed)


def test_a_cluster_without_accounting_needs_none(bare_cluster: DevCluster, folder: Path) -> None:
    running, lost, *_ = RUNS
    with bare_cluster.reached():
        (folder / lost / "finetune.slurm").unlink()
        hand_over(folder)
        bare_cluster.wait_state(native(folder, f"train/{running}"), "RUNNING")
        bare_cluster.call("scancel", native(folder, f"train/{running}"))
        assert wait(folder) == 1
        found = {key: state for key, (state, _) in reasons(folder).items() if state != "done"}
        assert found == {
            f"train/{running}": "cancelled",
            f"train/{lost}": "failed",
            f"eval/{running}/e0/cap": "blocked",
            f"eval/{lost}/e0/cap": "blocked",
        }
