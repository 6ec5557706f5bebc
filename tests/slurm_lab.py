"""Echo experiments on a development cluster, and what became of their submissions."""

import os
import shutil
from pathlib import Path

from lab import as_json, cli, events, make_echo, plan_id
from slurm_cluster import DevCluster

CLUSTER_FILE = "tuneloop.yaml"


def make_on_slurm(folder: Path, variables: str, controls: str, profile: str = "cpus: 1") -> Path:
    """Design and scaffold an echo experiment whose profile is the cluster of the environment; return its folder."""
    folder.mkdir(parents=True)
    (folder / CLUSTER_FILE).write_text(f"clusters: {{dev: {{executor: slurm, {profile}}}}}\n")
    return make_echo(folder / "exp", variables, controls, rest="cluster: dev\n")


def copy_of(experiment: Path, folder: Path) -> Path:
    """Return a copy, with its profile beside it: an experiment can be moved."""
    shutil.copytree(experiment.parent, folder)
    return folder / experiment.name


def hand_over(folder: Path, *, verb: tuple[str, ...] = ("run-experiment",)) -> None:
    """Consent to the plan, if there is one, and hand it over."""
    plan = plan_id(folder, *verb)
    if plan is not None:
        cli(*verb, folder, "--yes", plan, "--detach")


def wait(folder: Path, seconds: int = 120) -> int:
    return cli("wait", folder, "--timeout", str(seconds), check=False).returncode


def reasons(folder: Path) -> dict[str, tuple[str, str]]:
    """Return state and reason of every job."""
    jobs = as_json("status", folder, "--all")["jobs"]
    return {job["key"]: (job["state"], job["reason"]) for job in jobs}


def tokens(folder: Path) -> dict[str, int]:
    """Return how many jobs were asked for under each token."""
    return {line["token"]: len(line["keys"]) for line in events(folder) if line["event"] == "submitting"}


def scheduler_starts(cluster: DevCluster, folder: Path) -> dict[str, int]:
    """Return how often SLURM started a script of each token, of those that it ever started."""
    counted = {token: cluster.starts(token) for token in tokens(folder)}
    return {token: number for token, number in counted.items() if number}


def shims(folder: Path, text: str) -> dict[str, str]:
    """Return an environment in which `sbatch` is this shell text; `$REAL` is the real one."""
    real = shutil.which("sbatch")
    folder.mkdir()
    (folder / "sbatch").write_text(f"#!/bin/sh\nREAL={real}\n{text}")
    (folder / "sbatch").chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}
