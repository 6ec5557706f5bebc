"""A site's limit on jobs in the queue is kept: whole chains go, the same command hands over the rest."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import as_json, make_echo, run, states
from slurm_cluster import DevCluster

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(cluster: DevCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An experiment of four jobs on a cluster where two may be in the queue."""
    root = tmp_path_factory.mktemp("project")
    (root / "tuneloop.yaml").write_text("clusters: {site: {executor: slurm, cpus: 1, limits: {jobs: 2}}}\n")
    controls = "{epochs: 1, seconds: 0.1, steps: 1}"
    with cluster.reached():
        yield make_echo(root / "exp", variables="{lr: [1e-3]}", controls=controls, rest="cluster: site\n")


def test_a_queue_with_room_for_two_takes_a_chain_at_a_time(folder: Path, cluster: DevCluster) -> None:
    others = cluster.sbatch("--hold", wrap="true")
    alone = run(folder, "--detach")  # somebody's own job counts, too: the place left is for what needs no training
    assert "1 jobs handed over to site" in alone.stdout
    assert "3 jobs wait for room in the queue" in alone.stdout
    cluster.call("scancel", others)
    cluster.wait_idle()
    chain = run(folder, "--detach")
    assert "2 jobs handed over to site" in chain.stdout
    assert len(cluster.call("squeue", "-h", "-r", "-o", "%i").split()) <= 2
    cluster.wait_idle()
    assert sorted(set(states(folder).values())) == ["done", "planned"]
    last = run(folder, "--detach")
    assert "1 jobs handed over to site" in last.stdout
    assert "wait for room" not in last.stdout
    cluster.wait_idle()
    assert set(states(folder).values()) == {"done"}
    assert (folder / "analysis" / "report.md").is_file()


def test_doctor_tells_what_can_be_told_without_a_job(folder: Path) -> None:
    value = as_json("doctor", folder)
    checks = {item["name"]: item for item in value["checks"] if item["section"] == "profile site"}
    assert set(checks) == {"executor", "tools", "answer", "job"}
    assert checks["executor"]["message"] == ("slurm, the SLURM of this machine: arrays of 1,000, 2 jobs in the queue")
    assert "`tuneloop cluster check site`" in checks["job"]["message"]
