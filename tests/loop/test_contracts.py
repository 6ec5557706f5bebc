"""The contracts of running, on echo jobs through the real command line."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from lab import (
    as_json,
    cli,
    command,
    live_attempts,
    make_echo,
    plan_id,
    results,
    run,
    runner_pid,
    starts,
    states,
    until,
)

pytestmark = pytest.mark.slow


def edit(folder: Path, old: str, new: str) -> None:
    summary = folder / "experiment_summary.md"
    text = summary.read_text()
    assert old in text
    summary.write_text(text.replace(old, new, 1))


def test_one_failure_never_stops_the_others(tmp_path: Path) -> None:
    folder = make_echo(tmp_path / "exp", variables="[{lr: 1e-3, fail: 0}, {lr: 1e-4, fail: 3}]")
    done = run(folder, check=False)
    assert done.returncode == 1
    found = states(folder)
    assert found["train/lr1e-3_fail0"] == "done"
    assert found["train/lr1e-4_fail3"] == "failed"
    assert found["eval/lr1e-3_fail0/e1/cap"] == "done"
    assert found["eval/lr1e-4_fail3/e0/cap"] == "blocked"
    assert found["collect"] == "done"
    assert "train/lr1e-4_fail3 failed: exit code 3" in done.stdout
    assert "log: " in done.stdout
    summary = (folder / "experiment_summary.md").read_text()
    assert "### train/lr1e-4_fail3 failed: exit code 3" in summary


def test_retry_hands_over_only_what_ended_undone(tmp_path: Path) -> None:
    controls = "{epochs: 1, seconds: 0.2, steps: 2, fail: 3, fail_times: 1}"
    folder = make_echo(tmp_path / "exp", controls=controls, variables="{lr: [1e-3, 1e-4]}")
    assert run(folder, check=False).returncode == 1
    before = starts(folder)
    assert plan_id(folder) is None, "run-experiment leaves failures to retry"
    plan = as_json("retry", folder, "--failed", "--dry-run")
    assert {job["key"].split("/")[0] for job in plan["jobs"]} == {"train", "eval", "collect"}
    cli("retry", folder, "--failed", "--yes", plan["plan"], "--follow")
    assert set(states(folder).values()) == {"done"}
    assert starts(folder)["control/.attempts/cap_base"] == before["control/.attempts/cap_base"]


@pytest.mark.parametrize("seconds", [55, pytest.param(890, marks=pytest.mark.soak)])
def test_caller_killed_after_three_seconds_reaches_its_report(seconds: int, tmp_path: Path) -> None:
    controls = f"{{epochs: 1, seconds: {seconds}, steps: 10}}"
    folder = make_echo(tmp_path / "exp", controls=controls)
    plan = plan_id(folder)
    assert plan is not None
    with subprocess.Popen(command("run-experiment", folder, "--yes", plan, "--follow")) as caller:
        time.sleep(3)
        caller.send_signal(signal.SIGKILL)
    assert cli("wait", folder, "--timeout", "0.1", check=False).returncode == 5
    cli("wait", folder, "--timeout", str(seconds + 120))
    assert (folder / "analysis" / "report.html").is_file()


def test_two_commands_at_once_hand_over_once(tmp_path: Path) -> None:
    folder = make_echo(tmp_path / "exp")
    plan = plan_id(folder)
    assert plan is not None
    callers = [
        subprocess.Popen(
            command("run-experiment", folder, "--yes", plan, "--detach"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(4)
    ]
    ended = [(caller.communicate(timeout=60), caller.returncode) for caller in callers]
    codes = sorted(code for _, code in ended)
    assert codes in ([0, 2, 2, 2], [0, 0, 2, 2], [0, 0, 0, 2], [0, 0, 0, 0])
    cli("wait", folder, "--timeout", "120")
    assert {job: count for job, count in starts(folder).items() if count != 1} == {}


def test_cancel_during_a_run_ends_it(tmp_path: Path) -> None:
    folder = make_echo(tmp_path / "exp", controls="{epochs: 1, seconds: 60, steps: 10}")
    run(folder, "--detach")
    until(lambda: len(live_attempts(folder)) >= 2)
    cli("cancel", folder, "lr1e-3")
    until(lambda: states(folder)["train/lr1e-3"] == "cancelled", what="the end of one run")
    assert states(folder)["eval/lr1e-3/e0/cap"] == "cancelled"
    assert states(folder)["train/lr1e-4"] == "running"
    cli("cancel", folder)
    assert cli("wait", folder, "--timeout", "60", check=False).returncode == 1
    assert live_attempts(folder) == []
    assert runner_pid(folder) is None
    assert cli("cancel", folder, check=False).returncode == 2


def test_a_design_edited_after_a_run_is_stale(tmp_path: Path) -> None:
    folder = make_echo(tmp_path / "exp")
    run(folder)
    before = results(folder)
    edit(folder, "steps: 4", "steps: 5")
    assert states(folder)["train/lr1e-3"] == "stale"
    refused = cli("run-experiment", folder, "--dry-run", check=False)
    assert refused.returncode == 2
    assert "the design has changed since it was scaffolded: lr1e-3, lr1e-4" in refused.stderr
    refused = cli("scaffold-experiment", folder, check=False)
    assert refused.returncode == 2
    assert "`lr1e-3` has 3 results from another design: " in refused.stderr
    assert f"`tuneloop scaffold-experiment {folder} --replace lr1e-3 --replace lr1e-4`" in refused.stderr
    assert results(folder) == before, "nothing is redone in silence"
    cli("scaffold-experiment", folder, "--replace", "lr1e-3", "--replace", "lr1e-4")
    assert list(folder.glob(".tuneloop/replaced/*/lr1e-3/epoch_0"))
    run(folder)
    assert set(states(folder).values()) == {"done"}
    assert results(folder) != before


def test_an_evaluation_added_later_leaves_training_alone(tmp_path: Path) -> None:
    folder = make_echo(tmp_path / "exp")
    run(folder)
    before = starts(folder)
    edit(folder, "- {name: cap,", "- {name: more, backend: echo-eval, task: echo, split: test}\n- {name: cap,")
    assert states(folder)["train/lr1e-3"] == "done"
    refused = cli("run-experiment", folder, "--dry-run", check=False)
    assert refused.returncode == 2
    assert "the design has changed since it was scaffolded: control, lr1e-3, lr1e-4" in refused.stderr
    cli("scaffold-experiment", folder)
    run(folder)
    assert set(states(folder).values()) == {"done"}
    for job, count in before.items():
        if not job.endswith("collect"):
            assert starts(folder)[job] == count


def test_a_folder_moved_elsewhere_goes_on(tmp_path: Path) -> None:
    folder = make_echo(tmp_path / "exp", controls="{epochs: 2, seconds: 1, steps: 4}")
    cli("run-echo", folder, "--yes", plan_id(folder, "run-echo") or "", "--follow")
    moved = tmp_path / "else where"
    shutil.move(folder, moved)
    run(moved)
    assert set(states(moved).values()) == {"done"}
    assert {count for job, count in starts(moved).items()} == {1}


def test_workers_are_usable_alone(tmp_path: Path) -> None:
    folder = make_echo(tmp_path / "exp", scaffold=False)
    refused = cli("scaffold-echo-eval", folder, check=False)
    assert refused.returncode == 2
    assert "scaffold-echo" in refused.stderr
    cli("scaffold-echo", folder)
    cli("scaffold-echo-eval", folder)
    cli("run-echo", folder, "--yes", plan_id(folder, "run-echo") or "", "--follow")
    cli("run-echo-eval", folder, "--yes", plan_id(folder, "run-echo-eval") or "", "--follow")
    assert set(states(folder).values()) == {"done"}
    assert "collect" not in states(folder)


def test_scaffolding_twice_writes_nothing(tmp_path: Path) -> None:
    folder = make_echo(tmp_path / "exp")
    before = {
        path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.suffix in (".slurm", ".yaml", ".json")
    }
    assert as_json("scaffold-experiment", folder)["written"] == {"analysis": 0, "echo": 0, "echo-eval": 0}
    after = {path: path.stat().st_mtime_ns for path in before}
    assert before == after


def test_dry_runs_write_nothing(tmp_path: Path) -> None:
    folder = make_echo(tmp_path / "exp")
    before = sorted(path.relative_to(folder) for path in folder.rglob("*"))
    for verb in ("scaffold-experiment", "run-experiment", "cancel", "analyze-experiment", "check-experiment"):
        cli(verb, folder, "--dry-run")
    cli("status", folder)
    assert sorted(path.relative_to(folder) for path in folder.rglob("*")) == before


def test_a_script_runs_by_hand(tmp_path: Path) -> None:
    folder = make_echo(tmp_path / "exp")
    script = folder / "lr1e-3" / "finetune.slurm"
    subprocess.run(["bash", str(script)], check=True, cwd="/")
    assert states(folder)["train/lr1e-3"] == "done"
    run(folder)
    assert starts(folder)["lr1e-3/.attempts/train"] == 1


def test_yes_never_skips_the_budget(tmp_path: Path) -> None:
    folder = make_echo(tmp_path / "exp", rest="budget: {hours: 0.00001}\n")
    plan = as_json("run-experiment", folder, "--dry-run")
    assert plan["over_budget"]
    refused = cli("run-experiment", folder, "--yes", plan["plan"], check=False)
    assert refused.returncode == 2
    assert "the budget is 1e-05 h" in refused.stderr
    assert set(states(folder).values()) == {"planned"}


def test_a_runner_is_nobodys_child(tmp_path: Path) -> None:
    folder = make_echo(tmp_path / "exp", controls="{epochs: 1, seconds: 3, steps: 3}")
    follower = subprocess.Popen(
        command("run-experiment", folder, "--yes", plan_id(folder) or "", "--follow"), stdout=subprocess.DEVNULL
    )
    until(lambda: runner_pid(folder) is not None, what="the runner")
    stat = Path(f"/proc/{runner_pid(folder)}/stat").read_text().rpartition(")")[2].split()
    assert int(stat[1]) != follower.pid
    assert follower.wait() == 0


def test_a_script_that_cannot_start_fails_instead_of_looping(tmp_path: Path) -> None:
    folder = make_echo(tmp_path / "exp")
    script = folder / "lr1e-3" / "finetune.slurm"
    script.write_text("#!/usr/bin/env bash\nexit 9\n")
    run(folder, check=False)
    assert states(folder)["train/lr1e-3"] == "failed"
    assert starts(folder)["lr1e-3/.attempts/train"] == 1


def test_a_stopped_runner_is_named(tmp_path: Path) -> None:
    folder = make_echo(tmp_path / "exp", controls="{epochs: 1, seconds: 3, steps: 3}")
    run(folder, "--detach")
    until(lambda: bool(live_attempts(folder)))
    pid = runner_pid(folder)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    stopped = cli("wait", folder, "--timeout", "60", check=False)
    assert stopped.returncode == 1
    assert "the runner has stopped" in stopped.stderr
    run(folder)
    assert set(states(folder).values()) == {"done"}


def test_one_experiment_that_cannot_be_read_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profiles = tmp_path / "tuneloop.yaml"
    profiles.write_text("experiments: {root: .}\nclusters: {gone: {executor: slurm}}\n")
    make_echo(tmp_path / "here", scaffold=False)
    make_echo(tmp_path / "there", rest="cluster: gone\n", scaffold=False)
    profiles.write_text("experiments: {root: .}\n")
    monkeypatch.chdir(tmp_path)
    listed = {Path(item["experiment"]).name: item for item in as_json("status")["experiments"]}
    assert listed["here"]["name"] == "echo"
    assert "no cluster profile `gone`" in listed["there"]["error"]
    assert "no cluster profile `gone`" in cli("status").stdout


def test_eight_logs_speak(tmp_path: Path) -> None:
    folder = make_echo(tmp_path / "exp")
    run(folder)
    verbs = ["design-experiment", "scaffold-experiment", "run-experiment", "analyze-experiment"]
    workers = ["scaffold-echo", "run-echo", "scaffold-echo-eval", "run-echo-eval"]
    for name in verbs + workers:
        lines = (folder / f"{name}.log").read_text().splitlines()
        assert lines, name
        assert all(line.split()[1] == name for line in lines)


def test_status_without_argument_lists_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_echo(tmp_path / "a" / "one")
    make_echo(tmp_path / "two", scaffold=False)
    (tmp_path / "tuneloop.yaml").write_text("experiments: {root: .}\n")
    monkeypatch.chdir(tmp_path)
    listed = json.loads(cli("status", "--json").stdout)["experiments"]
    assert [Path(item["experiment"]).name for item in listed] == ["one", "two"]
    assert listed[0]["counts"] == {"planned": 8}


@pytest.mark.parametrize(
    "old, new, named",
    [
        ("lr: [0.001, 0.0001]", "lr: [0.001]", "lr1e-4"),
        ("lr: [0.001, 0.0001]", "lr: [0.001, 0.0001, 0.01]", "lr0.01"),
        ("- {name: control, kind: control}", "- {name: control, kind: control}\n- {name: more, kind: control}", "more"),
    ],
    ids=["run dropped", "run added", "control added"],
)
def test_another_set_of_runs_wants_scaffolding(old: str, new: str, named: str, tmp_path: Path) -> None:
    folder = make_echo(tmp_path / "exp")
    edit(folder, old, new)
    for verb in ("run-experiment", "analyze-experiment"):
        refused = cli(verb, folder, *(["--dry-run"] if verb == "run-experiment" else []), check=False)
        assert refused.returncode == 2
        assert f"the design has changed since it was scaffolded: {named}" in refused.stderr
    cli("scaffold-experiment", folder)
    assert cli("run-experiment", folder, "--dry-run").returncode == 0


def test_a_job_that_begins_while_it_is_cancelled_ends(tmp_path: Path) -> None:
    folder = make_echo(tmp_path / "exp", controls="{epochs: 1, seconds: 60, steps: 10}")
    run(folder, "--detach")
    cli("cancel", folder)
    assert cli("wait", folder, "--timeout", "40", check=False).returncode == 1
    assert live_attempts(folder) == []
    assert not any(state in ("running", "queued") for state in states(folder).values())


def test_an_evaluation_waits_for_its_own_training_alone(tmp_path: Path) -> None:
    variables = "{lr: [1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 6e-3]}"
    folder = make_echo(tmp_path / "exp", variables=variables, controls="{epochs: 1, seconds: 1, steps: 2}")
    run(folder)

    def began(pattern: str) -> list[str]:
        return sorted(json.loads(path.read_text())["time"] for path in folder.glob(f"{pattern}/start.json"))

    assert began("lr*/.attempts/cap_epoch0/*")[0] < began("lr*/.attempts/train/*")[-1]


def test_a_broken_marker_stops_no_job(tmp_path: Path) -> None:
    folder = make_echo(tmp_path / "exp", controls="{epochs: 1, seconds: 2, steps: 4}")
    run(folder, "--detach")
    until(lambda: bool(live_attempts(folder)))
    edit(folder, "<!-- tuneloop:end status -->", "")
    cli("wait", folder, "--timeout", "60", check=False)
    found = states(folder)
    assert {key: state for key, state in found.items() if key != "collect" and state != "done"} == {}
    assert "the status tables stay as they are" in (folder / ".tuneloop" / "runner.log").read_text()


def test_the_budget_counts_what_is_going(tmp_path: Path) -> None:
    controls = "{epochs: 1, seconds: 30, steps: 2}"
    folder = make_echo(tmp_path / "exp", controls=controls, rest="budget: {hours: 0.03}\n")
    run(folder, "--detach", verb=("run-echo",))
    edit(folder, "lr: [0.001, 0.0001]", "lr: [0.001, 0.0001, 0.01, 0.02]")
    cli("scaffold-experiment", folder)
    plan = as_json("run-echo", folder, "--dry-run")
    assert plan["going_hours"] > 0.016
    assert plan["over_budget"]
    assert cli("run-echo", folder, "--yes", plan["plan"], check=False).returncode == 2
    cli("cancel", folder)


def test_a_report_is_written_when_every_training_failed(tmp_path: Path) -> None:
    folder = make_echo(tmp_path / "exp", variables="{fail: [3, 4]}")
    run(folder, check=False)
    assert states(folder)["collect"] == "done"
    assert (folder / "analysis" / "report.html").is_file()


def test_a_run_dropped_after_looking_is_named_in_the_report(tmp_path: Path) -> None:
    folder = make_echo(tmp_path / "exp", controls="{epochs: 1, seconds: 0.2, steps: 2}")
    run(folder)
    edit(folder, "lr: [0.001, 0.0001]", "lr: [0.001]")
    cli("scaffold-experiment", folder)
    cli("analyze-experiment", folder)
    report = (folder / "analysis" / "report.md").read_text()
    assert "eval/lr1e-4/e0/cap" in report
    assert "dropped from the design after it was handed over" in report
