"""Handing a script to sbatch exactly once, wherever this process is killed.

On the cluster's side three files stand beside `<token>.slurm`: a lock that sbatch holds as long as it runs, the id
that it printed, and a mark that nobody will hand this token over any more. Both shell texts below take the lock
first, so that a command that was killed, and whose sbatch lives on, is waited for. A job that begins takes it, too:
it writes the id by itself where it is not there yet, and ends at once where the token was given up. So id and mark
are never there both, and what nobody heard of in time does no harm.
"""

from pathlib import Path

from tuneloop.documents.errors import FailedError, MissingError, Problem, UnreachableError
from tuneloop.experiment.work import Token
from tuneloop.jobs.transport import Called, Transport

_NOT_BEGUN = 73  # sbatch was not called
_NO_FLOCK = 74  # nor could it be, without the lock
# The id is printed whether or not it could be written down: from here on the job is in the queue.
_SUBMIT = f"""\
fail() {{ exit {_NOT_BEGUN}; }}
cd -- "$1" || fail
command exec 9>"$2.lock" || fail
command -v flock >/dev/null || exit {_NO_FLOCK}
flock 9 || fail
[ ! -e "$2.refused" ] || {{ echo "submission $2 was given up" >&2; fail; }}
if [ ! -s "$2.id" ]; then
  unset LC_ALL SLURM_TIME_FORMAT
  id=$(sbatch --parsable "$2.slurm" </dev/null) || exit
  printf '%s\\n' "$id"
  printf '%s\\n' "$id" >"$2.id.new" && mv "$2.id.new" "$2.id"
  exit 0
fi
cat "$2.id"
"""
_GIVE_UP = """\
cd -- "$1" 2>/dev/null || exit 0
command exec 9>"$2.lock" || exit
flock 9 || exit
if [ ! -s "$2.id" ]; then
  # Again, under the lock: a job that is in the queue by now, or comes later, waits for what is decided here.
  queue=$(squeue --me --all --noheader --states=all --format='%F|%k') || exit
  id=$(printf '%s\\n' "$queue" | awk -F '|' -v token="$2" '$2 == token { print $1; exit }')
  if [ -n "$id" ]; then
    printf '%s\\n' "$id" >"$2.id.new" && mv "$2.id.new" "$2.id" || exit
  else
    : >"$2.refused" || exit
  fi
fi
cat "$2.id" 2>/dev/null || :
"""
_LOOK = 'cat "$1/$2.id" 2>/dev/null || :'

# What sbatch says when nobody answered it: the job may be in the queue all the same.
_NO_ANSWER = (
    "Unable to contact slurm controller",
    "Socket timed out",
    "Zero Bytes were transmitted",
    "Connection refused",
    "Transport endpoint is not connected",
    "Message send failure",
    "Message receive failure",
    "Communication connection failure",
    "Slurm backup controller in standby mode",
)
_REFUSED = (1, 255)  # sbatch's own codes; any other is somebody else's, such as a signal's
_NO_PROGRAM = 127
_TOO_MANY = ("SubmitJob", "Job array", "job array", "accounting/QOS policy")
_QUEUE = ("squeue", "--me", "--all", "--noheader", "--states=all", "--format=%F|%k")
_ACCOUNTING = (
    *("sacct", "--allocations", "--noheader", "--parsable2", "--starttime=now-30days"),
    "--format=JobID,Comment",
)


def submit(transport: Transport, folder: str, token: Token) -> str:
    """Hand `<folder>/<token>.slurm` over and return its id; called again for a token, it returns the same id.

    Raises FailedError with what sbatch said when it refuses, MissingError where there is none, UnreachableError
    when nobody knows what became of it.
    """
    called = transport.call(["sh", "-s", "--", folder, token], stdin=_SUBMIT)
    if called.code != 0:
        raise _fault(called)
    number = _plain_id(called.out)
    if number is None:
        raise UnreachableError("sbatch printed no id", hint="run the same command again")
    return number


def _fault(called: Called) -> FailedError | MissingError | UnreachableError:
    """Return what a code that is not 0 means. Only sbatch's own word is a refusal."""
    said = called.err.strip()
    if called.code == _NOT_BEGUN:
        return FailedError(Problem(_last(said)))
    if called.code == _NO_FLOCK:
        hint = "install the package `util-linux` where sbatch is, or correct PATH there"
        return MissingError("no `flock`: nothing can be handed over exactly once", hint=hint)
    if called.code == _NO_PROGRAM:
        return MissingError(f"sbatch cannot be run: {_last(said)}", hint="type this where SLURM's commands are")
    if is_silent(said):
        return UnreachableError(f"the scheduler does not answer: {_last(said)}", hint="run the same command again")
    if called.code not in _REFUSED:
        return UnreachableError(f"sbatch ended with {called.code}", hint="run the same command again")
    return FailedError(Problem(_reason(said) or "sbatch gave no reason", hint=_hint(said)))


def is_silent(said: str) -> bool:
    """Tell whether a command of SLURM's failed because nobody answered it."""
    return any(words in said for words in _NO_ANSWER)


def _hint(said: str) -> str | None:
    if any(words in said for words in _TOO_MANY):
        return "say in the cluster's profile what the site allows, `limits: {jobs: N}`, or wait until jobs have ended"
    return None


def given_up(transport: Transport, folder: str, token: Token) -> str | None:
    """Return the id of a token that arrived, else None, and then it will never arrive. Raises UnreachableError.

    A job that was handed over while its id was not yet written is known to the queue by its comment alone.
    """
    looked = transport.call(["sh", "-c", _LOOK, "sh", folder, token])
    known = _plain_id(looked.out) or by_comment(transport, token)
    if known is not None:
        return known
    called = transport.call(["sh", "-s", "--", folder, token], stdin=_GIVE_UP)
    if called.code != 0:
        raise UnreachableError(f"no news of submission {token}: {_last(called.err)}", hint="run the same command again")
    return _plain_id(called.out)


def noted(folder: Path, token: Token) -> str | None:
    """Return the id of a token as far as it is on record in the folder; nobody is asked."""
    try:
        return _plain_id((folder / f"{token}.id").read_text())
    except OSError:
        return None


def by_comment(transport: Transport, token: Token) -> str | None:
    """Ask the queue, then the accounting where there is one, for the job that carries the token.

    Accounting is a help, not a need: a job that left the queue has begun, and then wrote its id, or never will.
    Raises UnreachableError when the queue does not answer.
    """
    queue = transport.call(_QUEUE)
    if queue.code != 0:
        raise UnreachableError(f"the scheduler does not answer: {_last(queue.err)}", hint="run the same command again")
    return _named(queue.out, token) or _named(transport.call(_ACCOUNTING).out, token)


def _named(text: str, token: Token) -> str | None:
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
