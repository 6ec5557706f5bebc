"""`cluster check` on a real SLURM: a good profile passes, each bad one has its fault and its repair, nothing is left."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import sshd
from lab import command, until
from places import content
from slurm_cluster import DevCluster

pytestmark = pytest.mark.slow

# One file for all: each profile has one fault, but for `good`.
PROFILES = """\
clusters:
  good: {{executor: slurm, gpus: 2, cpus: 1, environment: {{A: "it's $HOME"}}, source: [{source}/fine.sh]}}
  partition: {{executor: slurm, cpus: 1, partition: man}}
  shape: {{executor: slurm, cpus: 1, gpus: 2, gpu_type: a100}}
  interpreter: {{executor: slurm, cpus: 1, python: /nowhere/python}}
  modules: {{executor: slurm, cpus: 1, modules: [cuda/12]}}
  source: {{executor: slurm, cpus: 1, source: [{source}/absent.sh]}}
  silent: {{executor: slurm, cpus: 1, source: [{source}/silent.sh]}}
  leaves: {{executor: slurm, cpus: 1, source: [{source}/leaves.sh]}}
  many: {{executor: slurm, cpus: 1, gpus: 5}}
  worker: {{executor: slurm, cpus: 1, python: {{torchtunes: /nowhere/python, analysis: {python}}}}}
  dies: {{executor: slurm, cpus: 1, source: [{source}/dies.sh]}}
"""


class Told(NamedTuple):
    code: int
    faults: dict[str, tuple[str, str]]  # message and hint by the name of the check
    fine: set[str]
    waits: str | None
    notes: list[str]


def start(folder: Path, name: str, *options: str, **environment: str) -> subprocess.Popen[str]:
    argv = command("cluster", "check", name, "--json", *options)
    surroundings = os.environ | environment
    return subprocess.Popen(
        argv, cwd=folder, env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def end(process: subprocess.Popen[str]) -> Told:
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in err, err
    value: dict[str, Any] = json.loads(out)
    assert value["schema"] == "tuneloop.cluster-check/1", value
    faults = {item["name"]: (item["message"], item["hint"]) for item in value["checks"] if not item["ok"]}
    fine = {item["name"] for item in value["checks"] if item["ok"]}
    assert value["exit"] == process.returncode
    return Told(process.returncode, faults, fine, value["waits"], value["notes"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the profiles."""
    folder, source = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("site's own")
    (source / "fine.sh").write_text('grep -q zzz /dev/null\necho "welcome to the site"\n')
    (source / "silent.sh").write_text("grep -q zzz /dev/null\n")
    (source / "leaves.sh").write_text("exit 0\n")
    (source / "dies.sh").write_text("kill -9 $$\n")
    (folder / "tuneloop.yaml").write_text(PROFILES.format(source=json.dumps(str(source))[1:-1], python=sys.executable))
    return folder


@pytest.fixture(scope="module")
def told(folder: Path, cluster: DevCluster) -> Iterator[dict[str, Told]]:
    """What is told of each profile, all asked at the same time."""
    before = content(folder)
    names = [line.split(":")[0].strip() for line in PROFILES.splitlines()[1:]]
    found = {name: start(folder, name, **cluster.env) for name in names}
    yield {name: end(process) for name, process in found.items()}
    assert content(folder) == before
    cluster.wait_idle()


def test_a_good_profile_is_proved(told: dict[str, Told]) -> None:
    assert told["good"].faults == {}
    assert told["good"].code == 0
    assert told["good"].notes == []
    assert told["good"].fine == {"tools", "answer", "accepted", "node", "setup", "python", "gpus", "folder"}


@pytest.mark.parametrize(
    ("name", "check", "words", "hint"),
    [
        ("partition", "accepted", "Invalid partition name", "did you mean `main`?"),
        ("shape", "accepted", "configuration is not available", "`gpu_type`"),
        ("interpreter", "python", "No such file", "correct `python:` of the profile"),
        ("modules", "setup", "command not found", "under `source:`"),
        ("source", "setup", "No such file", "correct `source:` of the profile"),
        ("silent", "setup", "silent.sh'` failed: exit code 1", "correct `source:` of the profile"),
        ("leaves", "end", "it ended while it did: source ", None),
        ("many", "accepted", "sbatch refuses a job of 1 CPU and 5 GPUs: ", "a node has at most 2 GPUs, 8 CPUs and "),
        ("worker", "worker", "`python` names an unknown worker `torchtunes`", "did you mean `torchtune`?"),
        ("dies", "job", "left nothing", "one that compute nodes share"),
    ],
)
def test_a_bad_profile_has_its_fault(
    told: dict[str, Told], name: str, check: str, words: str, hint: str | None
) -> None:
    found = told[name]
    assert found.code == 1
    assert check in found.faults, found
    message, repair = found.faults[check]
    assert words in message
    assert hint is None or hint in repair


def test_a_shape_that_is_refused_does_not_hide_what_the_job_tells(told: dict[str, Told]) -> None:
    assert {"accepted", "node", "gpus", "folder"} <= told["many"].fine
    assert list(told["many"].faults) == ["accepted"]


def test_every_profile_was_asked(told: dict[str, Told]) -> None:
    assert len(told) == PROFILES.count("executor: slurm")


def test_an_account_that_is_not_yours_is_refused_with_yours(folder: Path, cluster: DevCluster, tmp_path: Path) -> None:
    (tmp_path / "tuneloop.yaml").write_text("clusters: {wrong: {executor: slurm, cpus: 1, account: nobodys}}\n")
    user = cluster.call("id", "-un").strip()
    cluster.call("sacctmgr", "-i", "add", "account", "ours", check=False)
    cluster.call("sacctmgr", "-i", "add", "user", user, "account=ours", check=False)
    configuration = cluster.folder / "slurm.conf"
    text = configuration.read_text()
    assert "AccountingStorageEnforce" not in text
    try:
        configuration.write_text(f"{text}AccountingStorageEnforce=associations\n")
        cluster.stop("slurmctld")
        cluster.start("slurmctld")
        found = end(start(tmp_path, "wrong", **cluster.env))
    finally:
        configuration.write_text(text)
        cluster.stop("slurmctld")
        cluster.start("slurmctld")
        cluster.call("sacctmgr", "-i", "delete", "user", user, "account=ours", check=False)
        cluster.call("sacctmgr", "-i", "delete", "account", "ours", check=False)
        # A controller that has just started does not know its nodes yet.
        takes = ["srun", "--test-only", "--quiet", "true"]
        until(lambda: subprocess.run(takes, env=os.environ | cluster.env, check=False).returncode == 0, 60, "nodes")
    assert found.code == 1
    message, hint = found.faults["accepted"]
    assert "Invalid account" in message
    assert "ours" in hint


def test_what_the_site_tells_and_the_profile_does_not_know_is_noted(cluster: DevCluster, tmp_path: Path) -> None:
    (tmp_path / "tuneloop.yaml").write_text(
        "clusters:\n"
        "  open: {executor: slurm, cpus: 1, partition: low}\n"
        "  wrong: {executor: slurm, cpus: 1, partition: low, limits: {minutes: 60}, account: nonesuch}\n"
        "  right: {executor: slurm, cpus: 1, partition: low, limits: {minutes: 20}, account: ours}\n"
        "  either: {executor: slurm, cpus: 1, partition: 'low,main'}\n"
    )
    user = cluster.call("id", "-un").strip()
    cluster.call("sacctmgr", "-i", "add", "account", "ours", check=False)
    cluster.call("sacctmgr", "-i", "add", "user", user, "account=ours", check=False)
    cluster.call("scontrol", "update", "PartitionName=low", "MaxTime=20")
    try:
        asked = {name: start(tmp_path, name, **cluster.env) for name in ("open", "wrong", "right", "either")}
        found = {name: end(process) for name, process in asked.items()}
        accounts = cluster.call(
            "sacctmgr", "-n", "-P", "show", "associations", f"user={user}", "format=Account"
        ).split()
    finally:
        cluster.call("scontrol", "update", "PartitionName=low", "MaxTime=UNLIMITED")
        cluster.call("sacctmgr", "-i", "delete", "user", user, "account=ours", check=False)
        cluster.call("sacctmgr", "-i", "delete", "account", "ours", check=False)
    assert {name: (told.code, told.faults) for name, told in found.items()} == dict.fromkeys(found, (0, {}))
    allows, mend = "partition low allows 20 min a job, and ", ": write `limits: {minutes: 20}`"
    assert found["open"].notes == [f"{allows}the profile names no `limits.minutes`{mend}"]
    foreign, limit = found["wrong"].notes
    assert foreign == f"`nonesuch` is not one of your accounts: {', '.join(accounts)}"
    assert limit == f"{allows}the profile allows 1 h{mend}"
    assert found["right"].notes == found["either"].notes == []


def test_a_folder_that_cannot_be_written_is_told_before_a_job_is_spent(cluster: DevCluster, tmp_path: Path) -> None:
    (tmp_path / "tuneloop.yaml").write_text("clusters: {p: {executor: slurm, cpus: 1}}\nexperiments: {root: /proc}\n")
    before = cluster.queue()
    found = end(start(tmp_path, "p", **cluster.env))
    assert (found.code, list(found.faults)) == (1, ["folder"]), found
    assert "`experiments.root`" in found.faults["folder"][1]
    assert {job for job in cluster.queue() if job not in before} == set()


def test_a_long_queue_is_no_fault(folder: Path, cluster: DevCluster) -> None:
    whole = cluster.sbatch("--exclusive", "--nodes=3", wrap="sleep 60")
    try:
        cluster.wait_state(whole, "RUNNING")
        found = end(start(folder, "good", "--timeout", "1", **cluster.env))
    finally:
        cluster.call("scancel", whole)
    assert (found.code, found.faults) == (5, {})
    assert found.waits
    cluster.wait_idle()  # its own job was taken back


def test_no_answer_and_no_tools_are_something_missing(folder: Path, cluster: DevCluster, tmp_path: Path) -> None:
    shim = tmp_path / "squeue"
    shim.write_text("#!/bin/sh\necho 'squeue: error: Unable to contact slurm controller' >&2\nexit 1\n")
    shim.chmod(0o755)
    found = end(start(folder, "good", PATH=f"{tmp_path}:{os.environ['PATH']}", **cluster.env))
    assert found.code == 3
    assert (
        found.faults["answer"][0] == "the scheduler does not answer: squeue: error: Unable to contact slurm controller"
    )
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "sh").symlink_to("/bin/sh")
    found = end(start(folder, "good", PATH=str(bare)))
    assert found.code == 3
    assert {"sbatch", "flock"} <= set(found.faults["tools"][0].replace(",", "").split())


def test_what_would_be_handed_over_is_shown_and_nothing_spent(folder: Path, cluster: DevCluster) -> None:
    before = cluster.queue()
    done = subprocess.run(
        command("cluster", "check", "good", "--dry-run"),
        cwd=folder, env=os.environ | cluster.env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "#SBATCH --gpus-per-node=1\n" in done.stdout
    assert """export A='it'"'"'s $HOME'""" in done.stdout
    assert done.stdout.endswith("nothing was handed over\n")
    assert set(cluster.queue()) <= set(before)


def test_a_remote_profile_is_proved_over_ssh(cluster: DevCluster, tmp_path: Path) -> None:
    settings = [f"SetEnv SLURM_CONF={cluster.env['SLURM_CONF']}"]
    with sshd.serving(tmp_path / "sshd", *settings) as daemon:
        (tmp_path / "tuneloop.yaml").write_text(
            f"clusters:\n  far: {{executor: slurm, cpus: 1, ssh: {sshd.HOST}, ssh_config: {json.dumps(str(daemon.config))}, "
            f"scratch: {json.dumps(str(tmp_path / 'scratch of mine'))}, python: {sys.executable}}}\n"
        )
        found = end(start(tmp_path, "far"))
        assert (found.code, list(found.faults)) == (1, ["folder"])
        message, hint = found.faults["folder"]
        assert message == f"there is no folder {tmp_path}/scratch of mine on {sshd.HOST}"
        assert not (tmp_path / "scratch of mine").exists()
        subprocess.run(["sh", "-c", hint.partition(", or make it: ")[2]], check=True)
        begun = time.monotonic()
        found = end(start(tmp_path, "far"))
        assert (found.code, found.faults) == (0, {}), time.monotonic() - begun
        assert list((tmp_path / "scratch of mine").iterdir()) == []
        daemon.stop()
        found = end(start(tmp_path, "far"))
    assert found.code == 3
    assert found.faults["answer"][0].startswith(f"no connection to `{sshd.HOST}`")
