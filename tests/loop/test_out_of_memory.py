"""A training that runs out of memory is named, a change is proposed that keeps it the same run, and done if allowed."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lab
from tuneloop.experiment.adjusted import Adjustment, adjusted, read_adjustments
from tuneloop.experiment.expand import Run
from tuneloop.experiment.layout import Layout
from tuneloop.experiment.read import read_experiment
from tuneloop.experiment.work import Setting
from tuneloop.jobs.board import read_board
from tuneloop.loop import adjust
from tuneloop.loop.orders import Crew
from tuneloop.workers.smaller import shared_out
from tuneloop.workers.torchtune.smaller import proposed

RETRY = ("retry", "--failed")
SIZES = st.integers(1, 4096)


@given(SIZES, SIZES)
def test_the_effective_batch_is_kept_and_the_batch_shrinks_to_one(batch: int, accumulation: int) -> None:
    effective, rounds = batch * accumulation, 0
    while (shared := shared_out(batch, accumulation)) is not None:
        assert 1 <= shared[0] < batch
        assert shared[0] * 2 == batch or batch % 2 == 1
        batch, accumulation = shared
        assert batch * accumulation == effective
        rounds += 1
    assert batch == 1
    assert rounds <= 12


@given(SIZES, st.integers(1, 64), st.integers(1, 64))
def test_ppo_keeps_its_effective_batch_and_divides_its_prompts(micro: int, accumulation: int, forward: int) -> None:
    ppo, batch = micro * accumulation, micro * accumulation * forward
    values = {"batch_size": batch, "ppo_batch_size": ppo, "gradient_accumulation": accumulation}
    found = proposed({**values, "forward_batch_size": forward}) or {}
    assert set(found) <= {"gradient_accumulation", "forward_batch_size"}
    assert ppo % found.get("gradient_accumulation", 1) == 0
    assert batch % found.get("forward_batch_size", 1) == 0
    assert bool(found) == (micro > 1 or forward > 1)


def test_an_optimizer_that_cannot_accumulate_gets_no_proposal() -> None:
    values = {"batch_size": 8, "gradient_accumulation": 1}
    assert proposed(values) == {"batch_size": 4, "gradient_accumulation": 2}
    assert proposed({**values, "optimizer_in_bwd": True}) is None


def too_large(folder: Path, policy: str = "smaller-batch", memory: int = 2, sizes: str = "[8]") -> Path:
    """Make an experiment of which one run has a batch that does not fit, and run it."""
    made = lab.make_echo(
        folder,
        f"{{batch_size: {sizes}}}",
        f"{{epochs: 1, seconds: 0.1, memory: {memory}}}",
        f"policy: {{out_of_memory: {policy}}}\n",
    )
    lab.run(made, check=False)
    assert lab.states(made)["train/batch8"] == "failed"
    return made


def told(folder: Path) -> list[dict[str, Any]]:
    return list(lab.as_json(*RETRY, folder, "--dry-run")["out_of_memory"])


def head(folder: Path) -> str:
    return (folder / "experiment_summary.md").read_text().split("\n---\n")[0]


@pytest.mark.slow
def test_what_would_keep_the_effective_batch_is_only_said_unless_the_design_allows_it(tmp_path: Path) -> None:
    folder = too_large(tmp_path / "x", "stop", memory=0, sizes="[8, 1]")
    failures = lab.as_json("status", folder)["failures"]
    assert {item["cause"] for item in failures} == {"out of memory on the GPU"}
    said = lab.cli(*RETRY, folder, "--dry-run").stdout
    assert "- {name: batch8, set: {batch_size: 4, gradient_accumulation: 2}}" in said
    assert "batch1 ran out of memory, and nothing of it can be made smaller" in said
    assert told(folder) == [
        {"run": "batch8", "set": {"batch_size": 4, "gradient_accumulation": 2}, "applies": False},
        {"run": "batch1", "set": {}, "applies": False},
    ]
    consented = lab.plan_id(folder, *RETRY)
    lab.cli(*RETRY, folder, "--yes", str(consented), "--detach")
    lab.cli("cancel", folder, check=False)
    assert read_adjustments(Layout(folder)) == []


@pytest.mark.slow
def test_where_the_design_allows_it_retrying_shares_the_batch_out_until_it_fits(tmp_path: Path) -> None:
    folder = too_large(tmp_path / "x", sizes="[8, 2]")
    before, config = head(folder), (folder / "batch8" / "finetune.yaml").read_text()
    other = (folder / "batch2" / "finetune.yaml").stat().st_mtime_ns
    assert told(folder)[0]["applies"]
    assert read_adjustments(Layout(folder)) == [], "a dry run wrote something"
    lab.run(folder, verb=RETRY, check=False)
    assert lab.states(folder)["train/batch8"] == "failed"
    assert told(folder)[0]["set"] == {"batch_size": 2, "gradient_accumulation": 4}
    lab.run(folder, verb=RETRY)
    assert set(lab.states(folder).values()) == {"done"}
    assert [item.values for item in read_adjustments(Layout(folder))] == [
        {"batch_size": 4, "gradient_accumulation": 2},
        {"batch_size": 2, "gradient_accumulation": 4},
    ]
    assert head(folder) == before
    assert (folder / "batch8" / "finetune.yaml").read_text() != config
    assert (folder / "batch2" / "finetune.yaml").stat().st_mtime_ns == other
    explained = {item["setting"]: item for item in lab.as_json("explain", folder, "batch8")["settings"]}
    assert explained["batch_size"]["value"] == 2
    assert explained["batch_size"]["origin"] == "after out of memory"
    assert lab.starts(folder)["batch8/.attempts/train"] == 3
    assert lab.starts(folder)["batch2/.attempts/train"] == 1
    lab.cli("check-experiment", folder)


@pytest.mark.slow
def test_killed_in_between_the_next_retry_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = too_large(tmp_path / "x", memory=4)
    experiment = read_experiment(folder)
    crew = Crew(experiment)
    wanted = adjust.proposals(experiment, read_board(experiment, crew.fleet()), crew)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(adjust, "write_scaffold", killed)
        with pytest.raises(KeyboardInterrupt):
            adjust.adjust(experiment, crew, wanted, by="test")
    refused = lab.cli(*RETRY, folder, "--dry-run", check=False)
    assert refused.returncode == 2
    assert "tuneloop scaffold-experiment" in refused.stderr
    assert lab.cli(*RETRY, folder, "--yes", "none", "--detach", check=False).returncode == 2  # it scaffolds, then asks
    lab.run(folder, verb=RETRY)
    assert set(lab.states(folder).values()) == {"done"}
    assert len(read_adjustments(Layout(folder))) == 1


@pytest.mark.slow
def test_what_a_person_changes_after_an_adjustment_is_not_scaffolded_unasked(tmp_path: Path) -> None:
    folder = too_large(tmp_path / "x", memory=4)
    lab.run(folder, verb=RETRY)
    summary = folder / "experiment_summary.md"
    summary.write_text(summary.read_text().replace("steps: 5", "steps: 6").replace("seconds: 0.1", "seconds: 0.2"))
    refused = lab.cli("run-experiment", folder, "--yes", "none", "--detach", check=False)
    assert refused.returncode == 2
    assert "the design has changed since it was scaffolded: batch8" in refused.stderr


def test_what_the_design_says_later_counts_more(tmp_path: Path) -> None:
    run = Run("a", "train", 1, {}, {"batch_size": Setting(8, "design")})
    item = Adjustment(
        "a", {"batch_size": 4, "gradient_accumulation": 2}, {"batch_size": 8, "gradient_accumulation": None}, "x"
    )
    (changed,) = adjusted([run], [item])
    assert (changed.value("batch_size"), changed.value("gradient_accumulation")) == (4, 2)
    assert changed.fields["batch_size"].origin == "after x"
    other = Run("a", "train", 1, {}, {"batch_size": Setting(16, "design")})
    assert adjusted([other], [item]) == [other]
    assert adjusted([Run("b", "train", 1, {}, run.fields)], [item])[0].value("batch_size") == 8


def test_a_torn_line_of_the_journal_is_no_adjustment(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.internal.mkdir()
    event = {"event": "adjusted", "run": "a", "values": {"b": 1}, "design": {"b": None}, "why": "x"}
    whole = json.dumps(event)
    layout.journal.write_text(f"{whole[:30]} #torn\n{whole}\n{whole[:-3]}")
    assert [item.run for item in read_adjustments(layout)] == ["a"]
