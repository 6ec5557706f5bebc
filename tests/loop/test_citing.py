"""An experiment that starts from another's checkpoint: it waits for it, and ends when it cannot come."""

from pathlib import Path

import pytest

from lab import as_json, cli, make_echo, run, states, until

pytestmark = pytest.mark.slow


def citing(tmp_path: Path, *, reference: str = "../first/lr1e-3@1", slow: str = "0.4", scaffold: bool = True) -> Path:
    """Make an experiment `first` with a run `lr1e-3` of two epochs, and one beside it that starts from it."""
    make_echo(
        tmp_path / "first", variables="{lr: [1e-3]}", controls=f"{{epochs: 2, seconds: {slow}, steps: 4, fail: 0}}"
    )
    second = make_echo(tmp_path / "second", variables="{lr: [1e-4]}", scaffold=False)
    summary = second / "experiment_summary.md"
    summary.write_text(summary.read_text().replace("model: model", f"model: {reference}", 1))
    if scaffold:
        cli("scaffold-experiment", second)
    return second


def test_what_is_cited_must_be_asked_for_first(tmp_path: Path) -> None:
    second = citing(tmp_path)
    refused = cli("run-experiment", second, "--dry-run", check=False)
    assert refused.returncode == 2
    assert "../first: train/lr1e-3 is planned, and jobs here need it" in refused.stderr
    assert "tuneloop run-experiment" in refused.stderr


def test_jobs_wait_for_another_experiment_and_go_on_by_themselves(tmp_path: Path) -> None:
    second = citing(tmp_path, slow="20")
    run(tmp_path / "first", "--detach")
    run(second, "--detach")
    (job,) = [job for job in as_json("status", second)["jobs"] if job["key"] == "train/lr1e-4"]
    assert (job["state"], job["reason"]) == ("waiting", "for ../first: train/lr1e-3")
    cli("wait", second, "--timeout", "60")
    assert states(second) == dict.fromkeys(states(second), "done")
    assert (second / "control" / "eval" / "logs").is_dir()


def test_a_failed_checkpoint_blocks_those_who_cite_it(tmp_path: Path) -> None:
    second = citing(tmp_path, slow="20")
    first = tmp_path / "first"
    run(first, "--detach")
    run(second, "--detach")
    cli("cancel", first)
    until(lambda: states(second)["train/lr1e-4"] == "blocked")
    assert cli("wait", second, "--timeout", "30", check=False).returncode == 1
    refused = cli("retry", second, "--failed", "--dry-run", check=False)
    assert "../first: train/lr1e-3 is cancelled" in refused.stderr
    assert "--failed` first" in refused.stderr


def test_another_checkpoint_makes_the_citing_runs_stale(tmp_path: Path) -> None:
    second = citing(tmp_path)
    run(tmp_path / "first")
    run(second)
    summary = tmp_path / "first" / "experiment_summary.md"
    summary.write_text(summary.read_text().replace("steps: 4", "steps: 5", 1))
    cli("scaffold-experiment", tmp_path / "first", "--replace", "lr1e-3")
    changed = as_json("scaffold-experiment", second, "--dry-run")["changed"]
    assert [item["run"] for item in changed] == ["lr1e-4", "control"]


@pytest.mark.parametrize(
    ("reference", "message", "hint"),
    [
        ("../nowhere/lr1e-3@0", "cites an experiment that is not there", "nowhere"),
        ("../first/lr1e-9@0", "no run `lr1e-9`", "did you mean `lr1e-3`?"),
        ("../first/lr1e-3@2", "`lr1e-3` has no epoch 2", "the last one is 1"),
        ("../first/control@0", "`control` trains nothing", None),
    ],
)
def test_a_wrong_reference_is_named(tmp_path: Path, reference: str, message: str, hint: str | None) -> None:
    second = citing(tmp_path, reference=reference, scaffold=False)
    refused = cli("scaffold-experiment", second, check=False)
    assert refused.returncode == 2
    assert message in refused.stderr
    assert "experiment_summary.md:6: " in refused.stderr
    assert hint is None or hint in refused.stderr


def test_a_checkpoint_without_weights_is_not_cited(tmp_path: Path) -> None:
    second = citing(tmp_path)
    run(tmp_path / "first")
    (tmp_path / "first" / "lr1e-3" / "epoch_1" / "cleaned.json").write_text("{}")
    refused = cli("scaffold-experiment", second, check=False)
    assert refused.returncode == 2
    assert "the weights of `../first/lr1e-3@1` were cleaned away" in refused.stderr
    assert "finetune.slurm` trains it again" in refused.stderr


def test_experiments_that_cite_each_other_do_not_wait_for_ever(tmp_path: Path) -> None:
    second = citing(tmp_path)
    summary = tmp_path / "first" / "experiment_summary.md"
    summary.write_text(summary.read_text().replace("model: model", "model: ../second/lr1e-4@0", 1))
    refused = cli("scaffold-experiment", tmp_path / "first", check=False)
    assert refused.returncode == 2
    assert "cite each other" in refused.stderr
    assert "cite each other" not in cli("status", second).stderr
