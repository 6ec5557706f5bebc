"""Handing a script to sbatch exactly once, wherever this process is killed.

On the cluster's side three files stand beside `<token>.slurm`: a lock that sbatch holds as long as it runs, the id
that it printed, and a mark that nobody will hand this token over any more. Both shell texts below take the lock
first, so that a command that was killed, and whose sbatch lives on, is waited for.
"""

from pathlib import Path

from tuneloop.documents.errors import FailedError, Problem, UnreachableError
from tuneloop.experiment.work import Token
from tuneloop.jobs.transport import Transport

_SUBMIT = """\
cd -- "$1" || exit
exec 9>"$2.lock" && flock 9 || exit
[ ! -e "$2.refused" ] || { echo "submission $2 was given up" >&2; exit 1; }
if [ ! -s "$2.id" ]; then
  unset LC_ALL SLURM_TIME_FORMAT
  id=$(sbatch --parsable "$2.slurm" </dev/null) || exit
  printf '%s\\n' "$id" >"$2.id.new" && mv "$2.id.new" "$2.id" || exit
fi
cat "$2.id"
"""
_GIVE_UP = """\
cd -- "$1" 2>/dev/null || exit 0
exec 9>"$2.lock" && flock 9 || exit
[ -s "$2.id" ] || : >"$2.refused" || exit
cat "$2.id" 2>/dev/null || :
"""

# What sbatch says when nobody answered it: the job may be in the queue all the same.
_NO_ANSWER = (
    "Unable to contact slurm controller",
    "Socket timed out",
    "Zero Bytes were transmitted",
    "Connection refused",
    "Transport endpoint is not connected",
    "Slurm backup controller in standby mode",
)


def submit(transport: Transport, folder: str, token: Token) -> str:
    """Hand `<folder>/<token>.slurm` over and return its id; called again for a token, it returns the same id.

    Raises FailedError with what sbatch said when it refuses, UnreachableError when nobody knows what became of it.
    """
    called = transport.call(["sh", "-s", "--", folder, token], stdin=_SUBMIT)
    if called.code != 0:
        said = called.err.strip() or f"sbatch ended with {called.code}"
        if any(words in said for words in _NO_ANSWER):
            raise UnreachableError(f"the scheduler does not answer: {_last(said)}", hint="run the same command again")
        raise FailedError(Problem(_reason(said), hint="mend it, then run the same command again"))
    number = _plain_id(called.out)
    if number is None:
        raise UnreachableError("sbatch printed no id", hint="run the same command again")
    return number


def given_up(transport: Transport, folder: str, token: Token) -> str | None:
    """Return the id of a token that arrived, else None, and then it will never arrive. Raises UnreachableError.

    A job that was handed over while its id was not yet written is known to the queue by its comment alone.
    """
    called = transport.call(["sh", "-s", "--", folder, token], stdin=_GIVE_UP)
    if called.code != 0:
        raise UnreachableError(f"no news of submission {token}: {_last(called.err)}", hint="run the same command again")
    return _plain_id(called.out) or by_comment(transport, token)


def noted(folder: Path, token: Token) -> str | None:
    """Return the id of a token as far as it is on record in the folder; nobody is asked."""
    try:
        return _plain_id((folder / f"{token}.id").read_text())
    except OSError:
        return None


def by_comment(transport: Transport, token: Token) -> str | None:
    """Ask the queue, then the accounting where there is one, for the job that carries the token."""
    queue = transport.call(["squeue", "--me", "--noheader", "--states=all", "--format=%F|%k"])
    if queue.code != 0:
        raise UnreachableError(f"the scheduler does not answer: {_last(queue.err)}", hint="run the same command again")
    fields = "--format=JobID,Comment"
    asked = ["sacct", "--allocations", "--noheader", "--parsable2", "--starttime=now-30days", fields]
    for text in (queue.out, transport.call(asked).out):
        for line in text.splitlines():
            number, _, comment = line.partition("|")
            if comment == token:
                return number.partition("_")[0]
    return None


def _plain_id(said: str) -> str | None:
    """Return the id that sbatch printed, without the cluster that some sites put behind it."""
    return said.strip().partition(";")[0] or None


def _reason(said: str) -> str:
    """Return why sbatch refused, without its own name in each line."""
    lines = [line.removeprefix("sbatch: ").removeprefix("error: ") for line in said.splitlines() if line.strip()]
    return "; ".join(lines)


def _last(text: str) -> str:
    return text.strip().splitlines()[-1] if text.strip() else "it said nothing"
