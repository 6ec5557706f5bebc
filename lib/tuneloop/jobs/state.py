"""Job states: a pure function of the journal, the facts and what the executor says now.

Every state of the vocabulary is decided here and nowhere else.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from tuneloop.documents.errors import InputError
from tuneloop.experiment.work import COLLECT, JobKey, JobSpec, Need, State
from tuneloop.jobs.facts import Attempt
from tuneloop.jobs.journal import Event

ENDED: frozenset[State] = frozenset({"done", "failed", "cancelled", "blocked", "lost", "stale"})
GOING: frozenset[State] = frozenset({"waiting", "queued", "running"})


@dataclass(frozen=True)
class JobStatus:
    key: JobKey
    state: State
    reason: str = ""
    token: str | None = None  # of its last submission
    index: int = 0  # its place in that submission
    attempts: tuple[Attempt, ...] = ()

    @property
    def last(self) -> Attempt | None:
        return self.attempts[-1] if self.attempts else None


@dataclass(frozen=True)
class Submission:
    token: str
    cluster: str
    keys: tuple[JobKey, ...]
    state: Literal["open", "submitted", "refused"] = "open"


@dataclass
class Intent:
    """The journal, folded: the last submission of each job, and which jobs were asked to end since."""

    submissions: dict[str, Submission] = field(default_factory=dict)
    latest: dict[JobKey, tuple[str, int]] = field(default_factory=dict)  # key -> token, index
    cancelled: set[JobKey] = field(default_factory=set)
    runs: set[str] = field(default_factory=set)  # added and not retired
    dropped: set[str] = field(default_factory=set)  # retired and not added again

    @property
    def open(self) -> list[Submission]:
        """Submissions whose outcome is not on record: a command died between asking and hearing."""
        return [item for item in self.submissions.values() if item.state == "open"]

    def submit(self, token: str) -> None:
        """Count a submission as handed over: it is the last word on its jobs."""
        submission = self.submissions[token] = replace(self.submissions[token], state="submitted")
        for index, key in enumerate(submission.keys):
            self.latest[key] = (token, index)
            self.cancelled.discard(key)


def fold(events: Sequence[Event], arrived: Callable[[str], bool] = lambda _token: False) -> Intent:
    """Return what the journal asks for.

    `arrived` tells whether the executor knows the token of a submission that is still open: a command that died
    before it wrote `submitted` has handed its jobs over all the same.
    """
    intent = Intent()
    for event in events:
        data = event.data
        if event.kind == "submitting":
            keys = tuple(JobKey(key) for key in data["keys"])
            intent.submissions[data["token"]] = Submission(data["token"], data["cluster"], keys)
        elif event.kind in ("submitted", "refused") and data["token"] not in intent.submissions:
            message = f"event {event.seq} of the journal is about a submission that no line makes"
            raise InputError(message, hint="put the missing line back")
        elif event.kind == "submitted":
            intent.submit(data["token"])
        elif event.kind == "refused":
            intent.submissions[data["token"]] = replace(intent.submissions[data["token"]], state="refused")
        elif event.kind == "added":
            intent.runs |= set(data["runs"])
            intent.dropped -= set(data["runs"])
        elif event.kind == "retired":
            intent.runs -= set(data.get("runs", ()))
            intent.dropped |= set(data.get("runs", ()))
            # Results that were set aside take their submissions with them: doing them anew wants a new yes.
            for key in data.get("keys", ()):
                intent.latest.pop(JobKey(key), None)
                intent.cancelled.discard(JobKey(key))
        elif event.kind == "cancel-asked":
            intent.cancelled |= {JobKey(key) for key in data["keys"]}
    for submission in intent.open:
        if arrived(submission.token):
            intent.submit(submission.token)
    return intent


def states(
    specs: Sequence[JobSpec],
    intent: Intent,
    facts: Mapping[JobKey, Sequence[Attempt]],
    *,
    retries: int = 0,
    outdated: Collection[JobKey] = (),
    elsewhere: Mapping[Need, JobStatus] | None = None,
) -> dict[JobKey, JobStatus]:
    """Return the state of every job.

    `retries` is how often a job whose process vanished starts again by itself; `outdated` names the jobs whose
    design changed after they were scaffolded; `elsewhere` holds the states of jobs of other experiments.
    """
    found: dict[JobKey, JobStatus] = {}
    by_key = {spec.key: spec for spec in specs}

    def needed(need: Need) -> JobStatus | None:
        if need.experiment is not None:
            return (elsewhere or {}).get(need)
        return visit(by_key[need.job]) if need.job in by_key else None

    def visit(spec: JobSpec) -> JobStatus:
        if spec.key not in found:
            needs = [(need.when, status) for need in spec.needs if (status := needed(need)) is not None]
            found[spec.key] = _state(
                spec, intent, facts.get(spec.key, ()), needs, retries=retries, outdated=spec.key in outdated
            )
        return found[spec.key]

    for spec in specs:
        visit(spec)
    return found


def _state(
    spec: JobSpec,
    intent: Intent,
    all_attempts: Sequence[Attempt],
    needs: Sequence[tuple[str, JobStatus]],
    *,
    retries: int,
    outdated: bool,
) -> JobStatus:
    token, index = intent.latest.get(spec.key, (None, 0))
    # Results are collected anew for every submission; any other job is done once for all.
    attempts = tuple(item for item in all_attempts if spec.key != COLLECT or token is None or item.token == token)

    def status(state: State, reason: str = "") -> JobStatus:
        return JobStatus(spec.key, state, reason, token, index, attempts)

    if any(attempt.alive for attempt in attempts):
        return status("running", "asked to end" if spec.key in intent.cancelled else "")
    if any(attempt.verified and attempt.digest == spec.digest for attempt in attempts):
        return status("stale", "the design has changed since") if outdated else status("done")
    if any(attempt.verified for attempt in attempts):
        if spec.key == COLLECT:
            return status("planned", "the report is older than the jobs")
        return status("stale", "made from other inputs")
    ours = [item for item in attempts if item.token == token or (token is None and item.digest == spec.digest)]
    if spec.key in intent.cancelled:
        return status("cancelled")
    if ours and ours[-1].code is not None:
        return status("failed", failure(ours[-1]))
    if ours and len(ours) > retries:
        return status("lost", "its process vanished")
    if token is None:
        return status("planned", "the design has changed since it was scaffolded" if outdated else "")
    return status(*_waiting(needs, restarts=len(ours)))


def _waiting(needs: Sequence[tuple[str, JobStatus]], restarts: int) -> tuple[State, str]:
    for when, need in needs:
        # What nobody has asked for will not come by itself.
        if when == "ok" and need.state in (ENDED - {"done"}) | {"planned"}:
            return "blocked", f"{need.key} is {need.state}"
    missing = [need for _, need in needs if need.state not in ENDED]
    if missing:
        return "waiting", f"for {missing[0].key}" + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
    return "queued", f"restart {restarts}" if restarts else ""


_SIGNALS = {137: "killed", 143: "ended by a signal", 139: "crashed", 134: "aborted"}


def failure(attempt: Attempt) -> str:
    """Return why an attempt failed, in a few words."""
    if attempt.verdict is not None and not attempt.verdict.ok:
        return attempt.verdict.reason
    code = attempt.code or 0
    return _SIGNALS.get(code, f"exit code {code}")
