"""Bringing a cluster up, ending it, and saying what runs."""

import dataclasses
import os
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from dev_cluster import loopback, memory
from dev_cluster.processes import call, end, end_begun, end_rest, held, running, start, wait_ready
from dev_cluster.settings import ClusterError, Settings, SilentError, check_folder, chosen, load, save
from dev_cluster.texts import texts, user_name

_PACKAGES = {"munged": "munge", "slurmctld": "slurmctld", "slurmd": "slurmd", "sbatch": "slurm-client"}
_ACCOUNTING_PACKAGES = {"slurmdbd": "slurmdbd", "mariadbd": "mariadb-server", "mariadb-install-db": "mariadb-server"}
_SERVING = {"idle", "mix", "alloc", "comp"}
# What succeeds once a daemon answers.
_ANSWERS = {
    "munged": ("munge", "-n", "-S", "munge/socket"),
    "slurmdbd": ("sacctmgr", "-n", "list", "cluster"),
    "slurmctld": ("scontrol", "ping"),
}
# Run by the database at each start, before it listens.
_SQL = """\
create database if not exists slurm;
create user if not exists 'slurm'@'127.0.0.1' identified by 'slurm';
grant all on slurm.* to 'slurm'@'127.0.0.1';
"""


def daemons(settings: Settings) -> list[str]:
    """Return the names of the daemons, in the order in which they start."""
    accounting = ["mariadbd", "slurmdbd"] if settings.accounting else []
    return ["munged", *accounting, "slurmctld", *(f"slurmd:{name}" for name in settings.node_names)]


def up(folder: Path, options: dict[str, Any]) -> Settings:
    """Start what does not run. Other options than before end the jobs and start all of it anew.

    What fails ends again what it had started, and leaves no new folder but where a log in it says why.
    """
    check_folder(folder)
    settings = chosen(load(folder), options)
    _check_machine(settings)
    made = not folder.exists()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with held(folder) as lock:
        before = load(folder)
        if before not in (None, settings):
            _end_all(folder, before)
            if before.name != settings.name:  # slurmctld refuses the state of a cluster of another name
                shutil.rmtree(folder / "state")
        end_begun(folder)
        ran = {name for name in daemons(settings) if running(folder, name) is not None}
        try:
            _bring_up(folder, settings, lock)
        except BaseException as error:
            _end_started(folder, settings, ran)
            if before is not None:
                save(folder, before)
            elif not isinstance(error, SilentError):
                _remove(folder, whole=made)
            raise
    return settings


def _bring_up(folder: Path, settings: Settings, lock: int) -> None:
    save(folder, settings)
    _write(folder, settings)
    for name in daemons(settings):
        _start(folder, settings, name, lock)
    _wait_nodes(folder, settings)


def down(folder: Path, purge: bool) -> bool:
    """End the jobs and what `up` started; with `purge` remove the folder. Tell whether there was a cluster."""
    check_folder(folder)
    if not folder.exists():
        return False
    with held(folder):
        settings = load(folder)
        if settings is not None:
            _end_all(folder, settings)
        if purge:
            _remove(folder, whole=True)
    return settings is not None


def stop(folder: Path, name: str, kill: bool) -> None:
    """End one daemon; what its node's jobs have started goes on."""
    _known(folder, name)
    with held(folder):
        end(folder, [name], kill=kill)


def resume(folder: Path, name: str) -> None:
    """Start one daemon that was stopped."""
    settings = _known(folder, name)
    with held(folder) as lock:
        end_begun(folder)
        _start(folder, settings, name, lock)


def status(folder: Path) -> dict[str, Any]:
    """Return what runs. Reads only."""
    check_folder(folder)
    settings = load(folder)
    found: dict[str, Any] = {"schema": "tuneloop.dev-cluster/1", "folder": str(folder), "state": "absent"}
    if settings is None:
        return found
    pids = {name: running(folder, name) for name in daemons(settings)}
    nodes = _node_states(folder) if pids["slurmctld"] else {}
    serving = len(nodes) == settings.nodes and set(nodes.values()) <= _SERVING
    state = "down" if not any(pids.values()) else "up" if all(pids.values()) and serving else "partly"
    return found | {
        "state": state,
        "slurm_conf": f"{folder}/slurm.conf",
        "settings": dataclasses.asdict(settings),
        "daemons": [{"name": name, "pid": pid, "port": settings.ports.get(name)} for name, pid in pids.items()],
        "nodes": [{"name": name, "state": state} for name, state in nodes.items()],
    }


def _known(folder: Path, name: str) -> Settings:
    check_folder(folder)
    settings = load(folder)
    if settings is None:
        raise ClusterError(f"there is no cluster in {folder}", "`slurm-dev-cluster up` makes one", 3)
    if name not in daemons(settings):
        raise ClusterError(f"no daemon {name!r}", f"one of {', '.join(daemons(settings))}", 2)
    return settings


def _check_machine(settings: Settings) -> None:
    packages = _PACKAGES | (_ACCOUNTING_PACKAGES if settings.accounting else {})
    missing = dict.fromkeys(package for name, package in packages.items() if shutil.which(name) is None)
    if missing:
        line = f"apt-get install --no-install-recommends {' '.join(missing)}"
        raise ClusterError(f"missing: {', '.join(missing)}", line, 3)
    if settings.memory_limits:
        memory.check()


def _write(folder: Path, settings: Settings) -> None:
    for name in ("munge", "state", "spool", "log", "run"):
        (folder / name).mkdir(exist_ok=True)
    for name in settings.node_names:
        (folder / "spool" / name).mkdir(exist_ok=True)
    if settings.memory_limits:
        memory.make_groups(folder, settings.port)
    key = folder / "munge" / "key"
    if not key.exists():
        _put(key, os.urandom(128))
    for name, text in texts(folder, settings).items():
        _put(folder / name, text.encode())
    (folder / "mail").chmod(0o700)


def _put(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, for our eyes only."""
    beside = path.with_name(f"{path.name}.new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        file.write(content)
    beside.rename(path)


def _start(folder: Path, settings: Settings, name: str, lock: int) -> None:
    """Start a daemon unless it runs, and wait until it answers; the slurmd are waited for together."""
    if running(folder, name) is None:
        if name == "mariadbd":
            _make_database(folder, lock)
        if name == "munged":  # it does not start over the socket of one that was killed
            (folder / "munge" / "socket").unlink(missing_ok=True)
        _launch(folder, settings, name)
    # One that runs may have been started a moment ago, by a call that was killed.
    if name == "mariadbd":
        wait_ready(folder, name, lambda: _listens(folder / "database.socket"))
    elif name in _ANSWERS:
        wait_ready(folder, name, lambda: call(folder, *_ANSWERS[name]).returncode == 0)
    if name == "slurmdbd":
        call(folder, "sacctmgr", "-i", "-Q", "add", "cluster", settings.name)  # fails where it is known already


def _launch(folder: Path, settings: Settings, name: str) -> None:
    def prepare() -> None:
        if name.startswith("slurm") and loopback.needs_hosts():
            loopback.show(folder / "hosts")

    try:
        start(folder, name, _argv(folder, settings, name), settings.ports.get(name), prepare)
    except subprocess.SubprocessError:
        host = loopback.host()
        message = f"the name of this machine, {host}, does not stand for 127.0.0.1, and {name} would listen elsewhere"
        hint = f"be root outside of a container, or put `127.0.0.1 {host}` first in /etc/hosts"
        raise ClusterError(message, hint, 3) from None


def _argv(folder: Path, settings: Settings, name: str) -> list[str]:
    """Return the command of a daemon, in the foreground."""
    if name == "munged":
        files = [f"--{key}-file={folder}/{path}" for key, path in _MUNGE_FILES.items()]
        return ["munged", "--foreground", "--force", "--num-threads=2", f"--socket={folder}/munge/socket", *files]
    if name == "mariadbd":
        where = [f"--datadir={folder}/database", f"--socket={folder}/database.socket", f"--init-file={folder}/init.sql"]
        port = f"--port={settings.ports[name]}"
        user = f"--user={user_name()}"  # it refuses to be root by accident
        return ["mariadbd", *_DATABASE, user, *where, "--bind-address=127.0.0.1", port, "--skip-name-resolve"]
    kind, _, node = name.partition(":")
    return [kind, "-D", *(["-N", node] if node else [])]


_MUNGE_FILES = {"key": "munge/key", "pid": "munge/pid", "log": "log/munged.log", "seed": "munge/seed"}
# The sizes and the lock time that slurmdbd asks for; what a crash of the machine loses does not matter here.
_DATABASE = [
    "--no-defaults",
    "--innodb-buffer-pool-size=64M",
    "--innodb-log-file-size=16M",
    "--innodb-lock-wait-timeout=900",
    "--innodb-flush-log-at-trx-commit=0",
]


def _make_database(folder: Path, lock: int) -> None:
    """Make the data folder beside its place. Should we be killed, what goes on making it holds the lock."""
    _put(folder / "init.sql", _SQL.encode())
    if (folder / "database").exists():
        return
    beside, temporary = folder / "database.new", folder / "database.tmp"
    shutil.rmtree(beside, ignore_errors=True)
    temporary.mkdir(exist_ok=True)  # in a common one, two clusters that are made at once meet under one name
    made = call(
        folder, "mariadb-install-db", *_DATABASE, f"--user={user_name()}", f"--datadir={beside}",
        f"--tmpdir={temporary}", "--skip-test-db", "--auth-root-authentication-method=normal", seconds=120, lock=lock,
    )  # fmt: skip
    if made.returncode != 0:
        raise ClusterError(f"mariadb-install-db failed\n{(made.stdout + made.stderr).strip()[-400:]}")
    beside.rename(folder / "database")


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def _node_states(folder: Path) -> dict[str, str]:
    said = call(folder, "sinfo", "-h", "-N", "-p", "main", "-o", "%N %t")
    return dict(line.split() for line in said.stdout.splitlines())


def _wait_nodes(folder: Path, settings: Settings, seconds: float = 30) -> None:
    """Wait until all nodes serve; one that an earlier life left down or drained is put back."""
    begun = time.monotonic()
    while True:
        states = _node_states(folder)
        waited = [name for name in settings.node_names if states.get(name) not in _SERVING]
        if not waited:
            return
        if time.monotonic() - begun > seconds:
            told = ", ".join(f"{name} {states.get(name, 'unknown')}" for name in waited)
            raise SilentError(f"nodes that do not serve: {told}", f"read {folder}/log")
        if time.monotonic() - begun > 1:
            call(folder, "scontrol", "update", f"nodename={','.join(waited)}", "state=resume")
        time.sleep(0.05)


def _end_all(folder: Path, settings: Settings) -> None:
    """End jobs first, so that SLURM records their end, then the daemons in the order opposite to their start."""
    if running(folder, "slurmctld") is not None:
        _cancel_jobs(folder, settings.kill_wait + 5)
    _end_started(folder, settings, set())


def _end_started(folder: Path, settings: Settings, ran: set[str]) -> None:
    """End the daemons but those that ran before; where none did, all else of the cluster, too."""
    names = [name for name in daemons(settings) if name not in ran]
    end(folder, [name for name in names if name.startswith("slurmd:")])
    for name in reversed([name for name in names if not name.startswith("slurmd:")]):
        end(folder, [name])
    if ran:
        return
    end_rest(folder, {"munged", "mariadbd", "slurmdbd", "slurmctld", "slurmscriptd", "slurmd", "slurmstepd"})
    if settings.memory_limits:
        memory.remove_groups(settings.port)


def _cancel_jobs(folder: Path, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        jobs = sorted(set(call(folder, "squeue", "-h", "-o", "%A").stdout.split()))
        if not jobs:
            return
        call(folder, "scancel", "-Q", *jobs[:1000])
        time.sleep(0.1)


def _remove(folder: Path, whole: bool) -> None:
    """Remove what is in the folder, and it, if `whole`; to the last moment it can be told for ours, and is locked."""
    for path in folder.iterdir():
        if path.name in ("settings.json", "lock"):
            continue
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    (folder / "settings.json").unlink(missing_ok=True)
    (folder / "lock").unlink()
    with suppress(OSError):  # another call has just made its lock anew
        if whole:
            folder.rmdir()
