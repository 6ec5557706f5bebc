"""What a person sees of an experiment on a cluster: states, reasons and ids, logs, tables, and a session's beginning."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import as_json, cli, make_echo, run, states, until
from slurm_cluster import DevCluster
from tuneloop.documents.cache import clusters_folder
from tuneloop.hooks.session import summary


@pytest.fixture(scope="module")
def project(cluster: DevCluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a profile that lets one job of an array run at a time, and one with a set-up that fails."""
    project = tmp_path_factory.mktemp("project")
    profiles = "  dev: {executor: slurm, limits: {running: 1}}\n  odd: {executor: slurm, source: [/nowhere/site.sh]}\n"
    (project / "tuneloop.yaml").write_text(f"clusters:\n{profiles}")
    return project


@pytest.fixture(autouse=True)
def _here(cluster: DevCluster, project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_STATE_HOME", str(project / "state"))
    with cluster.reached():
        yield


def test_an_experiment_is_seen_from_submission_to_report(project: Path, cluster: DevCluster) -> None:
    broken = make_echo(project / "broken", variables="{lr: [1e-3]}", controls="{epochs: 1}", rest="cluster: odd\n")
    run(broken, "--detach")
    folder = make_echo(project / "cap", controls="{epochs: 1, seconds: 6}", rest="cluster: dev\n")
    run(folder, "--detach")
    until(lambda: states(folder)["train/lr1e-3"] == "running", 20, "a running training")

    # A reason comes a moment after a job; without the last picture, a new one is taken.
    shutil.rmtree(clusters_folder())
    found = as_json("status", folder, "--all")
    jobs = {job["key"]: job for job in found["jobs"]}
    assert found["runner"] is None
    assert [(item["name"], item["silent"]) for item in found["clusters"]] == [("dev", None)]
    names = cluster.queue()
    assert all(job["cluster"] == "dev" and job["native"] in names for job in jobs.values())
    assert jobs["train/lr1e-4"]["reason"] == "the array's own limit on jobs at once"
    assert jobs["eval/lr1e-3/e0/cap"]["reason"] == "for train/lr1e-3"

    text = cli("status", folder).stdout
    assert "runner" not in text
    assert re.search(r"; dev answered (just now|\d+ s ago)\n", text)
    assert re.search(r"train/lr1e-3 .*dev \d+_0\n", text)
    assert re.search(r"\bcap: [^;]*, on dev as of", summary(project))

    assert cli("wait", folder, "--timeout", "60").stdout.startswith("6 done\n")
    assert "on dev" not in summary(project)
    assert "answered" not in cli("status", folder).stdout

    for log, keys in {
        "run-echo": ["train/lr1e-3", "train/lr1e-4"],
        "run-echo-eval": ["eval/control/base/cap", "eval/lr1e-3/e0/cap", "eval/lr1e-4/e0/cap"],
        "run-experiment": ["collect"],
    }.items():
        lines = (folder / f"{log}.log").read_text().splitlines()
        told = [line.split(" ", 2)[2] for line in lines if "plan" not in line]
        assert sorted(told) == sorted(f"{key} {state}" for key in keys for state in ("running", "done"))

    block = (folder / "experiment_summary.md").read_text().split("tuneloop:begin status")[1].split("tuneloop:end")[0]
    assert block.count("done") == 5
    assert not re.search("running|queued|waiting", block)
    used = {job["key"]: job["usage"] for job in as_json("status", folder, "--all")["jobs"]}
    assert all(item["wall_s"] > 0 and item["cpus"] == 1 and item["gpus"] == 0 for item in used.values())

    _shows_what_went_wrong_before_it_began(broken)


def _shows_what_went_wrong_before_it_began(folder: Path) -> None:
    ended = cli("wait", folder, "--timeout", "60", check=False)
    assert ended.returncode == 1
    assert "train/lr1e-3 failed: " in ended.stdout
    said = cli("logs", folder, "train/lr1e-3").stdout
    assert "/nowhere/site.sh: No such file or directory" in said
    assert "/nowhere/site.sh: No such file or directory" in ended.stdout
    assert states(folder)["eval/lr1e-3/e0/cap"] == "blocked"
    assert summary(folder) == ""
