"""What a real SLURM puts back into the queue goes on where it was; what it left running touches nothing any more."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import lab
from lab import until
from slurm_cluster import DevCluster

PROFILE = "clusters:\n  dev: {{executor: slurm, cpus: 1{more}}}\n"


@pytest.fixture(autouse=True)
def reached(cluster: DevCluster) -> Iterator[None]:
    with cluster.reached():
        yield
    cluster.restore()


def experiment(
    folder: Path, controls: str, more: str = "", policy: str = "{}", variables: str = "{lr: [1e-3]}"
) -> Path:
    folder.mkdir()
    (folder / "tuneloop.yaml").write_text(PROFILE.format(more=more))
    return lab.make_echo(folder / "echo", variables, controls, f"cluster: dev\npolicy: {policy}\n")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what the experiments here make when nothing happens to them, on one machine and in no time."""
    folder = lab.make_echo(tmp_path_factory.mktemp("undisturbed") / "echo", "{lr: [1e-3, 1e-4]}", QUICK)
    lab.run(folder)
    return lab.results(folder)


QUICK = "{epochs: 3, seconds: 0, steps: 4}"
SLOW = "{epochs: 3, seconds: 9, steps: 4}"


def submissions(folder: Path) -> dict[str, tuple[str, str]]:
    """Return token and id of the last submission of each job, as the journal has them."""
    keys: dict[str, list[str]] = {}
    found: dict[str, tuple[str, str]] = {}
    for event in lab.events(folder):
        if event["event"] == "submitting":
            keys[event["token"]] = event["keys"]
        elif event["event"] == "submitted":
            found |= dict.fromkeys(keys[event["token"]], (event["token"], event["native"][1]))
    return found


def handed_over(folder: Path) -> dict[str, list[str]]:
    """Return the tokens of all submissions of each job, the oldest first."""
    found: dict[str, list[str]] = {}
    for event in lab.events(folder):
        for key in event["keys"] if event["event"] == "submitting" else ():
            found.setdefault(key, []).append(event["token"])
    return found


def attempt(folder: Path, restart: int, job: str = "train") -> Path:
    """Wait until a run has begun its n-th restart, and return the attempt's folder."""
    until(lambda: any(folder.glob(f"lr*/.attempts/{job}/*.{restart}/group.json")), 60, f"restart {restart}")
    return next(folder.glob(f"lr*/.attempts/{job}/*.{restart}"))


def epoch_of(attempt: Path, epoch: int) -> None:
    """Wait until an attempt has an epoch of its own."""
    until((attempt / f"epoch_{epoch}").is_dir, 60, f"epoch {epoch} of {attempt.name}")


def waited(folder: Path) -> tuple[int, dict[str, str]]:
    done = lab.cli("wait", folder, "--timeout", "120", check=False)
    return done.returncode, lab.states(folder)


def reason(folder: Path, key: str) -> str:
    jobs = lab.as_json("status", folder, "--all")["jobs"]
    return str(next(job["reason"] for job in jobs if job["key"] == key))


def same(folder: Path, undisturbed: dict[str, Any]) -> bool:
    made = lab.results(folder)
    return made == {name: undisturbed[name] for name in made} and any("epoch_2" in name for name in made)


def limited(folder: Path) -> None:
    """Let the time limit of a training come when its first epoch is whole."""
    _, job = submissions(folder)["train/lr1e-3"]
    epoch_of(attempt(folder, 0), 0)
    signalled(job)


def limited_at_once(folder: Path) -> None:
    _, job = submissions(folder)["train/lr1e-3"]
    attempt(folder, 0)
    signalled(job)


def limited_in_array(folder: Path) -> None:
    _, job = submissions(folder)["train/lr1e-4"]
    until(lambda: len(list(folder.glob("lr*/.attempts/train/*.0/epoch_0"))) == 2, 60, "the first epochs")
    signalled(f"{job}_1")


def retried(folder: Path) -> None:
    """Retry a run that failed while an evaluation of the other one, and so the job that collects, waits."""
    _, job = submissions(folder)["eval/fail0_seconds5/e1/cap"]
    subprocess.run(["scontrol", "hold", f"{job}_1"], check=True)
    until(lambda: lab.states(folder)["train/fail3_seconds0"] == "failed", 60, "the failure")
    assert lab.states(folder)["collect"] == "waiting"
    lab.run(folder, "--detach", verb=("retry", "--failed"))
    subprocess.run(["scontrol", "release", f"{job}_1"], check=True)


def signalled(job: str) -> None:
    subprocess.run(["scancel", "--signal=USR1", "--batch", job], check=True)


UNEQUAL = "[{fail: 3, seconds: 0}, {fail: 0, seconds: 5}]"
TWO = "{lr: [1e-3, 1e-4]}"
DISTURBED: dict[str, tuple[dict[str, str], Callable[[Path], None]]] = {
    "goes on": ({"controls": SLOW}, limited),
    "too long": ({"controls": "{epochs: 2, seconds: 120, steps: 4}"}, limited_at_once),
    "no resumes": ({"controls": SLOW, "policy": "{resumes: 0}"}, limited),
    "retried": ({"controls": "{epochs: 2, fail_times: 1}", "variables": UNEQUAL}, retried),
    "array": ({"controls": SLOW, "variables": TWO}, limited_in_array),
}


class Ended(NamedTuple):
    folder: Path
    code: int
    states: dict[str, str]


@pytest.fixture(scope="module")
def disturbed(cluster: DevCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Ended]]:
    """Return experiments that were disturbed, most by their time limit, all at the same time."""

    def run(name: str) -> Ended:
        design, fault = DISTURBED[name]
        folder = experiment(tmp_path_factory.mktemp("disturbed") / "x", **design)
        lab.run(folder, "--detach")
        fault(folder)
        return Ended(folder, *waited(folder))

    with cluster.reached(), ThreadPoolExecutor() as threads:
        yield dict(zip(DISTURBED, threads.map(run, DISTURBED), strict=True))


def test_a_training_goes_on_after_its_time_limit(
    cluster: DevCluster, disturbed: dict[str, Ended], undisturbed: dict[str, Any]
) -> None:
    folder, code, states = disturbed["goes on"]
    assert (code, set(states.values())) == (0, {"done"})
    assert same(folder, undisturbed)
    token, _ = submissions(folder)["train/lr1e-3"]
    assert len(cluster.wait_accounted(token, 2)) == 2
    assert cluster.starts(token) == 2
    log = next(folder.glob("lr1e-3/slurm-*.out")).read_text()
    assert log.count("epoch 0 of 3 done") == 1, "the first epoch was not taken over"


def test_a_time_limit_that_no_epoch_fits_into_ends_it(cluster: DevCluster, disturbed: dict[str, Ended]) -> None:
    folder, code, states = disturbed["too long"]
    assert (code, states["train/lr1e-3"], states["eval/lr1e-3/e1/cap"]) == (1, "failed", "blocked")
    assert reason(folder, "train/lr1e-3") == "no epoch fits into the time limit"
    token, _ = submissions(folder)["train/lr1e-3"]
    cluster.wait_accounted(token, 2)
    assert cluster.starts(token) == 2
    (told,) = [item for item in lab.as_json("status", folder)["failures"] if item["key"] == "train/lr1e-3"]
    assert "too short for one epoch" in told["cause"]


def test_a_time_limit_is_final_when_the_design_says_so(cluster: DevCluster, disturbed: dict[str, Ended]) -> None:
    folder, code, states = disturbed["no resumes"]
    assert (code, states["train/lr1e-3"]) == (1, "failed")
    assert reason(folder, "train/lr1e-3") == "the time limit ended it"
    token, _ = submissions(folder)["train/lr1e-3"]
    cluster.wait_accounted(token)
    assert cluster.starts(token) == 1


def test_one_task_of_an_array_goes_on_and_the_others_are_left_alone(
    cluster: DevCluster, disturbed: dict[str, Ended], undisturbed: dict[str, Any]
) -> None:
    folder, code, states = disturbed["array"]
    assert (code, set(states.values())) == (0, {"done"})
    assert same(folder, undisturbed)
    starts = {job: number for job, number in lab.starts(folder).items() if job.endswith("train")}
    assert starts == {"lr1e-3/.attempts/train": 1, "lr1e-4/.attempts/train": 2}
    token, _ = submissions(folder)["train/lr1e-4"]
    cluster.wait_accounted(token, 3)
    assert cluster.starts(token) == 3


def test_retrying_attaches_the_dependents_to_the_new_attempt(cluster: DevCluster, disturbed: dict[str, Ended]) -> None:
    folder, code, states = disturbed["retried"]
    assert (code, set(states.values())) == (0, {"done"})
    handed = handed_over(folder)
    again = ["collect", "eval/fail3_seconds0/e0/cap", "eval/fail3_seconds0/e1/cap", "train/fail3_seconds0"]
    assert sorted(key for key, tokens in handed.items() if len(tokens) == 2) == again
    assert all(len(tokens) <= 2 for tokens in handed.values())
    old, new = handed["collect"]
    cluster.wait_accounted(new)
    assert (cluster.starts(old), cluster.starts(new)) == (0, 1)
    first, second = handed["train/fail3_seconds0"]
    assert (cluster.starts(first), cluster.starts(second)) == (2, 1)  # the first was an array of two


def test_a_preempted_training_goes_on(cluster: DevCluster, tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    folder = experiment(tmp_path / "x", SLOW, more=", partition: low")
    lab.run(folder, "--detach")
    token, _ = submissions(folder)["train/lr1e-3"]
    epoch_of(attempt(folder, 0), 0)
    urgent = cluster.sbatch("--partition=main", "--nodes=3", "--exclusive", wrap="sleep 2")
    attempt(folder, 1)
    assert waited(folder) == (0, dict.fromkeys(lab.states(folder), "done"))
    assert cluster.state(urgent) == "COMPLETED"
    assert same(folder, undisturbed)
    assert cluster.starts(token) == 2


def lose(cluster: DevCluster, folder: Path, job: str) -> str:
    """Lose the node of a job's attempt; return the node. What the attempt had started goes on."""
    node = cluster.call("squeue", "-h", "-j", job, "-o", "%N").strip()
    cluster.node_down(node)
    return node


def test_the_survivor_of_a_lost_node_writes_nothing(
    cluster: DevCluster, tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    folder = experiment(tmp_path / "x", SLOW)
    lab.run(folder, "--detach")
    token, job = submissions(folder)["train/lr1e-3"]
    first = attempt(folder, 0)
    epoch_of(first, 0)
    group = json.loads((first / "group.json").read_text())["group"]
    lose(cluster, folder, job)
    os.killpg(group, signal.SIGSTOP)  # it stands still, as a machine does that the network has lost
    try:
        second = attempt(folder, 1)
        epoch_of(second, 1)
    finally:
        os.killpg(group, signal.SIGCONT)
    until((first / "exit.json").exists, 60, "the survivor's end")
    assert json.loads((first / "verified.json").read_text())["reason"] == f"superseded by {second.name}"
    assert json.loads((first / "exit.json").read_text())["code"] == 4
    assert waited(folder) == (0, dict.fromkeys(lab.states(folder), "done"))
    assert same(folder, undisturbed)
    assert cluster.starts(token) == 2


def test_a_lost_node_during_an_evaluation(cluster: DevCluster, tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    folder = experiment(tmp_path / "x", QUICK)
    design = folder / "experiment_summary.md"
    design.write_text(design.read_text().replace("task: echo,", "task: echo, args: {seconds: 12},"))
    lab.cli("scaffold-experiment", folder)
    lab.run(folder, "--detach")
    first = attempt(folder, 0, "cap_epoch2")
    lose(cluster, folder, json.loads((first / "start.json").read_text())["id"])
    second = attempt(folder, 1, "cap_epoch2")
    assert waited(folder) == (0, dict.fromkeys(lab.states(folder), "done"))
    until((first / "exit.json").exists, 60, "the survivor's end")
    assert json.loads((first / "exit.json").read_text())["code"] == 4
    assert json.loads((second / "exit.json").read_text())["code"] == 0
