"""What fits into a site's queue goes in whole chains; what jobs cost is hours times prices; limits are told first."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab import as_json, cli, make_echo
from tuneloop.documents.config import Config, Configuration
from tuneloop.documents.errors import InputError
from tuneloop.documents.profile import Limits, Prices, Profile
from tuneloop.experiment.layout import Layout
from tuneloop.experiment.read import read_experiment
from tuneloop.experiment.store import all_specs, read_jobs
from tuneloop.experiment.work import COLLECT, JobKey, JobSpec, Need, Shape, eval_key, train_key
from tuneloop.loop.costs import costs
from tuneloop.loop.fitting import fitting, limits_of, refuse_unfit
from tuneloop.loop.orders import Crew
from tuneloop.loop.scaffold import plan_scaffold


def job(key: JobKey, *needs: JobKey, cluster: str = "site", when: str = "ok", shape: Shape | None = None) -> JobSpec:
    return JobSpec(
        key=key, worker="echo", run=None, script="s", attempts="a", makes=(), digest="d",
        needs=tuple(Need(need, when) for need in needs),  # type: ignore[arg-type]
        shape=shape or Shape(cluster), resumable=False, seconds=3600, log="l",
    )  # fmt: skip


def plan(runs: int, evaluations: int, clusters: tuple[str, ...] = ("site",)) -> list[JobSpec]:
    """Return jobs as scaffolding orders them: trainings, evaluations, the one that collects."""
    places = {run: clusters[run % len(clusters)] for run in range(runs)}
    trainings = [job(train_key(f"r{run}"), cluster=places[run]) for run in range(runs)]
    after = [
        job(eval_key(f"r{run}", 1, f"e{number}"), train_key(f"r{run}"), cluster=places[run])
        for number in range(evaluations)
        for run in range(runs)
    ]
    last = job(COLLECT, *(item.key for item in (*trainings, *after)), when="any", cluster=clusters[0])
    return [*trainings, *after, last]


def test_chains_go_whole_and_in_their_order() -> None:
    jobs = plan(runs=3, evaluations=1)
    assert [item.key for item in fitting(jobs, {"site": 5})] == [
        "train/r0", "train/r1", "eval/r0/e1/e0", "eval/r1/e1/e0",
    ]  # fmt: skip
    assert fitting(jobs, {"site": 7}) == jobs
    assert fitting(jobs, {"site": 6}) == jobs[:-1]  # the report waits for all, so it goes last
    assert fitting(jobs, {"site": 1}) == []
    assert fitting(jobs, {"site": -3}) == []
    assert fitting(jobs, {}) == jobs


@given(runs=st.integers(1, 6), evaluations=st.integers(0, 3), rooms=st.tuples(st.integers(-1, 20), st.integers(-1, 20)))
def test_what_goes_fits_and_is_complete(runs: int, evaluations: int, rooms: tuple[int, int]) -> None:
    jobs = plan(runs, evaluations, ("a", "b"))
    room = dict(zip("ab", rooms, strict=True))
    kept = fitting(jobs, room)
    keys = {item.key for item in kept}
    for cluster, number in room.items():
        assert sum(item.shape.cluster == cluster for item in kept) <= max(0, number)
    for item in jobs:  # of a chain all or nothing; the report with all the others
        if item.key in keys:
            assert {need.job for need in item.needs} <= keys
        elif item.key != COLLECT:
            assert not any(item.key in {need.job for need in other.needs} for other in kept)
    trainings = {item.key.split("/")[1] for item in kept if item.key.startswith("train")}
    assert len(keys - {COLLECT}) == len(trainings) * (1 + evaluations)


def test_a_cost_is_the_hours_of_every_gpu_and_processor() -> None:
    profiles = {
        "site": Profile(executor="slurm", prices=Prices(gpu_hour=2, cpu_hour=0.1, currency="EUR")),
        "free": Profile(executor="slurm"),
    }
    configuration = Configuration(Config(clusters=profiles), (), Path())
    jobs = [
        job(train_key("a"), shape=Shape("site", nodes=2, gpus=4, cpus=8)),
        job(train_key("b"), shape=Shape("site", cpus=4)),
        job(train_key("c"), shape=Shape("free", gpus=8)),
    ]
    (cost,) = costs(jobs, configuration)
    assert (cost.cluster, cost.gpu_hours, cost.cpu_hours, cost.currency) == ("site", 8, 20, "EUR")
    assert cost.amount == pytest.approx(18)
    assert str(cost) == "18.00 EUR on site (8.00 GPU hours, 20.00 CPU hours)"


def test_only_a_limit_that_is_known_counts() -> None:
    profiles = {
        "a": Profile(executor="slurm", limits=Limits(jobs=3)),
        "b": Profile(executor="slurm"),
        "local": Profile(),
    }
    assert limits_of(Configuration(Config(clusters=profiles), (), Path())) == {"a": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment for a cluster that nobody asks: two runs and a control, with an evaluation each."""
    root = tmp_path_factory.mktemp("project")
    configure(root, "{}")
    return make_echo(root / "exp", rest="cluster: site\n")


def configure(root: Path, limits: str, prices: str = "{}") -> None:
    (root / "tuneloop.yaml").write_text(
        f"clusters:\n  site: {{executor: slurm, cpus: 2, limits: {limits}, prices: {prices}}}\n"
    )


@pytest.mark.slow
def test_what_asks_for_more_time_than_the_site_gives_is_refused_and_scaffolding_fits_it(folder: Path) -> None:
    configure(folder.parent, "{minutes: 1}")
    done = cli("run-experiment", folder, "--dry-run", check=False)
    assert done.returncode == 2
    assert "asks for 30 minutes, and `site` allows 1" in done.stderr
    assert "experiment_summary.md:" in done.stderr
    assert f"hint: `tuneloop scaffold-experiment {folder}` fits what jobs ask for to the limit" in done.stderr
    cli("scaffold-experiment", folder)
    assert as_json("run-experiment", folder, "--dry-run")["jobs"]
    shapes = [job.shape.minutes for job in all_specs(read_jobs(Layout(folder)))]
    assert set(shapes) == {1}
    scripts = [folder / "lr1e-3" / "finetune.slurm", Layout(folder).collect_script]
    assert all("#SBATCH --time=0-00:01:00\n" in script.read_text() for script in scripts)
    configure(folder.parent, "{minutes: 60}")  # what it cut asks for more again
    raised = cli("run-experiment", folder, "--dry-run", check=False)
    assert (raised.returncode, "the profile `site` has changed since" in raised.stderr) == (2, True)
    configure(folder.parent, "{}")
    cli("scaffold-experiment", folder)


@pytest.mark.parametrize(
    ("resumes", "epochs", "resumable", "refused"),
    [
        (3, 4, True, None),
        (0, 4, True, "train/a is expected to take 240 minutes, and `site` allows 60"),
        (3, 3, True, "an epoch of train/a is expected to take 80 minutes, and `site` allows 60"),
        (3, 4, False, "train/a is expected to take 240 minutes, and `site` allows 60"),
    ],
    ids=["it goes on later", "it may not", "an epoch is too long", "it cannot"],
)
def test_a_job_longer_than_the_limit_goes_where_it_can_go_on_later(
    resumes: int, epochs: int, resumable: bool, refused: str | None, tmp_path: Path
) -> None:
    configure(tmp_path, "{}")
    folder = make_echo(tmp_path / "exp", rest=f"cluster: site\npolicy: {{resumes: {resumes}}}\n", scaffold=False)
    made = tuple(f"checkpoint:a/e{epoch}" for epoch in range(epochs))
    long = replace(
        job(train_key("a"), shape=Shape("site", minutes=60)), seconds=4 * 3600.0, makes=made, resumable=resumable
    )
    profiles = {"site": Profile(executor="slurm", limits=Limits(minutes=60))}
    configuration = Configuration(Config(clusters=profiles), (), Path())
    if refused is None:
        refuse_unfit(read_experiment(folder), [long], configuration)
        return
    with pytest.raises(InputError) as error:
        refuse_unfit(read_experiment(folder), [long], configuration)
    assert error.value.problems[0].message == refused


@pytest.mark.slow
def test_a_chain_that_never_fits_is_refused(folder: Path) -> None:
    configure(folder.parent, "{jobs: 1}")
    done = cli("run-experiment", folder, "--dry-run", check=False)
    assert done.returncode == 2
    assert "`limits.jobs` of `site` is 1" in done.stderr
    assert "`tuneloop run-echo " in done.stderr


@pytest.mark.slow
def test_a_plan_tells_what_fits_and_what_it_costs(folder: Path) -> None:
    configure(folder.parent, "{jobs: 4}", "{cpu_hour: 3600, currency: EUR}")
    value = as_json("run-experiment", folder, "--dry-run")
    assert 0 < value["fits"] < len(value["jobs"])
    (cost,) = value["costs"]
    assert cost["amount"] == pytest.approx(3600 * cost["cpu_hours"])
    assert cost["cpu_hours"] > 0
    shown = cli("run-experiment", folder, "--dry-run").stdout
    assert f"{value['fits']} of {len(value['jobs'])} jobs have room in the queue now" in shown
    assert f"about {cost['amount']:.2f} EUR on site" in shown
    configure(folder.parent, "{}")
    value = as_json("run-experiment", folder, "--dry-run")
    assert (value["fits"], value["costs"]) == (None, [])


@pytest.mark.slow
@pytest.mark.parametrize(("limits", "minutes"), [("{minutes: 20}", 20), ("{minutes: 1440}", 30), ("{}", 30)])
def test_the_job_that_collects_asks_for_no_more_than_its_cluster_allows(
    folder: Path, limits: str, minutes: int
) -> None:
    configure(folder.parent, limits)
    found = read_experiment(folder)
    (collect,) = (job for job in plan_scaffold(found, Crew(found)).jobs if job.key == COLLECT)
    assert collect.shape.minutes == minutes
