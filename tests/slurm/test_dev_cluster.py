"""The development cluster: up, down, status; it ends what it started and nothing else."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import until
from slurm_cluster import SCRIPT, DevCluster, Place, may_limit_memory, script

_NOBODY = 65534


@pytest.fixture
def place(cluster: DevCluster) -> Iterator[Place]:
    """A place for a cluster of the test's own; the shared one has shown that the packages are there."""
    place = Place()
    try:
        yield place
    finally:
        script("down", "--purge", "--folder", place.folder)
        place.free()


def options(place: Place, *more: str) -> list[str]:
    """Return the options of a small and quick cluster in the place."""
    return ["--folder", str(place.folder), "--port", str(place.port), "--nodes", "1", "--no-accounting", *more]


def processes(folder: Path) -> dict[int, str]:
    """Return the program by pid of whatever lives with the cluster's folder in its environment."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str(folder).encode() + b"/slurm.conf\0" in (entry / "environ").read_bytes():
                found[int(entry.name)] = (entry / "comm").read_text().strip()
        except OSError:
            continue
    return found


def pids(place: Place) -> dict[str, int | None]:
    said = json.loads(script("status", "--json", "--folder", place.folder, check=False).stdout)
    return {daemon["name"]: daemon["pid"] for daemon in said["daemons"]}


def test_a_job_runs_is_accounted_and_holds_a_gpu(cluster: DevCluster, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    job = cluster.sbatch("--comment=gpu", "--gpus-per-node=2", wrap=f"echo $CUDA_VISIBLE_DEVICES >{seen}")
    cluster.wait_state(job, "COMPLETED")
    assert seen.read_text() == "0,1\n"
    rows = cluster.wait_accounted("gpu")
    assert [(row.job, row.state, row.started) for row in rows] == [(job, "COMPLETED", True)]


def test_memory_limits_leave_no_control_group(place: Place) -> None:
    if not may_limit_memory():
        pytest.skip("no control groups of version 1 that may be written")
    script("up", *options(place, "--memory-limits"))
    assert list(Path("/sys/fs/cgroup").glob(f"*/tuneloop-{place.port}"))
    script("down", "--folder", place.folder)
    assert list(Path("/sys/fs/cgroup").glob(f"*/tuneloop-{place.port}")) == []


def test_a_second_up_changes_nothing(place: Place) -> None:
    script("up", *options(place))
    before = pids(place)
    script("up", "--folder", place.folder)
    assert pids(place) == before
    assert all(before.values())


def test_up_starts_what_was_killed_and_status_tells_so(place: Place) -> None:
    script("up", *options(place))
    before = pids(place)
    script("stop", "slurmd:n1", "--kill", "--folder", place.folder)
    assert script("status", "--folder", place.folder, check=False).returncode == 1
    script("up", "--folder", place.folder)
    assert script("status", "--folder", place.folder, check=False).returncode == 0
    after = pids(place)
    assert after.pop("slurmd:n1") != before.pop("slurmd:n1")
    assert after == before


def test_other_options_are_remembered_and_take_effect(place: Place) -> None:
    script("up", *options(place))
    script("up", "--nodes", "2", "--min-job-age", "7", "--folder", place.folder)
    said = json.loads(script("status", "--json", "--folder", place.folder).stdout)
    assert [node["name"] for node in said["nodes"]] == ["n1", "n2"]
    assert said["settings"]["accounting"] is False
    surroundings = os.environ | {"SLURM_CONF": said["slurm_conf"]}
    shown = subprocess.run(["scontrol", "show", "config"], env=surroundings, check=True, capture_output=True)
    assert b"MinJobAge               = 7 sec" in shown.stdout


def test_the_printed_line_points_a_shell_at_the_cluster(place: Place) -> None:
    line = script("up", *options(place)).stdout
    shell = ["bash", "-c", f"{line}sinfo -h -p low -o %D"]
    assert subprocess.run(shell, capture_output=True, text=True, check=True).stdout == "1\n"


def listening() -> dict[int, set[str]]:
    """Return the addresses, as the kernel writes them, that something listens on by port."""
    found: dict[int, set[str]] = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            address, port = line.split()[1].split(":")
            if line.split()[3] == "0A":
                found.setdefault(int(port, 16), set()).add(address)
    return found


def beyond_loopback(cluster: DevCluster) -> dict[int, set[str]]:
    """Return what listens for the cluster on other addresses than 127.x; all its ports must be listened on."""
    ports = {daemon["port"] for daemon in cluster.status()["daemons"]} - {None}
    found = listening()
    assert ports
    assert ports <= found.keys()
    return {port: found[port] for port in ports if not all(address.endswith("7F") for address in found[port])}


def test_nothing_listens_beyond_loopback(cluster: DevCluster) -> None:
    assert beyond_loopback(cluster) == {}


@pytest.mark.slow
@pytest.mark.parametrize("names", ["192.0.2.1 HOST", "127.0.1.1 HOST", ""], ids=["interface", "debian", "nothing"])
def test_the_name_of_the_machine_may_stand_for_anything(place: Place, tmp_path: Path, names: str) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text(f"127.0.0.1 localhost\n{names.replace('HOST', socket.gethostname())}\n")
    inside = ["unshare", "--mount", "bash", "-ec", 'mount --bind "$0" /etc/hosts; "$@"', hosts]
    if subprocess.run([*inside, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("another /etc/hosts for a test needs a mount namespace")
    up = [*inside, SCRIPT, "up", *options(place, "--accounting")]
    done = subprocess.run(up, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    line = f"{done.stdout}sbatch --parsable --wait -o /dev/null --wrap 'srun true'"
    assert subprocess.run([*inside, "bash", "-c", line], check=True, capture_output=True, text=True).stdout == "1\n"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DevCluster, "up", lambda self: None)  # it is up, and in another place than ours
        assert beyond_loopback(DevCluster(place)) == {}


def test_down_ends_jobs_and_daemons_and_purge_leaves_no_trace(place: Place) -> None:
    script("up", *options(place))
    cluster = DevCluster(place)
    job = cluster.sbatch(wrap="sleep 1000 & sleep 1000")
    cluster.wait_state(job, "RUNNING")
    until(lambda: "slurmstepd" in processes(place.folder).values(), what="the job's first step")
    script("down", "--folder", place.folder)
    assert processes(place.folder) == {}
    assert script("status", "--folder", place.folder, check=False).returncode == 3
    cluster.up()
    assert cluster.state(job) == "CANCELLED"
    script("down", "--purge", "--folder", place.folder)
    assert not place.folder.exists()


def test_down_ends_what_a_lost_node_and_a_lost_controller_left_running(place: Place) -> None:
    script("up", *options(place))
    cluster = DevCluster(place)
    cluster.wait_state(cluster.sbatch(wrap="setsid sleep 1000 & sleep 1000"), "RUNNING")
    until(lambda: "sleep" in processes(place.folder).values(), what="the job's process")
    for daemon in ("slurmd:n1", "slurmctld"):
        cluster.stop(daemon, kill=True)
    steps = [pid for pid, name in processes(place.folder).items() if name == "slurmstepd"]
    for pid in steps:
        os.kill(pid, signal.SIGKILL)
    assert steps
    assert "sleep" in processes(place.folder).values()
    script("down", "--folder", place.folder)
    assert processes(place.folder) == {}


def test_a_foreign_process_under_the_pid_of_a_daemon_lives_on(place: Place, tmp_path: Path) -> None:
    """Neither another program nor the same program of somebody else is taken for ours."""
    script("up", *options(place))
    program = tmp_path / "slurmd"
    shutil.copy(shutil.which("sleep") or "", program)
    for argv in (["sleep", "1000"], [program, "1000"]):
        with subprocess.Popen(argv) as foreign:
            script("stop", "slurmd:n1", "--kill", "--folder", place.folder)
            (place.folder / "run" / "slurmd-n1.pid").write_text(f"{foreign.pid}\n")
            script("up", "--folder", place.folder)
            assert pids(place)["slurmd:n1"] not in (foreign.pid, None)
            (place.folder / "run" / "slurmd-n1.pid").write_text(f"{foreign.pid}\n")
            script("down", "--folder", place.folder)
            assert foreign.poll() is None
            foreign.kill()
        assert processes(place.folder) == {}


def test_a_shell_that_points_at_the_cluster_outlives_it(place: Place) -> None:
    script("up", *options(place))
    shell = os.environ | {"SLURM_CONF": f"{place.folder}/slurm.conf"}
    with subprocess.Popen(["sleep", "1000"], env=shell) as foreign:
        script("down", "--purge", "--folder", place.folder)
        assert foreign.poll() is None
        foreign.kill()


def test_clusters_side_by_side_do_not_touch_each_other(cluster: DevCluster, place: Place) -> None:
    before = cluster.status()
    job = cluster.sbatch(wrap="sleep 1000")
    cluster.wait_state(job, "RUNNING")
    script("up", *options(place))
    assert json.loads(script("status", "--json", "--folder", place.folder).stdout)["state"] == "up"
    script("down", "--purge", "--folder", place.folder)
    assert cluster.status()["daemons"] == before["daemons"]
    assert cluster.state(job) == "RUNNING"
    cluster.cancel_all()


def test_a_lost_nodes_job_goes_on_and_is_requeued(cluster: DevCluster, tmp_path: Path) -> None:
    line = f"echo $SLURM_RESTART_COUNT $$ >>{tmp_path}/starts; while [ ! -e {tmp_path}/end ]; do sleep 0.1; done"
    job = cluster.sbatch("--comment=lost", "--nodelist=n2", wrap=line)
    cluster.wait_state(job, "RUNNING")
    until((tmp_path / "starts").exists, what="the job's first line")
    pid = int((tmp_path / "starts").read_text())
    cluster.node_down("n2")
    assert Path(f"/proc/{pid}").exists()
    assert cluster.state(job) == "PENDING"
    (tmp_path / "end").touch()
    cluster.node_up("n2")
    cluster.wait_state(job, "COMPLETED")
    cluster.wait_accounted("lost", 2)
    assert cluster.starts("lost") == 2


def test_a_job_that_uses_too_much_memory_is_out_of_memory(cluster: DevCluster) -> None:
    if not cluster.limits_memory:
        pytest.skip("no control groups of version 1 that may be written")
    hungry = cluster.sbatch("--comment=hungry", "--mem=50", wrap="python3 -c 'bytearray(200_000_000)'")
    modest = cluster.sbatch("--mem=50", wrap="python3 -c 'bytearray(2_000_000)'")
    cluster.wait_state(hungry, "OUT_OF_MEMORY")
    cluster.wait_state(modest, "COMPLETED")
    assert [(row.state, row.exit_code) for row in cluster.wait_accounted("hungry")] == [("OUT_OF_MEMORY", "0:125")]


def test_a_cancelled_job_that_never_began_has_no_start(cluster: DevCluster) -> None:
    first = cluster.sbatch("--nodelist=n1", "--exclusive", wrap="sleep 1000")
    cluster.wait_state(first, "RUNNING")
    second = cluster.sbatch("--comment=never", "--nodelist=n1", "--exclusive", wrap="sleep 1000")
    cluster.wait_state(second, "PENDING")
    cluster.cancel_all()
    assert [row.job for row in cluster.wait_accounted("never")] == [second]
    assert cluster.starts("never") == 0


def test_a_stopped_daemon_is_stopped_and_comes_back(cluster: DevCluster) -> None:
    with cluster.stopped("slurmdbd"):
        cluster.call("squeue")
        with pytest.raises(AssertionError, match="Connection refused"):
            cluster.accounting_rows("any")
    with cluster.stopped("slurmctld", kill=True):
        assert cluster.status()["state"] == "partly"
    assert cluster.accounting_rows("no such job") == []
    until(lambda: cluster.status()["state"] == "up", what="the nodes' registration")


def test_without_accounting_sacct_says_that_it_is_disabled(bare_cluster: DevCluster) -> None:
    bare_cluster.wait_state(bare_cluster.sbatch(wrap="true"), "COMPLETED")
    with pytest.raises(AssertionError, match="accounting storage is disabled"):
        bare_cluster.accounting_rows("any")


def kill_up(place: Place, trace: str, *more: str) -> None:
    """Start `up` and kill it as soon as it has left the trace in the folder; what it had started lives on."""
    with subprocess.Popen([SCRIPT, "up", *options(place, *more)], stderr=subprocess.DEVNULL) as victim:
        while not (place.folder / trace).exists():  # no pause: the next trace comes within milliseconds
            assert victim.poll() is None, trace
        victim.kill()


@pytest.mark.slow
@pytest.mark.parametrize("trace", ["lock", "settings.json", "slurm.conf", "run/munged.pid", "run/slurmctld.pid"])
def test_up_killed_anywhere_can_be_followed_by_up_or_by_down(place: Place, trace: str) -> None:
    for verbs in (["up", "down"], ["down"]):
        kill_up(place, trace)
        _finish(place, verbs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trace", "verbs"),
    [
        ("database.new/mysql", ["up", "down"]),
        ("database.new/mysql", ["down"]),
        ("run/mariadbd.pid", ["down"]),
        ("run/slurmdbd.pid", ["up", "down"]),
    ],
)
def test_up_killed_while_accounting_is_made_can_be_followed_too(place: Place, trace: str, verbs: list[str]) -> None:
    kill_up(place, trace, "--accounting")
    _finish(place, verbs)


def _finish(place: Place, verbs: list[str]) -> None:
    for verb in verbs:
        script(verb, "--folder", place.folder, *(["--port", str(place.port)] if verb == "up" else ["--purge"]))
        state = script("status", "--folder", place.folder, check=False).returncode
        assert state == {"up": 0, "down": 3}[verb]
    assert processes(place.folder) == {}
    assert not place.folder.exists()


def test_down_killed_at_any_moment_can_be_followed_by_up_or_by_down(place: Place) -> None:
    for moment in (0.1, 0.15, 0.2, 0.3, 0.6):
        script("up", *options(place))
        with subprocess.Popen([SCRIPT, "down", "--purge", "--folder", place.folder]) as victim:
            time.sleep(moment)
            victim.kill()
    script("up", *options(place))
    script("down", "--purge", "--folder", place.folder)
    assert processes(place.folder) == {}
    assert not place.folder.exists()


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else; for others, all tests are this one")
def test_a_person_who_is_not_root_has_a_cluster_too(place: Place) -> None:
    with tempfile.TemporaryDirectory(prefix="tl-", dir="/tmp") as text:
        root = Path(text)
        shutil.copytree(SCRIPT.parent, root / "scripts")
        (root / "home").mkdir()
        os.chown(root / "home", _NOBODY, _NOBODY)
        root.chmod(0o755)
        person = {"user": _NOBODY, "group": _NOBODY, "extra_groups": [], "cwd": root / "home"}
        argv = ["/usr/bin/env", "PYTHONDONTWRITEBYTECODE=1", "PATH=/usr/bin:/bin", root / "scripts/slurm-dev-cluster"]
        where = ["--folder", str(root / "home/c")]
        done = subprocess.run(
            [*argv, "up", *options(place), *where, "--accounting"],
            **person,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        line = f"{done.stdout}sbatch --wait -o job.out --gpus-per-node=1 --wrap 'id -u' && cat job.out"
        said = subprocess.run(["bash", "-c", line], **person, check=False, capture_output=True, text=True)
        assert said.stdout.splitlines()[-1:] == [str(_NOBODY)], said
        subprocess.run([*argv, "down", *where], **person, check=True, capture_output=True)
        assert processes(root / "home/c") == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--name", "Two Words"], "small letters"),
        (["--port", "80"], "--port 80"),
        (["--nodes", "0", "--kill-wait", "0"], "--kill-wait 0: at least 1"),
        (["--folder", "/tmp/it's"], "letters, digits"),
        (["--folder", "/tmp/" + "x" * 100], "at most 90 characters"),
    ],
)
def test_options_that_a_config_cannot_carry_are_refused(arguments: list[str], message: str) -> None:
    done = script("up", *arguments, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert "hint:" in done.stderr


def test_somebody_elses_folder_is_neither_used_nor_removed(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        (Path(folder) / "thesis.tex").write_text("years of work")
        for verb in (["up"], ["down", "--purge"], ["status"]):
            done = script(*verb, "--folder", folder, check=False)
            assert done.returncode == 2, done.stderr
        assert [path.name for path in Path(folder).iterdir()] == ["thesis.tex"]


@contextmanager
def taken(port: int) -> Iterator[None]:
    """Let something else listen on a port."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        yield


def test_a_port_that_is_taken_is_named_and_nothing_is_left(place: Place) -> None:
    with taken(place.port):
        done = script("up", *options(place), check=False)
    assert done.returncode == 4
    assert f"port {place.port}, of slurmctld, is taken" in done.stderr
    assert processes(place.folder) == {}
    assert not place.folder.exists()


def test_an_up_that_fails_leaves_what_ran_before(place: Place) -> None:
    script("up", *options(place))
    script("stop", "slurmctld", "--folder", place.folder)
    script("stop", "slurmd:n1", "--folder", place.folder)
    before = pids(place)
    with taken(place.port + 11):  # where the node listens: slurmctld is started before
        assert script("up", "--folder", place.folder, check=False).returncode == 4
    assert pids(place) == before
    assert before["munged"]
    script("up", "--folder", place.folder)


def test_options_with_which_up_failed_are_not_remembered(place: Place) -> None:
    script("up", *options(place))
    with taken(place.port + 50):
        assert script("up", "--port", str(place.port + 50), "--folder", place.folder, check=False).returncode == 4
    assert processes(place.folder) == {}
    script("up", "--folder", place.folder)
    assert json.loads(script("status", "--json", "--folder", place.folder).stdout)["settings"]["port"] == place.port


def test_a_daemon_that_does_not_come_up_leaves_its_log(place: Place, tmp_path: Path) -> None:
    (tmp_path / "munged").write_text("#!/bin/sh\necho no entropy >&2\nexit 1\n")
    (tmp_path / "munged").chmod(0o755)
    done = script("up", *options(place), check=False, env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert done.returncode == 1
    assert "munged did not come up\nno entropy" in done.stderr
    assert (place.folder / "log" / "munged.err").read_text() == "no entropy\n"
    assert processes(place.folder) == {}
    script("up", "--folder", place.folder)


def test_missing_packages_are_named_with_the_line_that_installs_them(tmp_path: Path) -> None:
    # A PATH with Python alone; what Debian keeps in /usr/sbin is looked for there whatever PATH says.
    (tmp_path / "python3").symlink_to(sys.executable)
    argv = [sys.executable, SCRIPT, "up", "--folder", "/tmp/never"]
    done = subprocess.run(argv, env={"PATH": str(tmp_path)}, check=False, capture_output=True)
    assert done.returncode == 3
    assert b"apt-get install --no-install-recommends" in done.stderr
    assert b"slurm-client" in done.stderr
    assert not Path("/tmp/never").exists()
