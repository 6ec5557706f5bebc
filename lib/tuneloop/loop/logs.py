"""logs: what the tools printed and what the orchestrators noted, found by a part of a job's name. Reads only."""

from collections import deque
from collections.abc import Iterator
from pathlib import Path

from tuneloop.documents.errors import InputError, Problem, did_you_mean
from tuneloop.documents.plain import Screen, last_drawn
from tuneloop.documents.shell import typed
from tuneloop.experiment.layout import Layout
from tuneloop.jobs.board import Board
from tuneloop.jobs.failures import output_of
from tuneloop.jobs.state import JobStatus

_READ = 1 << 20  # bytes of a log's end that the last lines are looked for in
_NAMED = 8  # jobs that an ambiguous word lists


def log_of(layout: Layout, board: Board, status: JobStatus) -> Path | None:
    """Return the output of a job's latest attempt, None before its first one."""
    return output_of(layout, board.spec(status.key), status)


def event_logs(layout: Layout) -> list[Path]:
    """Return the logs of the orchestrators and workers, a line an event."""
    return sorted(layout.folder.glob("*.log"))


def find_job(layout: Layout, board: Board, word: str) -> JobStatus:
    """Return the job whose key is `word`, or the only one that has it in its key. Raises InputError otherwise."""
    keys = list(board.states)
    exact = [key for key in keys if key == word]
    found = exact or [key for key in keys if word.casefold() in key.casefold()]
    if len(found) == 1:
        return board.states[found[0]]
    if not keys:
        hint = f"`tuneloop scaffold-experiment {typed(layout.folder)}`"
        raise InputError(Problem("nothing is scaffolded, so there are no jobs", layout.summary, hint=hint))
    if not found:
        raise InputError(Problem(f"no job `{word}`", layout.summary, hint=did_you_mean(word, list(map(str, keys)))))
    named = ", ".join(f"`{key}`" for key in found[:_NAMED])
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    raise InputError(
        Problem(f"`{word}` stands for {len(found)} jobs", layout.summary, hint=f"say more of one: {named}{more}")
    )


def last_lines(log: Path | None, count: int) -> list[str]:
    """Return the last lines of a log as they looked in the end; none where there is no log."""
    return [] if log is None else list(deque(Tail(log, near_end=True).new(end=True), maxlen=count))


class Tail:
    """Reads on in a log that grows, from its beginning or from near its end; a line is told once it has ended."""

    def __init__(self, log: Path, *, near_end: bool = False) -> None:
        self.log = log
        self._at = max(0, log.stat().st_size - _READ) if near_end and log.is_file() else 0  # bytes read
        self._rest = b""
        self._screen = Screen()

    def new(self, *, end: bool = False) -> Iterator[str]:
        """Yield the lines that have ended since; with `end` the last one too, ended or not."""
        if self.log.is_file():
            with self.log.open("rb") as file:
                file.seek(self._at)
                data = file.read()
            self._at += len(data)
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                yield from self._screen.shown(line.decode(errors="replace"))
        if end:
            last, self._rest = self._rest.decode(errors="replace"), b""
            yield from self._screen.shown(last) if last else ()
            yield from self._screen.left()

    @property
    def drawn(self) -> str:
        """Return what the unfinished line shows now: as a rule a progress bar."""
        return last_drawn(self._rest.decode(errors="replace")) or last_drawn(self._screen.held)
