"""What a profile puts into scripts counts from the next scaffold: who hands jobs over says so, and no result is lost."""

import json
import sys
from pathlib import Path

import pytest

from lab import cli, make_echo, run, starts, states
from tuneloop.documents.config import Profile
from tuneloop.experiment.layout import Layout
from tuneloop.experiment.store import all_specs, read_jobs
from tuneloop.loop.setups import setup_mark

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment of which nothing is run."""
    return made(tmp_path_factory.mktemp("planned"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return made(tmp_path)


def made(root: Path) -> Path:
    """Return an experiment on this machine whose profile sets a variable."""
    profile(root, "environment: {A: before}")
    return make_echo(root / "exp", variables="{lr: [1e-3]}", controls="{epochs: 1, seconds: 0.1, steps: 1}")


def profile(root: Path, text: str) -> None:
    (root / "tuneloop.yaml").write_text(f"clusters: {{local: {{{text}}}}}\n")


def refusal(folder: Path, *command: str) -> str:
    """Return what a command says that refuses to hand jobs over; nothing where it would do it."""
    verb, *options = command or ("run-experiment", "--dry-run")
    done = cli(verb, folder, *options, check=False)
    assert done.returncode in (0, 2)
    return done.stderr if done.returncode else ""


@pytest.mark.parametrize(
    "text",
    [
        "environment: {A: after}",
        "",
        "environment: {A: before}, modules: [cuda]",
        "environment: {A: before}, source: [site.sh]",
        f"environment: {{A: before}}, python: {sys.executable}",
        f"environment: {{A: before}}, python: {{echo-eval: {sys.executable}}}",
    ],
    ids=["another value", "no value", "modules", "source", "python", "python of one worker"],
)
def test_scripts_of_another_profile_are_not_handed_over(text: str, planned: Path) -> None:
    profile(planned.parent, text)
    said = refusal(planned)
    assert "the profile `local` has changed since " in said
    assert f"hint: `tuneloop scaffold-experiment {planned}`" in said


@pytest.mark.parametrize("command", ["run-experiment --yes 12345678", "run-echo --dry-run", "retry --failed --dry-run"])
def test_every_command_that_hands_over_refuses(command: str, planned: Path) -> None:
    profile(planned.parent, "environment: {A: after}")
    assert "the profile `local` has changed since train/lr1e-3 was scaffolded" in refusal(planned, *command.split())


def test_what_is_read_at_each_submission_asks_for_no_scaffold(planned: Path) -> None:
    profile(planned.parent, "environment: {A: before}, slots: 1, prices: {cpu_hour: 1}")
    assert refusal(planned) == ""


def test_one_worker_s_interpreter_is_no_matter_of_another(planned: Path) -> None:
    profile(planned.parent, f"environment: {{A: before}}, python: {{echo-eval: {sys.executable}}}")
    assert refusal(planned, "run-echo", "--dry-run") == ""


def test_scaffolding_again_writes_the_set_up_and_keeps_every_result(folder: Path) -> None:
    run(folder, verb=("run-echo",))  # training alone
    before = starts(folder)
    profile(folder.parent, "environment: {A: after}")
    assert states(folder)["train/lr1e-3"] == "done"
    assert refusal(folder)
    cli("scaffold-experiment", folder)
    assert states(folder)["train/lr1e-3"] == "done"
    for script in (folder / "lr1e-3" / "finetune.slurm", folder / "lr1e-3" / "eval" / "cap_epoch0.slurm"):
        assert "\nexport A=after ||" in script.read_text()
    run(folder)
    assert set(states(folder).values()) == {"done"}
    assert {job: number for job, number in starts(folder).items() if job in before} == before


def test_scaffolding_one_worker_leaves_the_others_to_be_told(folder: Path) -> None:
    profile(folder.parent, "environment: {A: after}")
    cli("scaffold-echo", folder)
    assert refusal(folder, "run-echo", "--dry-run") == ""
    assert "has changed since eval/" in refusal(folder)


def test_jobs_scaffolded_before_there_was_a_fingerprint_are_taken_as_they_are(folder: Path) -> None:
    for path in (folder / ".tuneloop" / "jobs").iterdir():
        stored = json.loads(path.read_text())
        assert set(stored.pop("setups")) == {job["key"] for job in stored["jobs"]}
        path.write_text(json.dumps(stored))
    profile(folder.parent, "environment: {A: after}")
    assert refusal(folder) == ""


def test_a_set_up_that_fails_on_this_machine_says_so_in_the_runner_s_log(tmp_path: Path) -> None:
    profile(tmp_path, "source: [/nowhere/site.sh]")
    folder = make_echo(tmp_path / "exp", variables="{lr: [1e-3]}", controls="{epochs: 1, seconds: 0, steps: 1}")
    run(folder, check=False)
    assert states(folder)["train/lr1e-3"] == "failed"
    assert "/nowhere/site.sh" in Layout(folder).runner_log.read_text()


def test_a_cluster_that_becomes_remote_is_another_set_up(folder: Path) -> None:
    job = all_specs(read_jobs(Layout(folder)))[0]
    near = Profile(executor="slurm", python=sys.executable)
    far = near.model_copy(update={"ssh": "far", "scratch": "runs"})
    assert setup_mark(near, job) != setup_mark(far, job)
