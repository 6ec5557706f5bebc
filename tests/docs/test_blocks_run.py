"""The blocks of documents are typed in their order into a real shell in a copy of the tree, and leave what they say.

The real tools design, scaffold and make tasks here. What would train for minutes is stood in for by an experiment of
the echo worker with the runs of the same names; the demo's own tests train.
"""

import shutil
from pathlib import Path

import pytest
from docs_reading import EXAMPLES, PACK, PROSE, ROOT, SHELL, blocks
from docs_shell import NOT_TYPED, Clone, make_clone, to_type

from lab import make_echo

DATA = "examples/capitalization/data"
# What a reader of the slash commands fills in, in this order.
FILLED_IN = {
    "../../MODEL": "../../examples/tiny-base",
    "../../TRAIN": f"../../{DATA}/train.jsonl",
    "../../TEST": f"../../{DATA}/test.jsonl",
    " TEST ": f" {DATA}/test.jsonl ",
    "input IN": "input word",
    "input: IN": "input: word",
    "target OUT": "target capitalized",
    "output: OUT": "output: capitalized",
    "PROMPT": "capitalize",
    "NNN-name": "001-rank",
    "QUESTION": "Does a higher rank help?",
    "HYPOTHESIS": "It does.",
    "FEATURE": "specs/001-rank",
    "EXP": "runs/001-rank",
}
# The documents with blocks that are typed below.
PLAN, ANALYZE = ROOT / "commands/speckit-plan.md", ROOT / "commands/speckit-analyze.md"
TASK = ROOT / "skills/experiment/create-inspect-task/SKILL.md"
TYPED = {ROOT / "README.md", ROOT / "docs/data.md", TASK, PLAN, ANALYZE}


def stand_in(folder: Path) -> None:
    """Put an echo experiment of the same runs where the shipped one was scaffolded."""
    shutil.rmtree(folder)
    make_echo(folder, variables="{lora_rank: [4, 32], lr: [3e-4, 3e-3]}")


def test_every_block_is_typed_or_left_out_for_a_reason() -> None:
    documents = [*PROSE, *PACK, *EXAMPLES]
    lines = [
        line for path in documents for block in blocks(path.read_text(), *SHELL) for line in block.text.splitlines()
    ]
    assert len(lines) > 40
    assert [start for start in NOT_TYPED if not any(line.startswith(start) for line in lines)] == []
    assert {path for path in documents if to_type(path.read_text())} == TYPED


@pytest.fixture(scope="module")
def scaffolded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Clone, list[str]]:
    """A clone in which the README's walk has come to its runs, and the blocks that are left."""
    clone = make_clone(tmp_path_factory.mktemp("walk") / "clone")
    walk = to_type((ROOT / "README.md").read_text())
    while not walk[0].startswith("tuneloop run-experiment"):
        clone.type(walk.pop(0))
    return clone, walk


@pytest.mark.slow
@pytest.mark.train
def test_the_readme_walks_from_a_design_to_an_archive(scaffolded: tuple[Clone, list[str]], tmp_path: Path) -> None:
    before, walk = scaffolded
    assert (before.folder / "runs/cap/rank4_lr3e-4/finetune.yaml").is_file()
    clone = Clone(Path(shutil.copytree(before.folder, tmp_path / "clone", symlinks=True)))
    stand_in(clone.folder / "runs/cap")
    assert len(walk) >= 6
    for block in walk:
        clone.type(block)
    for name in ("report.html", "report.md", "results.csv", "results.parquet", "figures"):
        assert (clone.folder / "runs/cap/analysis" / name).exists()
    for name in ("exported", "cap.tar.gz", "runs/words.py", "runs/parts/train.jsonl", "runs/parts/splits.json"):
        assert (clone.folder / name).exists()
    assert "schema: tuneloop.experiment/1" in (clone.folder / "runs/rank/experiment_summary.md").read_text()


@pytest.mark.slow
@pytest.mark.train
def test_the_skill_for_tasks_shows_one_for_an_experiment(scaffolded: tuple[Clone, list[str]]) -> None:
    clone, _ = scaffolded
    shown = [clone.type(block) for block in to_type(TASK.read_text())]
    assert len(shown) == 2
    assert all("capitaliz" in text for text in shown)
    assert not (clone.folder / "runs/words.py").exists()


def test_the_document_on_data_splits_a_file(tmp_path: Path) -> None:
    clone = make_clone(tmp_path / "clone")
    for block in to_type((ROOT / "docs/data.md").read_text()):
        clone.type(block)
    parts = sorted(path.name for path in (clone.folder / "runs/parts").iterdir())
    assert parts == ["splits.json", "test.jsonl", "train.jsonl", "validation.jsonl"]


@pytest.mark.slow
@pytest.mark.train
def test_a_plan_of_the_slash_commands_is_a_design(tmp_path: Path) -> None:
    """The design in the command's text, filled in as it says, passes the two commands below it and the analysis."""
    clone = make_clone(tmp_path / "clone", **FILLED_IN)
    feature = clone.folder / "specs/001-rank"
    feature.mkdir(parents=True)
    (design,) = blocks(PLAN.read_text(), "yaml")
    (feature / "design.yaml").write_text(clone.filled_in(design.text))
    (block,) = to_type(PLAN.read_text())
    assert "rank32" in clone.type(block)
    assert len(list(feature.glob("*.py"))) == 1
    (both,) = to_type(ANALYZE.read_text())
    first, second = both.strip().splitlines()
    assert not (clone.folder / "runs/001-rank").exists()
    assert "--dry-run" in first
    clone.type(first.replace(" --dry-run", ""))
    clone.type(second)
    assert "001-rank" in (clone.folder / "runs/001-rank/experiment_summary.md").read_text()
