"""Real training on a real SLURM, put back into the queue in three ways: it ends with the weights of one undisturbed."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

import lab
from lab import until
from slurm_cluster import DevCluster

pytestmark = [pytest.mark.train, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
EPOCHS = 3
DESIGN = f"""\
schema: tuneloop.experiment/1
name: training
question: Does it survive?
method: {{objective: sft, update: lora}}
model: {ROOT}/examples/tiny-base
data:
  - split: train
    path: {ROOT}/examples/capitalization/data/train.jsonl
    format: instruct
    columns: {{input: word, output: capitalized}}
    prompt: "capitalize: {{input}}"
variables: {{lr: [3e-3]}}
controls: {{epochs: {EPOCHS}, batch_size: 32, lora_rank: 4, max_steps: 75}}
cluster: dev
"""
RUN = "lr3e-3"
TRAIN = f"train/{RUN}"
# Of a node's 32,000 MB: nobody else is on the node that is lost, and all others have room on one more.
PROFILES = {
    "undisturbed": ", memory_mb: 2001",
    "time limit": ", memory_mb: 2001",
    "preemption": ", memory_mb: 2001, partition: low",
    "lost node": ", memory_mb: 30000",
}


class Ended(NamedTuple):
    folder: Path
    states: dict[str, str]
    survivor: dict[str, object]  # how the attempt on a lost node ended


def submitted(folder: Path) -> tuple[str, str]:
    """Return token and id of the training."""
    token = ""
    for event in lab.events(folder):
        if event["event"] == "submitting" and TRAIN in event["keys"]:
            token = event["token"]
        elif event["event"] == "submitted" and event["token"] == token:
            return token, event["native"][1]
    raise AssertionError("the training was not handed over")


def attempt(folder: Path, restart: int) -> Path:
    path = folder / RUN / ".attempts/train" / f"{submitted(folder)[0]}.{restart}"
    until((path / "group.json").exists, 120, f"restart {restart}")
    return path


def trained_an_epoch(folder: Path) -> Path:
    first = attempt(folder, 0)
    until((first / "recipe_state/recipe_state.pt").exists, 120, "the first epoch")
    until(lambda: steps(first) > 75 // EPOCHS, 60, "a step of the second epoch")
    return first


def steps(attempt: Path) -> int:
    metrics = attempt / "metrics.jsonl"
    return len(metrics.read_text().splitlines()) if metrics.exists() else 0


def limit(cluster: DevCluster, folder: Path) -> dict[str, object]:
    trained_an_epoch(folder)
    cluster.call("scancel", "--signal=USR1", "--batch", submitted(folder)[1])
    return {}


def preempt(cluster: DevCluster, folder: Path) -> dict[str, object]:
    trained_an_epoch(folder)
    node = cluster.call("squeue", "-h", "-j", submitted(folder)[1], "-o", "%N").strip()
    beside = len(cluster.call("squeue", "-h", "-w", node, "-p", "main", "-t", "running", "-o", "%i").split())
    cluster.sbatch(f"--nodelist={node}", f"--cpus-per-task={8 - beside}", "--mem=1", wrap="sleep 1")
    attempt(folder, 1)
    return {}


def lose(cluster: DevCluster, folder: Path) -> dict[str, object]:
    """Lose the node; what goes on there stands still until its successor trains, as if the network were cut."""
    first = trained_an_epoch(folder)
    group = json.loads((first / "group.json").read_text())["group"]
    cluster.node_down(cluster.call("squeue", "-h", "-j", submitted(folder)[1], "-o", "%N").strip())
    os.killpg(group, signal.SIGSTOP)
    try:
        second = attempt(folder, 1)
        until(lambda: steps(second) > 0, 120, "a step of the successor")
    finally:
        os.killpg(group, signal.SIGCONT)
    until((first / "exit.json").exists, 120, "the survivor's end")
    return dict(json.loads((first / "exit.json").read_text()) | json.loads((first / "verified.json").read_text()))


FAULTS: dict[str, Callable[[DevCluster, Path], dict[str, object]]] = {
    "undisturbed": lambda _cluster, _folder: {},
    "time limit": limit,
    "preemption": preempt,
    "lost node": lose,
}


@pytest.fixture(scope="module")
def ended(cluster: DevCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Ended]]:
    """Return the same experiment, disturbed in every way at the same time."""
    root = tmp_path_factory.mktemp("training")
    source = root / "design.yaml"
    source.write_text(DESIGN)
    (root / "tuneloop.yaml").write_text("clusters:\n  dev: {executor: slurm, cpus: 1}\n")
    lab.cli("design-experiment", root / "source", "--from", source)
    lab.cli("scaffold-experiment", root / "source")

    def run(name: str) -> Ended:
        place = root / name.replace(" ", "-")
        shutil.copytree(root / "source", place / "training")
        profile = f"clusters:\n  dev: {{executor: slurm, cpus: 1{PROFILES[name]}}}\n"
        (place / "tuneloop.yaml").write_text(profile)
        folder = place / "training"
        lab.run(folder, "--detach")
        survivor = FAULTS[name](cluster, folder)
        lab.cli("wait", folder, "--timeout", "200", check=False)
        return Ended(folder, lab.states(folder), survivor)

    with cluster.reached(), ThreadPoolExecutor() as threads:
        yield dict(zip(FAULTS, threads.map(run, FAULTS), strict=True))
        cluster.restore()


def weights(folder: Path) -> list[tuple[int, str]]:
    found = [json.loads(path.read_text()) for path in sorted((folder / RUN).glob("epoch_*/verified.json"))]
    return [(item["epoch"], item["sha256"]) for item in found]


@pytest.mark.parametrize("fault", [name for name in FAULTS if name != "undisturbed"])
def test_a_training_that_was_put_back_makes_the_same_weights(
    cluster: DevCluster, ended: dict[str, Ended], fault: str
) -> None:
    folder, states, _ = ended[fault]
    assert set(states.values()) == {"done"}
    straight = weights(ended["undisturbed"].folder)
    assert [epoch for epoch, _ in straight] == list(range(EPOCHS))
    assert weights(folder) == straight
    token, _ = submitted(folder)
    cluster.wait_accounted(token, 2)
    assert cluster.starts(token) == 2
    resumed = json.loads((attempt(folder, 1) / "resumed.json").read_text())
    assert resumed["epochs"] >= 1
    lines = [json.loads(line) for line in (folder / RUN / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 76))


def test_the_survivor_of_a_lost_node_knows_that_it_was_superseded(ended: dict[str, Ended]) -> None:
    folder, _, survivor = ended["lost node"]
    assert survivor["code"] == 4
    assert survivor["reason"] == f"superseded by {submitted(folder)[0]}.1"
