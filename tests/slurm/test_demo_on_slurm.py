"""The shipped experiment on SLURM: handed over, and then nobody is there any more."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from lab import cli, command, events, plan_id, starts, states, until
from slurm_cluster import DevCluster

ROOT = Path(__file__).resolve().parents[2]
CUTS = [("lora_rank: [4, 32]", "lora_rank: [4]"), ("lr: [3e-4, 3e-3]", "lr: [3e-3]"), ("epochs: 2,", "epochs: 1,")]

pytestmark = [pytest.mark.train, pytest.mark.slow, pytest.mark.usefixtures("on_cluster")]


def shipped(folder: Path, cuts: list[tuple[str, str]]) -> Path:
    """Return the shipped experiment for the cluster, designed and scaffolded, with some of it cut away."""
    shutil.copytree(ROOT / "examples" / "capitalization", folder)
    (folder.parent / "tuneloop.yaml").write_text("clusters: {dev: {executor: slurm, cpus: 1}}\n")
    design = folder / "design.yaml"
    text = design.read_text() + "cluster: dev\n"
    for old, new in cuts:
        assert old in text
        text = text.replace(old, new)
    design.write_text(text)
    cli("design-experiment", folder, "--from", design, "--model", ROOT / "examples" / "tiny-base")
    cli("scaffold-experiment", folder)
    return folder


@pytest.mark.parametrize(
    ("cuts", "jobs"), [(CUTS, 6), pytest.param([], 19, marks=pytest.mark.soak)], ids=["one run", "all of it"]
)
def test_the_report_is_there_though_the_command_was_killed_right_after_submission(
    cuts: list[tuple[str, str]], jobs: int, tmp_path: Path, cluster: DevCluster
) -> None:
    folder = shipped(tmp_path / "demo", cuts)
    plan = plan_id(folder)
    assert plan is not None
    with subprocess.Popen(
        command("run-experiment", folder, "--yes", plan, "--follow"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as follower:
        until(lambda: _handed_over(folder) == jobs, 60, "the hand-over")
        os.killpg(follower.pid, signal.SIGKILL)
    assert not (folder / "analysis").exists()
    report = folder / "analysis" / "report.html"
    # Nothing of ours asks: the file is looked for, and the queue by the test alone.
    until(report.is_file, 3000 if not cuts else 300, "the report")
    cluster.wait_idle()
    assert set(states(folder).values()) == {"done"}
    assert len(states(folder)) == jobs
    assert set(starts(folder).values()) == {1}
    assert "rank4_lr3e-3" in report.read_text()


def _handed_over(folder: Path) -> int:
    """Return how many jobs the journal has as submitted."""
    if not (folder / ".tuneloop" / "journal.jsonl").is_file():
        return 0
    lines = events(folder)
    submitted = {line["token"] for line in lines if line["event"] == "submitted"}
    handed = [line["keys"] for line in lines if line["event"] == "submitting" and line["token"] in submitted]
    return sum(len(keys) for keys in handed)
