"""SIGKILL of the command that hands over, at each step and inside sbatch: nothing is submitted twice, nothing lost."""

import signal
from pathlib import Path

import pytest

from kills import dying
from lab import cli, events, plan_id, results, starts, states, until
from slurm_cluster import DevCluster
from slurm_lab import copy_of, hand_over, make_on_slurm, scheduler_starts, shims, tokens, wait

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("on_cluster")]

EVENTS = 9  # of handing over: consented, then submitting and submitted for each of four batches
JOBS = 4  # one training, its evaluation, the control's, and the one that collects
POINTS = [f"{number} {when}" for number in range(1, EVENTS + 1) for when in ("before", "after")]
# Right before the first sbatch, and in the middle; `make soak` dies everywhere.
QUICK = {"2 after", "6 after"}


@pytest.fixture(scope="module")
def scaffolded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_on_slurm(
        tmp_path_factory.mktemp("scaffolded") / "lab", "{lr: [1e-3]}", "{epochs: 1, seconds: 0.2, steps: 4}"
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, scaffolded: Path) -> Path:
    folder = copy_of(scaffolded, tmp_path_factory.mktemp("undisturbed") / "lab")
    hand_over(folder)
    assert wait(folder) == 0
    return folder


@pytest.fixture
def folder(tmp_path: Path, scaffolded: Path) -> Path:
    return copy_of(scaffolded, tmp_path / "lab")


def killed(folder: Path, env: dict[str, str]) -> None:
    plan = plan_id(folder)
    assert plan is not None
    died = cli("run-experiment", folder, "--yes", plan, "--detach", check=False, env=env)
    assert died.returncode == -signal.SIGKILL, died.stderr


def assert_as_undisturbed(cluster: DevCluster, folder: Path, undisturbed: Path) -> None:
    """Every job done, with the same results, started once, and once by the scheduler's own account."""
    assert wait(folder) == 0, states(folder)
    assert set(states(folder).values()) == {"done"}
    assert results(folder) == results(undisturbed)
    assert set(starts(folder).values()) == {1}
    assert len(starts(folder)) == JOBS
    until(lambda: sum(scheduler_starts(cluster, folder).values()) >= JOBS, 60, "all starts in accounting")
    assert sum(scheduler_starts(cluster, folder).values()) == JOBS


def test_handing_over_writes_the_events_counted_here(undisturbed: Path) -> None:
    kinds = [line["event"] for line in events(undisturbed)]
    assert kinds == ["added", "consented", *["submitting", "submitted"] * JOBS]
    assert len(kinds) == EVENTS + 1
    assert sum(tokens(undisturbed).values()) == JOBS


@pytest.mark.parametrize(
    "point", [point if point in QUICK else pytest.param(point, marks=pytest.mark.soak) for point in POINTS]
)
def test_killed_at_a_journal_event(
    point: str, tmp_path: Path, cluster: DevCluster, folder: Path, undisturbed: Path
) -> None:
    killed(folder, dying(tmp_path / "site", point))
    hand_over(folder)
    assert_as_undisturbed(cluster, folder, undisturbed)


# The first sbatch kills the command that called it, through the shell between them; any other is the real one.
_ONCE = """\
if [ -e {flag} ]; then exec "$REAL" "$@"; fi
: >{flag}
shell=$PPID
command=$(ps -o ppid= -p "$shell" | tr -d ' ')
"""
SBATCH = {
    # It lives on, and the next command waits for it.
    "goes on alone": 'kill -9 "$command"; sleep 2; exec "$REAL" "$@"',
    "dies before": 'kill -9 "$command" "$shell"; exit 1',
    # Handed over, and nobody heard the id.
    "dies after": '"$REAL" "$@" >/dev/null; kill -9 "$command" "$shell"; exit 1',
    # The same, and the job does not begin, so that it cannot say so itself.
    "dies after, held": '"$REAL" --hold "$@" >/dev/null; kill -9 "$command" "$shell"; exit 1',
}


@pytest.mark.parametrize("how", SBATCH)
def test_killed_inside_sbatch(how: str, tmp_path: Path, cluster: DevCluster, folder: Path, undisturbed: Path) -> None:
    killed(folder, shims(tmp_path / "bin", _ONCE.format(flag=tmp_path / "flag") + SBATCH[how]))
    hand_over(folder)
    for job in [job for job, found in cluster.queue().items() if found == ("PENDING", "JobHeldUser")]:
        cluster.call("scontrol", "release", job)
    assert_as_undisturbed(cluster, folder, undisturbed)


def test_what_arrives_after_it_was_given_up_does_nothing(
    tmp_path: Path, cluster: DevCluster, folder: Path, undisturbed: Path
) -> None:
    late = '(exec 9>&- </dev/null >/dev/null 2>&1; sleep 8; "$REAL" "$@") & kill -9 "$command" "$shell"; exit 1'
    killed(folder, shims(tmp_path / "bin", _ONCE.format(flag=tmp_path / "flag") + late))
    hand_over(folder)
    [given_up] = [str(line["token"]) for line in events(folder) if line["event"] == "refused"]
    assert wait(folder) == 0
    cluster.wait_accounted(given_up)
    assert [row.exit_code for row in cluster.accounting_rows(given_up)] == ["69:0"]
    assert set(starts(folder).values()) == {1}
    assert results(folder) == results(undisturbed)


def test_only_the_word_of_sbatch_is_a_refusal(tmp_path: Path, cluster: DevCluster, folder: Path) -> None:
    plan = plan_id(folder)
    assert plan is not None
    ended = cli(
        *("run-experiment", folder, "--yes", plan, "--detach"),
        check=False,
        env=shims(tmp_path / "bin", '"$REAL" --hold "$@" >/dev/null; kill -9 $$'),
    )
    assert ended.returncode == 3
    assert "sbatch ended with 137" in ended.stderr
    assert "refused" not in [line["event"] for line in events(folder)], "the job is in the queue"
    hand_over(folder)
    assert list(tokens(folder).values()) == [1] * JOBS, "what arrived was handed over again"
    cluster.cancel_all()
