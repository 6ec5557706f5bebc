"""A real sshd on loopback with keys of its own, for the user who runs the tests; it can be stopped and frozen."""

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import places

HOST = "cluster"
_PROGRAMS = {"sshd": "openssh-server", "ssh": "openssh-client", "ssh-keygen": "openssh-client", "rsync": "rsync"}
_SECONDS = 20  # for a daemon to answer


class Sshd:
    """A daemon with its files in `folder`; `config` is what a client needs to reach it as `cluster`."""

    def __init__(self, folder: Path, *settings: str) -> None:
        """`settings` are lines of sshd_config that this daemon has besides."""
        self.folder, self.port = folder, _free_port()
        self.config, self.key = folder / "client's config", folder / "client key"
        self._process: subprocess.Popen[bytes] | None = None
        for key in (self.key, folder / "host_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        (folder / "authorized_keys").write_text(self.key.with_suffix(".pub").read_text())
        host_key = (folder / "host_key.pub").read_text()
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {host_key}")
        (folder / "sshd_config").write_text("\n".join([*self._server_lines(), *settings, ""]))
        self.config.write_text("\n".join([*self._client_lines(), ""]))

    def start(self) -> None:
        """Start the daemon and return when it accepts connections."""
        if os.geteuid() == 0:  # where the package's own service has not made it yet
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        argv = [_path("sshd"), "-D", "-e", "-f", str(self.folder / "sshd_config")]
        with (self.folder / "sshd.log").open("ab") as log:
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + _SECONDS
        while not self._answers():
            said = (self.folder / "sshd.log").read_text()
            assert self._process.poll() is None, f"sshd does not start: {said}"
            assert time.monotonic() < end, f"sshd does not answer: {said}"
            time.sleep(0.02)

    def stop(self) -> None:
        """End the daemon and its connections at once; what runs in them is left alone, as where a network fails."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Keep the daemon and its connections from answering; the kernel goes on accepting for it."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def processes(self) -> list[int]:
        """Return the daemon and its connections."""
        assert self._process is not None, "sshd was not started"
        return [self._process.pid, *(pid for pid in _descendants(self._process.pid) if _name(pid) == "sshd")]

    def _signal(self, number: int) -> None:
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
            return probe.recv(4) == b"SSH-"
        return False

    def _server_lines(self) -> list[str]:
        return [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {_quoted(self.folder / 'host_key')}",
            f"AuthorizedKeysFile {_quoted(self.folder / 'authorized_keys')}",
            f"AllowUsers {getpass.getuser()}",
            "PermitRootLogin prohibit-password",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "UsePAM no",
            "StrictModes no",
            "PidFile none",
        ]

    def _client_lines(self) -> list[str]:
        return [
            f"Host {HOST}",
            "HostName 127.0.0.1",
            f"Port {self.port}",
            f"User {getpass.getuser()}",
            f"IdentityFile {_quoted(self.key)}",
            "IdentitiesOnly yes",
            "IdentityAgent none",
            f"UserKnownHostsFile {_quoted(self.folder / 'known_hosts')}",
            "GlobalKnownHostsFile /dev/null",
        ]


@contextlib.contextmanager
def serving(folder: Path, *settings: str) -> Iterator[Sshd]:
    """Yield a started daemon and end it afterwards. Skips the test where its packages are not installed."""
    absent = sorted({package for program, package in _PROGRAMS.items() if _path(program) is None})
    if absent:
        places.missing("slurm", f"not installed: {' '.join(absent)}")
    folder.mkdir(parents=True, exist_ok=True)
    daemon = Sshd(folder, *settings)
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.stop()


def _descendants(pid: int) -> list[int]:
    """Return the children of a process, theirs, and so on, as they are now."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [child, *_descendants(child)]
    return found


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def _path(program: str) -> str | None:
    """Return where a program is; sshd wants to be started by its whole path, which few people have on theirs."""
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/local/sbin:/usr/sbin:/sbin")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _quoted(path: Path) -> str:
    return f'"{path}"'
