"""Where everything lies."""

from pathlib import Path

import pytest

from tuneloop.experiment.layout import Layout
from tuneloop.experiment.work import JobSpec, Shape, eval_key, from_json, to_json, train_key


def job(*makes: str) -> JobSpec:
    return JobSpec(
        key=train_key("rank8"),
        worker="echo",
        run="rank8",
        script="rank8/finetune.slurm",
        attempts="rank8/.attempts/train",
        needs=(),
        makes=makes,
        digest="d",
        shape=Shape("local"),
        resumable=True,
        seconds=1.0,
        log="rank8/slurm-*.out",
    )


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def test_files_lie_where_the_design_says(layout: Layout) -> None:
    run = layout.run("rank8")
    named = [
        run.setup,
        run.config,
        run.script,
        run.metrics,
        run.checkpoint(2),
        run.train_attempts,
        run.eval_script("cap", 1),
        run.eval_script("cap", None),
        run.eval_log("cap", 1),
        run.eval_attempts("cap", 1),
        layout.journal,
        layout.manifest,
        layout.submissions,
        layout.report,
        layout.collect_attempts,
    ]
    assert [layout.relative(path) for path in named] == [
        "rank8/setup_finetune.yaml",
        "rank8/finetune.yaml",
        "rank8/finetune.slurm",
        "rank8/metrics.jsonl",
        "rank8/epoch_2",
        "rank8/.attempts/train",
        "rank8/eval/cap_epoch1.slurm",
        "rank8/eval/cap_base.slurm",
        "rank8/eval/logs/cap_epoch1.eval",
        "rank8/.attempts/cap_epoch1",
        ".tuneloop/journal.jsonl",
        ".tuneloop/manifest.json",
        ".tuneloop/submissions",
        "analysis/report.html",
        ".tuneloop/attempts/collect",
    ]


def test_only_what_exists_was_made(layout: Layout) -> None:
    run = layout.run("rank8")
    run.checkpoint(0).mkdir(parents=True)
    run.eval_logs.mkdir(parents=True)
    for name in ("cap_epoch1.eval", "cap_epoch1.json", "cap_epoch10.eval", "cap_base.eval", "other_epoch1.eval"):
        (run.eval_logs / name).touch()

    def made(*makes: str) -> list[str]:
        return [path.name for path in layout.made_by(job(*makes))]

    assert made("checkpoint:rank8/e0", "checkpoint:rank8/e1") == ["epoch_0"]
    assert made("evaluation:rank8/e1/cap") == ["cap_epoch1.eval", "cap_epoch1.json"]
    assert made("evaluation:rank8/base/cap") == ["cap_base.eval"]
    assert made("evaluation:rank8/e2/cap", "report") == []


def test_job_survives_json() -> None:
    spec = job("checkpoint:rank8/e0")
    assert from_json(JobSpec, to_json(spec)) == spec


def test_keys_of_jobs() -> None:
    assert train_key("rank8") == "train/rank8"
    assert eval_key("rank8", 1, "cap") == "eval/rank8/e1/cap"
    assert eval_key("control", None, "cap") == "eval/control/base/cap"
