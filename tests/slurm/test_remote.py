"""An experiment on clusters that are reached over SSH: a real sshd and two development clusters side by side."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lab
from slurm_cluster import DevCluster
from sshd import HOST, Sshd, serving
from tuneloop.documents.yamltext import dump_yaml


@contextmanager
def login(cluster: DevCluster, folder: Path) -> Iterator[Sshd]:
    """A host on which the cluster's commands are at hand, as on a login node."""
    variables = {**cluster.env, "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    with serving(folder, "SetEnv " + " ".join(f"{name}={value}" for name, value in variables.items())) as daemon:
        yield daemon


def profile(daemon: Sshd, scratch: Path, **more: object) -> dict[str, object]:
    return {
        "executor": "slurm",
        "cpus": 1,
        "ssh": HOST,
        "ssh_config": str(daemon.config),
        "scratch": str(scratch),
        "python": sys.executable,
        **more,
    }


def test_an_experiment_runs_to_its_report_on_a_cluster_that_sees_nothing_of_this_machine(
    cluster: DevCluster, tmp_path: Path
) -> None:
    scratch = tmp_path / "there"
    with login(cluster, tmp_path / "sshd") as daemon:
        (tmp_path / "tuneloop.yaml").write_text(dump_yaml({"clusters": {"far": profile(daemon, scratch)}}))
        folder = lab.make_echo(tmp_path / "exp", rest="cluster: far\n", scaffold=False)
        lab.cli("scaffold-experiment", folder)
        lab.run(folder, "--detach")
        done = lab.cli("wait", folder, "--timeout", "100", check=False)
        print(done.stdout, done.stderr)
        print(lab.cli("status", folder).stdout)
        assert done.returncode == 0
        assert (folder / "analysis" / "report.html").is_file()
