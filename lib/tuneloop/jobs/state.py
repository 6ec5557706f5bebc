"""Job states: a pure function of the journal, the facts and what the scheduler says now.

Every state of the vocabulary is decided here and nowhere else.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from tuneloop.documents.errors import InputError
from tuneloop.documents.logs import seconds
from tuneloop.experiment.work import COLLECT, JobKey, JobSpec, Need, State, Token
from tuneloop.jobs.answers import Answer
from tuneloop.jobs.facts import Attempt
from tuneloop.jobs.journal import Event
from tuneloop.jobs.native import Native

ENDED: frozenset[State] = frozenset({"done", "failed", "cancelled", "blocked", "lost", "stale"})
GOING: frozenset[State] = frozenset({"waiting", "queued", "running"})
FINE: frozenset[State] = GOING | {"done"}  # nobody has to do anything about it


@dataclass(frozen=True)
class JobStatus:
    key: JobKey
    state: State
    reason: str = ""
    token: Token | None = None  # of its last submission
    index: int = 0  # its task in that submission
    attempts: tuple[Attempt, ...] = ()
    native: Native | None = None  # what its cluster calls it, once that is known
    answer: Answer | None = None  # what its scheduler says of it; None is no news

    @property
    def last(self) -> Attempt | None:
        return self.attempts[-1] if self.attempts else None


@dataclass(frozen=True)
class Submission:
    token: Token
    cluster: str
    keys: tuple[JobKey, ...]
    tasks: tuple[int, ...]  # of an array, one a key
    time: str  # when it was handed over
    state: Literal["open", "submitted", "refused"] = "open"
    native: Native | None = None

    def native_of(self, task: int) -> Native | None:
        """Return the outside id of one of its jobs."""
        if self.native is None or self.native.task is None:
            return self.native
        return self.native._replace(task=task)


@dataclass
class Consent:
    """The last yes to a plan, and what has come of it."""

    plan: str
    jobs: int  # that the plan had
    command: str  # that made it, around its folder: `retry {} --failed`
    handed: dict[JobKey, Token | None] = field(default_factory=dict)  # over since, with the submission before it


@dataclass
class Intent:
    """The journal, folded: the last submission of each job, and which jobs were asked to end since."""

    submissions: dict[Token, Submission] = field(default_factory=dict)
    latest: dict[JobKey, tuple[Token, int]] = field(default_factory=dict)  # key -> token, task
    cancelled: set[JobKey] = field(default_factory=set)
    runs: set[str] = field(default_factory=set)  # added and not retired
    dropped: set[str] = field(default_factory=set)  # retired and not added again
    consent: Consent | None = None

    @property
    def open(self) -> list[Submission]:
        """Submissions whose outcome is not on record: a command died between asking and hearing."""
        return [item for item in self.submissions.values() if item.state == "open"]

    def submit(self, token: Token, native: Native | None) -> None:
        """Count a submission as handed over: it is the last word on its jobs."""
        submission = self.submissions[token] = replace(self.submissions[token], state="submitted", native=native)
        for key, task in zip(submission.keys, submission.tasks, strict=True):
            if self.consent is not None:
                self.consent.handed.setdefault(key, self.latest[key][0] if key in self.latest else None)
            self.latest[key] = (token, task)
            self.cancelled.discard(key)

    def is_followed(self, key: JobKey) -> bool:
        """Tell whether any job was handed over after the last submission of this one."""
        if key not in self.latest:
            return False
        order = list(self.submissions)
        own = order.index(self.latest[key][0])
        return any(self.submissions[token].state == "submitted" for token in order[own + 1 :])

    def native_of(self, key: JobKey) -> Native | None:
        """Return what the cluster of a job's last submission calls it."""
        if key not in self.latest:
            return None
        token, task = self.latest[key]
        return self.submissions[token].native_of(task)


def fold(events: Sequence[Event], arrived: Callable[[Submission], Native | None] = lambda _open: None) -> Intent:
    """Return what the journal asks for.

    `arrived` tells what became of a submission that is still open: a command that died before it wrote
    `submitted` may have handed its jobs over all the same.
    """
    intent = Intent()
    for event in events:
        data = event.data
        if event.kind == "submitting":
            keys = tuple(JobKey(key) for key in data["keys"])
            tasks = tuple(data.get("tasks") or range(len(keys)))
            token = Token(data["token"])
            intent.submissions[token] = Submission(token, data["cluster"], keys, tasks, event.time)
        elif event.kind == "consented":
            intent.consent = Consent(data["plan"], data["jobs"], data.get("command", "run-experiment {}"))
        elif event.kind in ("submitted", "refused") and data["token"] not in intent.submissions:
            message = f"event {event.seq} of the journal is about a submission that no line makes"
            raise InputError(message, hint="put the missing line back")
        elif event.kind == "submitted":
            intent.submit(data["token"], Native(*data["native"]))
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
            intent.consent = None  # who ends something has to say yes anew to the rest
    for submission in intent.open:
        native = arrived(submission)
        if native is not None:
            intent.submit(submission.token, native)
    return intent


def states(
    specs: Sequence[JobSpec],
    intent: Intent,
    facts: Mapping[JobKey, Sequence[Attempt]],
    *,
    retries: int = 0,
    outdated: Collection[JobKey] = (),
    elsewhere: Mapping[Need, JobStatus] | None = None,
    scheduled: Collection[str] = (),
    answers: Mapping[Native, Answer] | None = None,
    taken: Mapping[str, float] | None = None,
) -> dict[JobKey, JobStatus]:
    """Return the state of every job.

    `retries` is how often a job whose process vanished starts again by itself; `outdated` names the jobs whose
    design changed after they were scaffolded; `elsewhere` holds the states of jobs of other experiments;
    `scheduled` names the clusters whose scheduler has the word on its jobs, and `answers` what they say;
    `taken` is when each of them said so, in seconds since 1970.
    """
    found: dict[JobKey, JobStatus] = {}
    heard = _heard(specs, intent, facts, answers or {}, taken or {})
    by_key = {spec.key: spec for spec in specs}

    def needed(need: Need) -> JobStatus | None:
        if need.experiment is not None:
            return (elsewhere or {}).get(need)
        return visit(by_key[need.job]) if need.job in by_key else None

    def visit(spec: JobSpec) -> JobStatus:
        if spec.key not in found:
            needs = [(need.when, status) for need in spec.needs if (status := needed(need)) is not None]
            found[spec.key] = _state(
                spec,
                intent,
                facts.get(spec.key, ()),
                needs,
                heard,
                scheduled=scheduled,
                retries=retries,
                outdated=spec.key in outdated,
            )
        return found[spec.key]

    for spec in specs:
        visit(spec)
    return found


def _heard(
    specs: Sequence[JobSpec],
    intent: Intent,
    facts: Mapping[JobKey, Sequence[Attempt]],
    answers: Mapping[Native, Answer],
    taken: Mapping[str, float],
) -> dict[Native, Answer]:
    """Return the answers without those that are old news, since the job itself has begun or ended after them.

    An attempt that a lost node left behind began before its scheduler spoke of the next one. A final answer stays:
    clocks of two machines differ, and nobody asks again.
    """
    heard = dict(answers)
    for spec in specs:
        native = intent.native_of(spec.key)
        if native not in heard or heard[native].final or native.cluster not in taken:
            continue
        token, _ = intent.latest[spec.key]
        own = [item for item in facts.get(spec.key, ()) if item.token == token]
        if own and seconds(own[-1].ended or own[-1].started) > taken[native.cluster]:
            del heard[native]
    return heard


def _state(
    spec: JobSpec,
    intent: Intent,
    all_attempts: Sequence[Attempt],
    needs: Sequence[tuple[str, JobStatus]],
    answers: Mapping[Native, Answer],
    *,
    scheduled: Collection[str],
    retries: int,
    outdated: bool,
) -> JobStatus:
    token, index = intent.latest.get(spec.key, (None, 0))
    # Results are collected anew for every submission; any other job is done once for all.
    attempts = tuple(item for item in all_attempts if spec.key != COLLECT or token is None or item.token == token)
    native = intent.native_of(spec.key)
    answer = None if native is None else answers.get(native)

    def status(state: State, reason: str = "") -> JobStatus:
        return JobStatus(spec.key, state, reason, token, index, attempts, native, answer)

    asked = spec.key in intent.cancelled
    # A scheduler knows better than a lock, which a process that a lost node left behind may hold for ever.
    if any(attempt.alive for attempt in attempts) and answer is None:
        return status("running", "asked to end" if asked else "")
    if any(attempt.verified and attempt.digest == spec.digest for attempt in attempts):
        return status("stale", "the design has changed since") if outdated else status("done")
    if answer is not None and not answer.final:
        # Which job it waits for is known here; its scheduler only says that there is one, and not at once.
        waits = answer.state == "waiting" or (answer.state == "queued" and not answer.reason)
        state, reason = _waiting(needs, 0) if waits else (answer.state, _reason(answer, needs))
        return status(state, "asked to end" if asked else reason)
    if any(attempt.verified for attempt in attempts):
        if spec.key == COLLECT:
            return status("planned", "the report is older than the jobs")
        return status("stale", "made from other inputs")
    if native is not None and native.cluster in scheduled:
        own = [item for item in attempts if item.token == token]
        if answer is None:
            return status(*_no_news(own, needs, asked=asked))
        state, reason = _ended(answer, own, asked=asked)
        return status(state, _reason(answer, needs) if state == "blocked" else reason)
    ours = [item for item in attempts if item.token == token or (token is None and item.digest == spec.digest)]
    if asked:
        return status("cancelled")
    if ours and ours[-1].code is not None:
        return status("failed", failure(ours[-1]))
    if ours and len(ours) > retries:
        return status("lost", "its process vanished")
    if token is None:
        return status("planned", "the design has changed since it was scaffolded" if outdated else "")
    return status(*_waiting(needs, restarts=len(ours)))


def _ended(answer: Answer, own: Sequence[Attempt], *, asked: bool) -> tuple[State, str]:
    """Return the state of a job that its scheduler has done with and that is not verified."""
    if asked and answer.state != "blocked":
        return "cancelled", ""
    if answer.state == "done":
        return "lost", answer.reason or "its scheduler calls it completed, and there is no result"
    if answer.state in ("failed", "lost") and (_spoke(own) or (own and own[-1].late)):
        # The job's own words say more than its exit code, and are there when its scheduler has forgotten it.
        return "failed", failure(own[-1])
    return answer.state, answer.reason


def _reason(answer: Answer, needs: Sequence[tuple[str, JobStatus]]) -> str:
    """Return why a scheduler says so of a job; which job keeps it blocked is known here alone."""
    if answer.state != "blocked":
        return answer.reason
    ended = [need for when, need in needs if when == "ok" and need.state in ENDED - {"done"}]
    if ended:
        return f"{ended[0].key} is {ended[0].state}"
    done = needs and all(need.state == "done" for _, need in needs)
    return "its scheduler gave it up, and what it needs is done" if done else answer.reason


def _no_news(own: Sequence[Attempt], needs: Sequence[tuple[str, JobStatus]], *, asked: bool) -> tuple[State, str]:
    """Return the state of a job that its scheduler says nothing of: what its facts say, and never worse."""
    if _spoke(own):
        return "failed", failure(own[-1])
    if own:
        return "running", "asked to end" if asked else "no news from its cluster"
    return ("queued", "asked to end") if asked else _waiting(needs, restarts=0)


def _spoke(own: Sequence[Attempt]) -> bool:
    """Tell whether a job ended by itself: one that a signal ended may start again."""
    return bool(own) and own[-1].code is not None and own[-1].code not in _SIGNALS


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
    if attempt.late:
        return "the time limit ended it"
    code = attempt.code or 0
    return _SIGNALS.get(code, f"exit code {code}")
