"""From a specification to an analyzed experiment, by what the slash commands say, with the real tools."""

import re
from pathlib import Path

import pytest
from command_reading import PACK, inline
from spec_walk import Walk

from lab import states
from spec_texts import FEATURE

pytestmark = pytest.mark.train

REVIEWER = PACK.agents[0].body
ENDINGS = {".md", ".yaml", ".json", ".jsonl", ".csv", ".jinja"}
ELSEWHERE = {".tuneloop/replaced/"}  # made by `--replace` alone


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    """A project after `specify`, `plan`, `tasks` and `implement`; the last one twice."""
    walk = Walk(tmp_path_factory.mktemp("project"))
    walk.specify()
    walk.plan()
    walk.break_down()
    walk.implement()
    assert walk.open_tasks() == ["T009"], walk.typed  # nobody has closed the criterion
    walk.close()
    walk.typed.clear()
    walk.implement()
    return walk


def test_every_task_is_ticked_in_the_end(walk: Walk) -> None:
    assert walk.open_tasks() == []
    assert walk.tasks.read_text().count("- [X] ") == 9


def test_typed_again_it_goes_on_where_it_stopped(walk: Walk) -> None:
    assert [(line.split()[0], code) for line, code in walk.typed] == [("grep", 0)]


def test_the_experiment_is_analyzed(walk: Walk) -> None:
    report = (walk.experiment / "analysis/report.md").read_text()
    assert "**Answer.** " in report
    assert set(states(walk.experiment).values()) == {"done"}
    assert len(list(walk.experiment.glob("*/eval/logs/*.eval"))) == 2  # one evaluation, of the run and of the control


def test_a_failing_proof_leaves_its_box_open(tmp_path: Path) -> None:
    walk = Walk(tmp_path)
    (tmp_path / FEATURE).mkdir(parents=True)
    walk.break_down()
    walk.tasks.write_text(re.sub(r".*T001.*\n", "", walk.tasks.read_text()))
    walk.implement()  # there is no design yet
    assert [code for _, code in walk.typed] == [2]
    assert walk.open_tasks()[0] == "T002"


def test_what_the_reviewer_names_is_there(walk: Walk) -> None:
    names = {name for name in inline(REVIEWER) if not name.startswith("/")} - set(ELSEWHERE)
    files = {name for name in names if "/" in name or Path(name).suffix in ENDINGS}
    assert len(files) > 20
    assert [name for name in sorted(files) if not is_there(walk, name)] == []


def test_what_the_reviewer_looks_for_is_written_there(walk: Walk) -> None:
    """Where a check says to look, each word in backticks that is no file stands in a text of the experiment."""
    places = re.findall(r"^\| \d+ \| [^|]+ \| ([^|]+) \|", REVIEWER, re.MULTILINE)
    names = {name for place in places for name in inline(place)}
    words = {name for name in names if "/" not in name and Path(name).suffix not in ENDINGS}
    assert len(words) > 20
    texts = "\n".join(path.read_text() for path in walk.project.rglob("*") if path.is_file() and path.suffix in ENDINGS)
    assert [word for word in sorted(words) if not re.search(rf"\b{word}\b", texts)] == []


def test_a_wrong_name_would_be_found(walk: Walk) -> None:
    assert not is_there(walk, "analysis/reports.md")
    assert not is_there(walk, ".attempts/*/*/verdict.json")


def is_there(walk: Walk, name: str) -> bool:
    return any(walk.project.glob(f"**/{name.rstrip('/')}"))
