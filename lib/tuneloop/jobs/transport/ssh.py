"""The transport over OpenSSH: one connection for all commands, opened by the first and kept for a while.

What is run is never on a command line of ours, nor of the login shell there: it travels on the standard input, where
nobody but the two ends reads it, of whatever kind the login shell is.
"""

import hashlib
import math
import os
import posixpath
import re
import secrets
import stat
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tuneloop.documents.errors import FailedError, InputError, MissingError, Problem, UnreachableError
from tuneloop.documents.files import read_bytes
from tuneloop.documents.shell import quote
from tuneloop.jobs.transport import copies
from tuneloop.jobs.transport.processes import (
    FIXED,
    KEPT,
    LEAKS,
    NOTHING,
    Called,
    Ended,
    checked,
    clean_environment,
    decoded,
    encoded,
    run,
)

# The same words for every shell that a person may log in with. `read` takes the first line of the input and no more,
# so the rest of it is the command's.
_ENTRY = """exec sh -c 'IFS= read -r line && eval "$line"'"""

_SCRUB = (
    f"for name in $(env | sed -n -E 's/^(({'|'.join(LEAKS)})[A-Za-z0-9_]*)=.*/\\1/p'); do "
    f'[ "$name" = {KEPT} ] || unset "$name"; done'
)

_KEPT_OPEN = 60  # seconds without a command
_OPENED_BY_HAND = "12h"  # for a site that asks for a second factor
_LONGEST_SOCKET = 90  # characters: sun_path holds 107, and ssh adds 17 while it makes one
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9/._-]*\Z")
_MOST_PATIENCE = 5  # seconds for what a living connection answers at once


class Ssh:
    def __init__(self, host: str, config: Path | None = None, *, connect: int = 10, silence: int = 60) -> None:
        """`host` is a name that ssh knows, `config` a file instead of the user's own.

        `connect` is how many seconds a new connection may take, `silence` after how many without a sign of life an
        open one counts as broken. Raises InputError for a host that is an option.
        """
        if not host or host.startswith("-") or any(letter.isspace() for letter in host):
            raise InputError(f"{host!r} is not the name of a host", hint="use a `Host` of your ~/.ssh/config")
        self.host = host
        self._config = [] if config is None else ["-F", str(config)]
        self._connect, self._silence, self._patience = connect, silence, min(silence, _MOST_PATIENCE)
        self._name = hashlib.sha256(f"{host}\0{config}".encode(errors="surrogateescape")).hexdigest()[:16]

    def call(
        self, argv: Sequence[str], *, stdin: str = "", timeout: float = 60, environment: Mapping[str, str] = NOTHING
    ) -> Called:
        checked(argv, environment)
        mark = secrets.token_hex(16)
        data = encoded(f"{_line(argv, environment, timeout, mark)}\n{stdin}")
        with tempfile.NamedTemporaryFile(dir=_private_folder(), prefix="log.") as log:
            # ssh's own words go to a file, so that the command's are its own.
            ended = self._run(["-E", log.name, "--", self.host, _ENTRY], data, timeout)
            called = _called(ended, mark)
            if called is None:
                said = decoded(read_bytes(Path(log.name))).strip() or decoded(ended.err).strip()
                raise self._unreachable(said.splitlines()[-1] if said else "no answer")
        return called

    def push(
        self,
        source: Path,
        target: str,
        *,
        only: Sequence[str] = (),
        exclude: Sequence[str] = (),
        links: bool = False,
    ) -> None:
        if not source.exists():
            raise InputError(Problem("no such file or folder", source))
        # Before version 3.2.3 rsync makes the last folder of a path and no other.
        folder = posixpath.dirname(target) if source.is_file() else target
        made = self.call(["mkdir", "-p", "--", folder or "."])
        if made.code != 0:
            raise FailedError(f"could not make {folder} on {self.host}: {made.err.strip()}")
        self._copy(copies.local(source), f"{self.host}:{target}", copies.Choice(only, exclude, links))

    def fetch(self, source: str, target: Path, *, only: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        target.mkdir(parents=True, exist_ok=True)
        self._copy(f"{self.host}:{source}/", copies.local(target), copies.Choice(only, exclude))

    def by_hand(self) -> str:
        """Return the line that opens the connection for a person, who is asked what a program cannot answer."""
        options = ["-o", "ControlMaster=auto", "-o", f"ControlPath={self._socket()}"]
        options += ["-o", f"ControlPersist={_OPENED_BY_HAND}"]
        return " ".join(quote(word) for word in ["ssh", *self._config, *options, "--", self.host, "true"])

    def forget(self) -> None:
        """Let the next command open a new connection. What others do over the old one goes on."""
        with suppress(TimeoutError):
            run([*self._ssh(), "-O", "stop", "--", self.host], timeout=self._patience, environment=clean_environment())
        self._socket().unlink(missing_ok=True)

    def _run(self, words: Sequence[str], data: bytes, timeout: float) -> Ended:
        try:
            return run([*self._ssh(), *words], stdin=data, timeout=timeout, environment=clean_environment())
        except FileNotFoundError:
            raise MissingError("ssh is not installed", hint="install the package `openssh-client`") from None
        except TimeoutError:
            self._forget_if_silent()
            raise self._unreachable(f"no answer within {timeout:g} s") from None

    def _forget_if_silent(self) -> None:
        """Ask the open connection for nothing; keep it when it answers, since a person may have opened it by hand."""
        try:
            run([*self._ssh(), "--", self.host, "exit"], timeout=self._patience, environment=clean_environment())
        except TimeoutError:
            self.forget()

    def _copy(self, source: str, target: str, choice: copies.Choice) -> None:
        try:
            copies.copy(source, target, choice, copies.Shell(self._ssh(), self._silence))
        except UnreachableError:
            self._forget_if_silent()
            raise

    def _ssh(self) -> list[str]:
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": self._connect,
            "ServerAliveInterval": max(1, self._silence // 3),
            "ServerAliveCountMax": 3,
            "ControlMaster": "auto",
            "ControlPath": self._socket(),
            "ControlPersist": _KEPT_OPEN,
            # Of the user's configuration what is meant for a session of theirs.
            "ClearAllForwardings": "yes",
            "RemoteCommand": "none",
            "PermitLocalCommand": "no",
            "EscapeChar": "none",
        }
        given = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return ["ssh", "-T", *self._config, *given]

    def _socket(self) -> Path:
        return _private_folder() / self._name

    def _unreachable(self, said: str) -> UnreachableError:
        hint = f"nothing is lost; to see why, or to log in by hand, type: {self.by_hand()}"
        return UnreachableError(f"no connection to `{self.host}`: {said}", hint=hint)


def _line(argv: Sequence[str], environment: Mapping[str, str], timeout: float, mark: str) -> str:
    """Return the one line that the other side evaluates: the command between two marks, the second with its code.

    A mark that does not come back means that the command is not known to have ended: ssh's own exit codes are those
    of commands, too.
    """
    variables = " ".join(f"{name}={quote(value)}" for name, value in {**FIXED, **environment}.items())
    words = " ".join(quote(word) for word in argv)
    # A command whose caller has gone would stay for ever.
    limited = f"timeout -k 2 {max(1, math.ceil(timeout))} {words}"
    return f"{_SCRUB}; export {variables}; echo {mark}; {limited}; printf '\\n%s %s\\n' {mark} \"$?\""


def _called(ended: Ended, mark: str) -> Called | None:
    """Return what stands between the two marks; None where the second is missing."""
    # What a login shell prints by itself comes before the first mark.
    _, _, rest = ended.out.partition(f"{mark}\n".encode())
    out, found, code = rest.rpartition(f"\n{mark} ".encode())
    return Called(int(code), decoded(out), decoded(ended.err)) if found and code.endswith(b"\n") else None


def _private_folder() -> Path:
    """Return a folder with a short name for this user alone. Raises InputError where somebody else made it."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    short = len(runtime) + len("/tuneloop/") + 16 <= _LONGEST_SOCKET
    if _PLAIN_PATH.match(runtime) and short and os.access(runtime, os.W_OK):
        folder = Path(runtime) / "tuneloop"
    else:
        folder = Path("/tmp") / f"tuneloop-{os.getuid()}"  # noqa: S108 (TMPDIR may be too long for a socket)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise InputError(Problem("not a folder of your own alone", folder, hint="remove it, or ask who made it"))
    return folder
