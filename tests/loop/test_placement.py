"""Runs on several clusters: who asks, where inputs are found, and what cannot be."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import lab
from tuneloop.documents.config import Profile
from tuneloop.documents.errors import InputError, MissingError, UnreachableError
from tuneloop.documents.locks import is_held
from tuneloop.documents.yamltext import dump_yaml, load_yaml
from tuneloop.experiment.layout import Layout
from tuneloop.experiment.read import read_experiment
from tuneloop.experiment.store import all_specs, read_jobs
from tuneloop.experiment.work import COLLECT
from tuneloop.jobs.batches import Batch
from tuneloop.jobs.board import read_board
from tuneloop.jobs.executors import Native, Order
from tuneloop.jobs.executors.local import Local
from tuneloop.loop.orders import Crew
from tuneloop.loop.run import plan_run, start
from tuneloop.loop.scaffold import plan_scaffold

FAR = {"executor": "slurm", "cpus": 3, "ssh": "far", "scratch": "/scratch", "python": "/opt/there/bin/python"}
_PLACED = "runs: [{name: control, kind: control}, {name: lr1e-4, cluster: far}]\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "tuneloop.yaml").write_text(dump_yaml({"clusters": {"far": FAR, "near": {"executor": "slurm"}}}))
    return tmp_path


def experiment(project: Path, *, runs: str = "", design: str = "", **paths: str) -> Path:
    """Return an echo experiment with another list of runs, and other paths of its model and data."""
    folder = lab.make_echo(project / "exp", rest=design, scaffold=False)
    summary = folder / "experiment_summary.md"
    text = summary.read_text()
    head = load_yaml(text.split("---\n")[1])
    head |= load_yaml(runs) or {}
    head["model"] = paths.get("model", head["model"])
    for entry in head["data"]:
        entry["path"] = paths.get("data", entry["path"])
    summary.write_text("---\n" + dump_yaml(head) + "---\n" + text.split("---\n", 2)[2])
    return folder


def faults(folder: Path) -> list[str]:
    found = read_experiment(folder)
    with pytest.raises((InputError, MissingError)) as caught:
        plan_scaffold(found, Crew(found))
    return [str(problem) for problem in caught.value.problems]


class Watched(Local):
    """This machine, telling whether the journal is locked when it is asked for something."""

    def prepare(self) -> None:
        self.locked = {"prepare": is_held(self.layout.journal_lock)}

    def submit(self, batch: Batch, after: Sequence[Order]) -> Native:
        self.locked["submit"] = is_held(self.layout.journal_lock)
        return super().submit(batch, after)

    def start(self) -> None:
        """Start nothing."""
        self.locked["start"] = is_held(self.layout.journal_lock)


class Silent(Watched):
    """A cluster that takes one batch and then does not answer any more."""

    def submit(self, batch: Batch, after: Sequence[Order]) -> Native:
        if "submit" in self.locked:
            raise UnreachableError("no answer")
        return super().submit(batch, after)


def test_what_jobs_read_is_brought_to_them_before_anybody_holds_the_journal(tmp_path: Path) -> None:
    """A model of 16 GB takes an hour: `cancel` must not wait for it."""
    found = read_experiment(lab.make_echo(tmp_path / "exp"))
    fleet = Crew(found).fleet()
    watched = Watched(found.layout, "local", Profile())
    fleet.made["local"] = watched
    start(found, fleet, plan_run(found, read_board(found, fleet)), by="test")
    assert watched.locked == {"prepare": False, "submit": True, "start": False}


def test_what_was_taken_before_a_cluster_fell_silent_is_started(tmp_path: Path) -> None:
    found = read_experiment(lab.make_echo(tmp_path / "exp"))
    fleet = Crew(found).fleet()
    silent = Silent(found.layout, "local", Profile())
    fleet.made["local"] = silent
    with pytest.raises(UnreachableError):
        start(found, fleet, plan_run(found, read_board(found, fleet)), by="test")
    assert "start" in silent.locked


def test_an_interpreter_of_no_worker_is_a_fault_before_anything_is_scaffolded(project: Path) -> None:
    folder = experiment(project, design="cluster: near\n")
    named = {"echoo": "/opt/python", "analysis": sys.executable}
    (project / "tuneloop.yaml").write_text(dump_yaml({"clusters": {"near": {"executor": "slurm", "python": named}}}))
    (fault,) = faults(folder)
    assert "experiment_summary.md:" in fault
    assert "`clusters.near.python` names an unknown worker `echoo`\n  hint: did you mean `echo`?" in fault


def test_a_run_and_its_evaluations_are_scaffolded_for_the_cluster_that_it_names(project: Path) -> None:
    folder = experiment(project, runs=_PLACED)
    lab.cli("scaffold-experiment", folder)
    clusters = {job.key: job.shape.cluster for job in all_specs(read_jobs(Layout(folder)))}
    far = {key for key, cluster in clusters.items() if cluster == "far"}
    assert far == {"train/lr1e-4", "eval/lr1e-4/e0/cap", "eval/lr1e-4/e1/cap"}
    assert {cluster for key, cluster in clusters.items() if key not in far} == {"local"}
    assert "/opt/there/bin" in (folder / "lr1e-4" / "finetune.slurm").read_text()
    assert str(Path(sys.executable).parent) in (folder / "lr1e-3" / "finetune.slurm").read_text()


@pytest.mark.parametrize(("design", "runs", "expected"), [("", _PLACED, "local"), ("cluster: far\n", "", "far")])
def test_the_job_that_collects_runs_where_all_others_run_and_here_where_they_are_apart(
    project: Path, design: str, runs: str, expected: str
) -> None:
    folder = experiment(project, design=design, runs=runs)
    lab.cli("scaffold-experiment", folder)
    specs = {job.key: job for job in all_specs(read_jobs(Layout(folder)))}
    assert specs[COLLECT].shape.cluster == expected


def test_jobs_elsewhere_find_what_lies_outside_within_the_experiment_and_are_the_same_jobs(project: Path) -> None:
    data = project / "it's data.jsonl"
    (project / "base").mkdir()
    (project / "base" / "config.json").write_text("{}")
    digests = []
    for number, cluster in enumerate(("local", "far")):
        place = project / str(number)
        place.mkdir()
        (place / "tuneloop.yaml").write_text((project / "tuneloop.yaml").read_text())
        design = f"cluster: {cluster}\n"
        folder = experiment(place, design=design, model=str(project / "base"), data=str(data))
        data.write_bytes((folder / "data.jsonl").read_bytes())
        lab.cli("scaffold-experiment", folder)
        digests.append([job.digest for job in all_specs(read_jobs(Layout(folder)))])
        request = json.loads((folder / "control" / "eval" / "cap_base.json").read_text())
        for path, outside in ((request["model"], project / "base"), (request["data"]["path"], data)):
            assert Path(path).is_absolute() == (cluster == "local")
            assert (folder / "control" / path).resolve() == outside
    assert digests[0] == digests[1]


def test_planning_makes_no_link(project: Path) -> None:
    folder = experiment(project, design="cluster: far\n", data=str(project / "data.jsonl"))
    (project / "data.jsonl").write_bytes((folder / "data.jsonl").read_bytes())
    lab.cli("scaffold-experiment", folder, "--dry-run")
    assert not Layout(folder).inputs.exists()


def test_an_evaluation_of_a_checkpoint_that_another_cluster_makes_is_a_fault_with_its_line(project: Path) -> None:
    runs = "runs: [{name: again, kind: eval-only, checkpoint: lr1e-3@0, cluster: near}]\n"
    (fault,) = faults(experiment(project, runs=runs))
    assert "experiment_summary.md:" in fault
    assert "`again` runs on `near` and reads a checkpoint of `lr1e-3`, made on `local`" in fault
    assert "hint: set `cluster: local` for `again`" in fault


def test_a_checkpoint_of_another_experiment_does_not_reach_a_cluster_over_ssh(project: Path) -> None:
    lab.make_echo(project / "first")
    folder = experiment(project, design="cluster: far\n", model="../first/lr1e-3@1")
    (fault,) = faults(folder)
    assert "`far` cannot read `../first/lr1e-3@1`" in fault
    assert "tuneloop export" in fault


def test_a_cluster_that_nobody_knows_is_named_with_the_line_of_the_run(project: Path) -> None:
    folder = experiment(project, runs="runs: [{name: lr1e-4, cluster: fra}]\n")
    (fault,) = faults(folder)
    assert "experiment_summary.md:" in fault
    assert "no cluster profile `fra`" in fault
    assert "far" in fault.split("hint:")[1]


@pytest.mark.parametrize("python", [None, "python3", "~/bin/python"])
def test_a_cluster_over_ssh_needs_an_interpreter_of_its_own(project: Path, python: str | None) -> None:
    folder = experiment(project, runs="runs: [{name: lr1e-4, cluster: far}]\n", design="cluster: near\n")
    profile = {key: value for key, value in {**FAR, "python": python}.items() if value is not None}
    (project / "tuneloop.yaml").write_text(dump_yaml({"clusters": {"far": profile, "near": {"executor": "slurm"}}}))
    (fault,) = faults(folder)
    assert "names no interpreter there for `echo`" in fault


def test_what_another_cluster_has_is_not_handed_over(project: Path) -> None:
    folder = experiment(project)
    lab.cli("scaffold-experiment", folder)
    lab.run(folder, verb=("run-echo",))  # training alone
    head = (folder / "experiment_summary.md").read_text()
    moved = head.replace("runs:\n", "runs:\n- {name: lr1e-4, cluster: far}\n", 1)
    assert moved != head
    (folder / "experiment_summary.md").write_text(moved)
    lab.cli("scaffold-experiment", folder)
    plan = lab.plan_id(folder)
    assert plan is not None
    done = lab.cli("run-experiment", folder, "--yes", plan, "--detach", check=False)
    assert done.returncode == 2
    assert "runs on `far` and needs train/lr1e-4, which `local` has" in done.stderr
