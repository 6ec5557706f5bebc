"""Starting and ending the daemons of a cluster, and never anything else.

A daemon is known by its pid file, by the program that runs under that pid, and by a variable of its
environment that names the cluster's folder. All three must agree before it is signalled.
"""

import errno
import fcntl
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dev_cluster.settings import ClusterError, SilentError

_MARK = "TUNELOOP_DEV_CLUSTER"
_PATIENCE = 60  # seconds to wait for another call on the same cluster


def environment(folder: Path) -> dict[str, str]:
    """Return what daemons and SLURM's commands see: nothing of the caller's shell but where programs are."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "LANG": "C.UTF-8",
        "SLURM_CONF": f"{folder}/slurm.conf",
        _MARK: str(folder),
    }


@contextmanager
def held(folder: Path) -> Iterator[int]:
    """Hold the cluster for one change; yield the lock, for processes that must end before the next change."""
    end = time.monotonic() + _PATIENCE
    while True:
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # `down --purge` may have removed the file between the two lines above.
            if os.fstat(lock).st_ino == (folder / "lock").stat().st_ino:
                break
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(lock)
        if time.monotonic() > end:
            raise ClusterError(f"another call is at work on {folder}", "try again when it has ended", 4)
        time.sleep(0.05)
    try:
        yield lock
    finally:
        os.close(lock)


def call(folder: Path, *argv: str, seconds: float = 10, lock: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, in the cluster's folder; one that is too slow counts as failed."""
    keep = () if lock is None else (lock,)
    try:
        return subprocess.run(
            argv,
            check=False,
            capture_output=True,
            text=True,
            timeout=seconds,
            cwd=folder,
            env=environment(folder),
            pass_fds=keep,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(argv, 124, "", f"no answer in {seconds:g} s")


def pid_file(folder: Path, name: str) -> Path:
    return folder / "run" / f"{name.replace(':', '-')}.pid"


def _program(file: Path) -> str:
    """Return the program of a pid file: `slurmd-n3.pid` is one of the slurmd."""
    return file.stem.partition("-")[0]


def running(folder: Path, name: str) -> int | None:
    """Return the pid of the daemon when it runs and nobody has begun to end it."""
    return _alive(pid_file(folder, name), folder)


def _alive(file: Path, folder: Path) -> int | None:
    try:
        pid = int(file.read_text())
    except (OSError, ValueError):
        return None
    return pid if _is(pid, {_program(file)}, f"{_MARK}={folder}") else None


def _is(pid: int, programs: set[str], *variables: str) -> bool:
    """Tell whether one of the programs lives under the pid, with all these variables; a zombie has none."""
    try:
        if Path(f"/proc/{pid}/comm").read_text().strip() not in programs:
            return False
        return set(variables) <= set(Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0"))
    except OSError:
        return False


def start(folder: Path, name: str, argv: list[str], port: int | None, prepare: Callable[[], None]) -> None:
    """Start a daemon that stays in the foreground; the caller holds the cluster's lock.

    `port` is where it listens, if anywhere; `prepare` is called in the child before it becomes the daemon.
    """
    if port is not None and _taken(port):
        raise ClusterError(f"port {port}, of {name}, is taken", "choose other ports with --port", 4)
    file = pid_file(folder, name)

    def begin() -> None:
        file.write_text(f"{os.getpid()}\n")
        prepare()

    with (folder / "log" / f"{name.replace(':', '-')}.err").open("ab") as log:
        # The pid is written in the child before it becomes the daemon, and until then the child holds the
        # cluster's lock, too: killed at any point, we leave no daemon that the next call cannot find.
        subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment(folder),
            start_new_session=True,
            preexec_fn=begin,  # noqa: PLW1509 (there is one thread)
        )


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def wait_ready(folder: Path, name: str, ready: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until the daemon answers; raise ClusterError with what it said when it ends or stays silent."""
    end = time.monotonic() + seconds
    while not ready():
        if running(folder, name) is None or time.monotonic() > end:
            raise SilentError(f"{name} did not come up\n{_last_words(folder, name)}", f"read {folder}/log")
        time.sleep(0.02)


def _last_words(folder: Path, name: str) -> str:
    stem = name.replace(":", "-")
    lines = [
        line
        for path in (folder / "log" / f"{stem}.err", folder / "log" / f"{stem}.log")
        if path.exists()
        for line in path.read_text(errors="replace").splitlines()[-4:]
    ]
    return "\n".join(lines)


def end(folder: Path, names: Iterable[str], *, kill: bool = False) -> None:
    """End the daemons that run, all at once."""
    for name in names:
        file = pid_file(folder, name)
        with suppress(FileNotFoundError):
            file.rename(file.with_suffix(".ending"))
    end_begun(folder, kill=kill)


def end_begun(folder: Path, *, kill: bool = False, seconds: float = 8) -> None:
    """End what this or an earlier call, which was killed, has begun to end: SIGTERM, after `seconds` SIGKILL."""
    files = {file: _alive(file, folder) for file in (folder / "run").glob("*.ending")}
    _end({pid: {_program(file)} for file, pid in files.items() if pid is not None}, kill, seconds)
    for file in files:
        file.unlink()


def end_rest(folder: Path, node_daemons: set[str]) -> None:
    """End what no pid file names: daemons of this cluster, what runs its jobs' steps, and the jobs' processes."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError):
            found[int(entry.name)] = {(entry / "comm").read_text().strip()}
    ours = {pid: names for pid, names in found.items() if _is(pid, names & node_daemons, f"{_MARK}={folder}")}
    _end(ours, kill=True, seconds=5)
    jobs = {pid: names for pid, names in found.items() if _of_job(pid, names, folder)}
    _end(jobs, kill=True, seconds=5)


def _of_job(pid: int, names: set[str], folder: Path) -> bool:
    """Tell whether a job of this cluster started the process, by the variables that slurmd sets."""
    if not _is(pid, names, f"SLURM_CONF={folder}/slurm.conf"):
        return False
    with suppress(OSError):
        return b"\0SLURMD_NODENAME=" in b"\0" + Path(f"/proc/{pid}/environ").read_bytes()
    return False


def _end(pids: dict[int, set[str]], kill: bool, seconds: float) -> None:
    handles = []
    for pid, names in pids.items():
        with suppress(ProcessLookupError):
            handle = os.pidfd_open(pid)
            handles.append(handle)
            # Asked again now that the handle stands for this process and no later one of the same pid.
            if not _is(pid, names):
                continue
            signal.pidfd_send_signal(handle, signal.SIGKILL if kill else signal.SIGTERM)
    end = time.monotonic() + seconds
    for handle in handles:
        if not _ended(handle, end - time.monotonic()):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            _ended(handle, 5)
        os.close(handle)


def _ended(handle: int, seconds: float) -> bool:
    """Wait for the process to end: that is when its handle becomes readable."""
    return bool(select.select([handle], [], [], max(seconds, 0))[0])
