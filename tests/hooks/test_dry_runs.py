"""The table's word on dry runs, against the real commands: those that the guard lets pass run nothing of the project."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import command_line
from lab import make_echo
from tuneloop.hooks import commands

TASK = """\
from pathlib import Path

from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import exact

Path({marker!r}).touch()


@task
def words(data: str):
    return Task(dataset=[Sample(input="a", target="A")], scorer=exact())
"""
DRY_RUNS = [
    "design-experiment other --from design.yaml",
    "check-experiment x",
    "scaffold-experiment x",
    "run-experiment x",
    "run-inspect x",
    "retry x --failed",
    "cancel x",
    "clean x --keep last",
    "archive x x.tar.gz",
    "analyze-experiment x",
    "split x/data.jsonl parts --shares train=0.5,test=0.5",
    "skills link --project .",
    "skills unlink --project .",
]


@pytest.mark.slow
def test_dry_runs_that_pass_run_nothing_of_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = tmp_path / "was run"
    monkeypatch.chdir(tmp_path)
    make_echo(tmp_path / "x", scaffold=False)
    (tmp_path / "x" / "words.py").write_text(TASK.format(marker=str(marker)))
    design = (tmp_path / "x" / "design.yaml").read_text()
    Path("design.yaml").write_text(design.replace("echo-eval, task: echo", "inspect, task: words.py"))
    shutil.copytree("x", "other")
    Path("x/experiment_summary.md").unlink()
    Path("other/experiment_summary.md").unlink()
    typed("design-experiment x --from design.yaml")
    typed("scaffold-experiment x")

    found = {}
    for line in DRY_RUNS:
        marker.unlink(missing_ok=True)
        typed(f"{line} --dry-run")
        found[line] = marker.exists()
    assert found == {line: commands.builds(line.split()[0]) for line in DRY_RUNS}
    assert set(found.values()) == {True, False}


def typed(line: str) -> None:
    done = CliRunner().invoke(command_line.cli(), line.split())
    assert done.exit_code == 0, (line, done.output, done.exception)
