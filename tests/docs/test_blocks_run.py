"""The blocks of documents are typed in their order into a real shell in a copy of the tree, and leave what they say.

The real tools design, scaffold and make tasks here. What would train for minutes is stood in for by an experiment of
the echo worker with the runs of the same names; the demo's own tests train.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from docs_reading import EXAMPLES, PACK, PROSE, ROOT, SHELL, blocks, commands_in, inline_codes
from docs_shell import NOT_TYPED, Clone, make_clone, to_type

from lab import make_echo, plan_id
from tuneloop.librarian.lint import first_command
from tuneloop.librarian.pack import Skill, read_pack

pytestmark = [pytest.mark.slow, pytest.mark.train]
CAPITALIZATION = "examples/capitalization"
# What a reader of the slash commands fills in.
FILLED_IN = {
    "../../MODEL": "../../examples/tiny-base",
    "../../TRAIN": f"../../{CAPITALIZATION}/data/train.jsonl",
    "../../TEST": f"../../{CAPITALIZATION}/data/test.jsonl",
    "TEST": f"{CAPITALIZATION}/data/test.jsonl",
    "OUTPUT": "OUTPUT",
    "IN": "word",
    "OUT": "capitalized",
    "PROMPT": "capitalize",
    "NNN-name": "001-rank",
    "QUESTION": "Does a higher rank help?",
    "HYPOTHESIS": "It does.",
    "FEATURE": "specs/001-rank",
    "EXP": "runs/001-rank",
}
TYPED = {ROOT / "README.md", ROOT / "docs/data.md", *EXAMPLES, *PACK}


def text_of(path: str) -> str:
    return (ROOT / path).read_text()


def stand_in(folder: Path) -> None:
    """Put an echo experiment of the same runs where the shipped one was scaffolded."""
    shutil.rmtree(folder)
    make_echo(folder, variables="{lora_rank: [4, 32], lr: [3e-4, 3e-3]}")


def test_every_block_is_typed_or_left_out_for_a_reason() -> None:
    lines = [
        line
        for path in [*PROSE, *PACK, *EXAMPLES]
        for block in blocks(path.read_text(), *SHELL)
        for line in block.text.splitlines()
    ]
    assert len(lines) > 40
    assert [start for start in NOT_TYPED if not any(line.startswith(start) for line in lines)] == []
    others = [path for path in PROSE if path not in TYPED]
    assert [path.name for path in others if to_type(path.read_text())] == []


def test_the_walk_of_the_readme(tmp_path: Path) -> None:
    clone = make_clone(tmp_path / "clone")
    walk = to_type(text_of("README.md"))
    assert len(walk) >= 8
    for block in walk:
        if block.startswith("tuneloop run-experiment runs/cap --dry-run"):
            assert (clone.folder / "runs/cap/rank4_lr3e-4/finetune.yaml").is_file()
            stand_in(clone.folder / "runs/cap")
        clone.type(block)
    assert any(line == "tuneloop run-experiment runs/cap" for line in clone.typed)
    made = clone.folder / "runs/cap"
    for name in ("report.html", "report.md", "results.csv", "results.parquet", "figures"):
        assert (made / "analysis" / name).exists()
    for name in ("exported", "cap.tar.gz", "runs/words.py", "runs/parts/train.jsonl", "runs/parts/splits.json"):
        assert (clone.folder / name).exists()
    assert "schema: tuneloop.experiment/1" in (clone.folder / "runs/rank/experiment_summary.md").read_text()
    assert not (clone.folder / "runs/rank/analysis").exists()


def test_the_blocks_of_the_documents(tmp_path: Path) -> None:
    clone = make_clone(tmp_path / "clone")
    for block in to_type(text_of("docs/data.md")):
        clone.type(block)
    parts = sorted(path.name for path in (clone.folder / "runs/parts").iterdir())
    assert parts == ["splits.json", "test.jsonl", "train.jsonl", "validation.jsonl"]
