"""A command that is typed again goes on: the yes that it had holds for what is left, and for nothing else."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kills import dying
from lab import as_json, cli, events, make_echo, plan_id, run, states, until
from tuneloop.experiment.read import read_experiment
from tuneloop.experiment.work import COLLECT, JobKey, State
from tuneloop.jobs.board import Board, read_board
from tuneloop.jobs.state import JobStatus
from tuneloop.loop.orders import Crew
from tuneloop.loop.run import FRESH, outcome, plan_run, start

QUICK = "{epochs: 1, seconds: 0, steps: 2}"


def board_of(folder: Path, **found: State) -> tuple[Any, Board]:
    """Return the experiment and its board, with some jobs in another state."""
    experiment = read_experiment(folder)
    board = read_board(experiment, Crew(experiment).fleet())
    keys = {"train": "train/lr1e-3", "eval": "eval/lr1e-3/e0/cap", "collect": COLLECT}
    changed = {JobKey(keys[name]): state for name, state in found.items()}
    return experiment, replace(
        board,
        states={key: replace(item, state=changed.get(key, item.state)) for key, item in board.states.items()},
    )


@pytest.fixture(scope="module")
def scaffolded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_echo(tmp_path_factory.mktemp("scaffolded") / "exp", "{lr: [1e-3]}", QUICK)


@pytest.mark.parametrize(
    ("found", "picked"),
    [
        ({"train": "lost", "eval": "blocked"}, {"train/lr1e-3", "eval/lr1e-3/e0/cap"}),
        ({"train": "done", "eval": "blocked"}, {"eval/lr1e-3/e0/cap"}),
        ({"train": "running", "eval": "blocked"}, {"eval/lr1e-3/e0/cap"}),
        ({"train": "failed", "eval": "blocked"}, set()),
        ({"train": "cancelled", "eval": "cancelled"}, set()),
    ],
)
def test_what_a_scheduler_gave_up_goes_again_with_what_it_needs(
    found: dict[str, State], picked: set[str], scaffolded: Path
) -> None:
    plan = plan_run(*board_of(scaffolded, **found))
    assert {job.key for job in plan.jobs if "lr1e-3" in job.key} == picked


def test_a_yes_covers_less_of_the_same_and_nothing_else(scaffolded: Path) -> None:
    experiment, board = board_of(scaffolded)
    plan = plan_run(experiment, board)
    less = plan_run(*board_of(scaffolded, train="running"))
    assert len(less.jobs) == len(plan.jobs) - 1
    assert plan.covers(less)
    assert not less.covers(plan)
    assert not replace(plan, budget_hours=1.0).covers(less)
    status = board.states[plan.jobs[0].key]
    assert isinstance(status, JobStatus)
    lost = replace(board, states={**board.states, status.key: replace(status, state="lost", token="t")})  # type: ignore[arg-type]
    assert not plan.covers(plan_run(experiment, lost, FRESH)), "it was tried meanwhile"


@pytest.mark.slow
@pytest.mark.parametrize("point", ["2 after", "3 after", "4 before"])
def test_killed_while_it_hands_over_the_same_line_goes_on(point: str, tmp_path: Path) -> None:
    folder = make_echo(tmp_path / "exp", "{lr: [1e-3]}", QUICK)
    line = ("run-experiment", folder, "--yes", plan_id(folder) or "", "--detach")
    assert cli(*line, check=False, env=dying(tmp_path / "site", point)).returncode < 0
    cli(*line)
    cli("wait", folder, "--timeout", "60")
    assert set(states(folder).values()) == {"done"}
    assert [item["plan"] for item in events(folder) if item["event"] == "consented"] == [line[3]]
    other = cli("run-experiment", folder, "--yes", "0" * 8, "--detach")
    assert "0 jobs handed over" in other.stdout


@pytest.mark.slow
def test_a_wait_does_not_call_finished_what_was_not_handed_over(tmp_path: Path) -> None:
    folder = make_echo(tmp_path / "exp", "{lr: [1e-3]}", QUICK)
    plan = plan_id(folder) or ""
    env = dying(tmp_path / "site", "4 before")  # after the first of four batches
    assert cli("run-experiment", folder, "--yes", plan, "--detach", check=False, env=env).returncode < 0
    experiment, board = board_of(folder, train="done")
    assert board.unhanded == 3
    assert outcome(board) == 1
    said = cli("status", folder).stdout
    assert "not handed over yet: 3 of the jobs that have a yes" in said
    assert f"`tuneloop run-experiment {folder}` hands them over" in said
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    cli("cancel", copy, check=False)
    assert board_of(copy)[1].unhanded == 0, "who cancels has to say yes anew"
    assert "the plan has changed" in cli("run-experiment", copy, "--yes", plan, "--detach", check=False).stderr
    run(folder)
    assert board_of(folder)[1].unhanded == 0
    assert outcome(board_of(folder)[1]) == 0
    assert experiment.layout.report.is_file()


@pytest.mark.slow
def test_a_yes_is_taken_back_when_nothing_goes_any_more(tmp_path: Path) -> None:
    folder = make_echo(tmp_path / "exp", "{lr: [1e-3]}", QUICK)
    env = dying(tmp_path / "site", "4 before")
    cli("run-experiment", folder, "--yes", plan_id(folder) or "", "--detach", check=False, env=env)
    Crew(read_experiment(folder)).fleet().start(["local"])
    until(lambda: states(folder)["train/lr1e-3"] == "done", 60, "the training")
    waited = as_json("wait", folder, check=False)
    assert (waited["exit"], waited["unhanded"]) == (1, 3)
    assert "would not hand over 3 jobs with a yes" in cli("cancel", folder, "--dry-run").stdout
    assert "3 jobs with a yes will not be handed over" in cli("cancel", folder).stdout
    assert as_json("wait", folder)["unhanded"] == 0
    assert "nothing to cancel" in cli("cancel", folder, check=False).stderr


@pytest.mark.slow
def test_the_command_that_goes_on_is_the_one_that_had_the_yes(tmp_path: Path) -> None:
    folder = make_echo(tmp_path / "exp", "{lr: [1e-3]}", QUICK)
    env = dying(tmp_path / "site", "2 before")
    cli("run-echo", folder, "--yes", plan_id(folder, "run-echo") or "", "--detach", check=False, env=env)
    said = cli("status", folder).stdout
    assert "not handed over yet: 1 of the jobs that have a yes" in said
    assert f"`tuneloop run-echo {folder}` hands them over" in said


@pytest.mark.slow
def test_what_another_command_has_handed_over_needs_no_second_yes(tmp_path: Path) -> None:
    folder = make_echo(tmp_path / "exp", "{lr: [1e-3]}", QUICK)
    experiment, board = board_of(folder)
    fleet = Crew(experiment).fleet()
    trainings = replace(FRESH, worker="echo", command="run-echo {}")
    plan = plan_run(experiment, board, trainings)
    assert len(start(experiment, fleet, plan, trainings, by="first").keys) == 1
    second = start(experiment, fleet, plan, trainings, by="second")
    assert (second.keys, second.without_room) == ((), 0)
    assert [item["by"] for item in events(folder) if item["event"] == "consented"] == ["first"]
    assert as_json("wait", folder)["unhanded"] == 0
