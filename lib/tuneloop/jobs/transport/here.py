"""The transport that goes nowhere: commands of this machine."""

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from tuneloop.documents.errors import InputError, Problem, UnreachableError
from tuneloop.jobs.transport import copies
from tuneloop.jobs.transport.processes import NOTHING, Called, checked, clean_environment, decoded, encoded, run

_NOT_FOUND, _NOT_STARTED = 127, 126  # the codes of every shell


class Here:
    def call(
        self, argv: Sequence[str], *, stdin: str = "", timeout: float = 60, environment: Mapping[str, str] = NOTHING
    ) -> Called:
        checked(argv, environment)
        try:
            ended = run(argv, stdin=encoded(stdin), timeout=timeout, environment={**clean_environment(), **environment})
        except TimeoutError:
            raise UnreachableError(f"no answer from `{argv[0]}` within {timeout:g} s") from None
        except OSError as error:
            code = _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_STARTED
            return Called(code, "", f"{argv[0]}: {error.strerror}\n")
        return Called(_as_shell(ended.code), decoded(ended.out), decoded(ended.err))

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
        _copy(source, Path(target), copies.Choice(only, exclude, links))

    def fetch(self, source: str, target: Path, *, only: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        _copy(Path(source), target, copies.Choice(only, exclude))


def _copy(source: Path, target: Path, choice: copies.Choice) -> None:
    """Copy, unless both are the same: a cluster's folder is then the experiment's own."""
    if source.resolve() == target.resolve():
        return
    folder = target.parent if source.is_file() else target
    folder.mkdir(parents=True, exist_ok=True)
    copies.copy(copies.local(source), copies.local(target), choice)


def _as_shell(code: int) -> int:
    """Return the code that a shell gives for a process: 128 and the number of the signal that ended it."""
    return 128 + signal.Signals(-code) if code < 0 else code
