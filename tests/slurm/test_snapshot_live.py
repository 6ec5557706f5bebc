"""Every end that a job can come to, made by a real SLURM with and without accounting, and followed by the snapshot."""

import os
import pwd
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

import pytest

from lab import until
from slurm_cluster import DevCluster, Place, script
from tuneloop.jobs.answers import Answer
from tuneloop.jobs.executors import Native
from tuneloop.jobs.slurm.reasons import NEVER, words
from tuneloop.jobs.slurm.snapshot import Snapshot
from tuneloop.jobs.transport import Called, Here

pytestmark = pytest.mark.slow

LONG = "sleep 600"
_SECONDS = 120  # for everything to end, of which a time limit takes 30


class At(Here):
    """A transport to one of several clusters on this machine. Counts what it was asked."""

    def __init__(self, cluster: DevCluster) -> None:
        self.variables = cluster.env
        self.asked: list[str] = []

    def call(
        self, argv: Sequence[str], *, stdin: str = "", timeout: float = 60, environment: Mapping[str, str] | None = None
    ) -> Called:
        self.asked.append(argv[0])
        variables = {**self.variables, **(environment or {})}
        return super().call(argv, stdin=stdin, timeout=timeout, environment=variables)


class Followed:
    """A cluster with a job for every end, asked on and on by a clock that runs ahead of the real one."""

    def __init__(self, cluster: DevCluster, folder: Path) -> None:
        self.cluster, self.transport = cluster, At(cluster)
        self.snapshot = Snapshot("here", self.transport, folder)
        self.submitted = time.time()
        self.clock = count(self.submitted + 1, 11)  # later than 10 s after the last call, each time
        self.jobs: dict[str, Native] = {}
        self.heard: dict[str, list[Answer]] = {}  # what was said of a job, without repetitions

    def submit(self, name: str, *options: str, wrap: str, tasks: int = 0) -> str:
        job = self.cluster.sbatch("--mem=50", *options, *([f"--array=0-{tasks - 1}"] if tasks else []), wrap=wrap)
        if tasks:
            self.jobs |= {f"{name} {task}": Native("here", job, task) for task in range(tasks)}
        else:
            self.jobs[name] = Native("here", job)
        return job

    def ask(self) -> dict[str, Answer]:
        times = dict.fromkeys(self.jobs.values(), self.submitted)
        now = next(self.clock)
        self.snapshot.renew(now)
        answers = self.snapshot.answers(times, now)
        said = {name: answers[native] for name, native in self.jobs.items() if native in answers}
        for name, answer in said.items():
            heard = self.heard.setdefault(name, [])
            if heard[-1:] != [answer]:
                heard.append(answer)
        return said

    def wait(self, name: str, state: str) -> None:
        """Wait until SLURM says this of a job; go on asking meanwhile, since the queue forgets."""

        def is_so() -> bool:
            time.sleep(0.2)
            self.ask()
            return self.cluster.state(self.jobs[name].id) == state

        until(is_so, 60, f"{name} {state}")

    def states(self, name: str) -> list[str]:
        return [answer.state for answer in self.heard[name]]


def begin(here: Followed) -> None:
    """Submit a job for every end; those that must not meet have nodes of their own."""
    here.submit("preempted", "-p", "lowcancel", "--no-requeue", "-w", "n1", "--exclusive", wrap=LONG)
    here.submit("preempted and requeued", "-p", "low", "--requeue", "-w", "n2", "--exclusive", wrap="sleep 4")
    here.submit("node failed", "--no-requeue", "-w", "n3", wrap=LONG)
    here.submit("node failed and requeued", "--requeue", "-w", "n3", wrap="sleep 4")
    for name in ("preempted", "preempted and requeued", "node failed", "node failed and requeued"):
        here.wait(name, "RUNNING")
    here.cluster.call("scontrol", "update", "nodename=n3", "state=down", "reason=test")
    here.wait("node failed", "NODE_FAIL")
    here.submit("preemptor 1", "-w", "n1", "--exclusive", wrap="sleep 1")
    here.submit("preemptor 2", "-w", "n2", "--exclusive", wrap="sleep 1")
    here.wait("preempted", "PREEMPTED")
    time_limit = here.submit("time limit", "--time=5", wrap=LONG)
    here.submit("done", wrap="exit 0")
    failed = here.submit("exit code", wrap="sleep 2; exit 3")
    here.submit("killed", wrap="kill -9 $$")
    here.submit("never", "-d", f"afterok:{failed}", wrap="exit 0")
    here.submit("given up", "-d", f"afterok:{failed}", "--kill-on-invalid-dep=yes", wrap="exit 0")
    here.submit("held", "-H", wrap="exit 0")
    here.submit("array", tasks=2, wrap="sleep 1; exit $SLURM_ARRAY_TASK_ID")
    here.submit("cancelled array", "-H", tasks=3, wrap=LONG)
    here.submit("cancelled running", wrap=LONG)
    here.submit("cancelled pending", "-H", wrap=LONG)
    here.wait("cancelled running", "RUNNING")
    here.wait("time limit", "RUNNING")
    here.cluster.call("scontrol", "update", f"jobid={time_limit}", "EndTime=now+1")
    here.cluster.call(
        "scancel",
        *(here.jobs[name].id for name in ("cancelled running", "cancelled pending", "cancelled array 0")),
    )


GOING = {"never", "held"}  # what will not end by itself


@contextmanager
def forgetful(*options: str) -> Iterator[DevCluster]:
    """A cluster whose queue forgets ended jobs after 20 s, as sites do after minutes."""
    place = Place()
    try:
        yield DevCluster(place, "--min-job-age", "20", *options)
    finally:
        script("down", "--purge", "--folder", place.folder)
        place.free()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Followed]]:
    """Both clusters, side by side, when all that can end has ended and left the queue."""
    with ExitStack() as stack:
        clusters = {
            "accounting": stack.enter_context(forgetful("--name", "kept")),
            "no accounting": stack.enter_context(forgetful("--name", "bare", "--no-accounting")),
        }
        followed = {name: Followed(cluster, tmp_path_factory.mktemp("state")) for name, cluster in clusters.items()}
        for here in followed.values():
            begin(here)
        end = time.monotonic() + _SECONDS
        while not _all_over(followed.values()):
            assert time.monotonic() < end, {name: here.heard for name, here in followed.items()}
            time.sleep(1)  # accounting runs behind, and the clock of the snapshot ahead
        yield followed


def _all_over(followed: Iterable[Followed]) -> bool:
    over = [_is_over(here) for here in followed]  # each is asked every time: its queue forgets while others go on
    return all(over)


def _is_over(here: Followed) -> bool:
    said = here.ask()
    queue = {job.partition("_")[0] for job in here.cluster.queue()}
    left = {native.id for name, native in here.jobs.items() if name not in GOING}
    final = all(name in said and (said[name].final or name in GOING) for name in here.jobs)
    return final and not left & queue


BY_US = f"by {pwd.getpwuid(os.geteuid()).pw_name}"
ACCOUNTED = {
    "done": ("done", ""),
    "exit code": ("failed", "exit code 3"),
    "killed": ("failed", "ended by signal 9"),
    "cancelled running": ("cancelled", BY_US),
    "cancelled pending": ("cancelled", BY_US),
    "cancelled array 0": ("cancelled", BY_US),
    "cancelled array 2": ("cancelled", BY_US),
    "given up": ("blocked", NEVER),
    "time limit": ("failed", "the time limit was reached"),
    "node failed": ("lost", "its node failed"),
    "preempted": ("lost", "preempted"),
    "node failed and requeued": ("done", ""),
    "preempted and requeued": ("done", ""),
    "array 0": ("done", ""),
    "array 1": ("failed", "exit code 1"),
}


@pytest.mark.parametrize("name", ACCOUNTED)
def test_every_end_is_named_with_accounting(both, name: str) -> None:
    assert both["accounting"].heard[name][-1] == (*ACCOUNTED[name], True)


@pytest.mark.parametrize("name", ACCOUNTED)
def test_every_end_is_named_without_accounting(both, name: str) -> None:
    answer = both["no accounting"].heard[name][-1]
    assert (answer.state, answer.final) == (ACCOUNTED[name][0], True)


@pytest.mark.parametrize("cluster", ["accounting", "no accounting"])
def test_what_will_not_end_by_itself_is_in_the_queue(both, cluster: str) -> None:
    here = both[cluster]
    assert here.heard["never"][-1] == ("blocked", NEVER, False)
    assert here.heard["held"][-1] == ("queued", words("JobHeldUser"), False)


@pytest.mark.parametrize("cluster", ["accounting", "no accounting"])
@pytest.mark.parametrize("name", ["node failed and requeued", "preempted and requeued"])
def test_a_requeued_job_is_never_called_failed_or_lost(both, cluster: str, name: str) -> None:
    assert set(both[cluster].states(name)) <= {"queued", "running", "done"}


def test_accounting_that_does_not_exist_is_asked_once(both) -> None:
    assert both["no accounting"].transport.asked.count("sacct") == 1


def test_a_stopped_controller_changes_no_answer(both) -> None:
    here = both["accounting"]
    before = here.ask()
    with here.cluster.stopped("slurmctld"):
        assert here.ask() == before
        assert "Unable to contact slurm controller" in here.snapshot.news.silent
    here.submit("after", wrap="exit 0")
    here.cluster.wait_state(here.jobs["after"].id, "COMPLETED")
    assert here.ask()["after"].state == "done"


def test_a_stopped_accounting_changes_no_answer(both) -> None:
    here = both["accounting"]
    with here.cluster.stopped("slurmdbd"):
        here.submit("unaccounted", wrap="exit 0")
        here.cluster.wait_state(here.jobs["unaccounted"].id, "COMPLETED")
        assert here.ask()["unaccounted"].state == "done"


@pytest.mark.parametrize("jobs", [10, 100, 1000])
def test_calls_per_round_are_constant_in_the_jobs(both, tmp_path, jobs: int) -> None:
    """Counted where they arrive: by the controller (`sdiag`)."""
    cluster = both["accounting"].cluster
    array = cluster.sbatch("-H", f"--array=0-{jobs - 1}", wrap="exit 0")
    snapshot = Snapshot("here", At(cluster), tmp_path)
    before = _requests(cluster)
    answers = snapshot.answers({Native("here", array, task): time.time() - 60 for task in range(jobs)})
    assert len(answers) == jobs
    assert _requests(cluster) - before == 1
    cluster.call("scancel", array)


def _requests(cluster: DevCluster) -> int:
    """Return how often the controller was asked for jobs."""
    lines = [line for line in cluster.call("sdiag").splitlines() if "REQUEST_JOB_INFO" in line]
    assert lines, "sdiag counts no requests"
    return sum(int(line.partition("count:")[2].split()[0]) for line in lines)
