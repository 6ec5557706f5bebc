"""Generated blocks: whatever stands around them survives."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneloop.documents.blocks import block_text, replace_block
from tuneloop.documents.errors import InputError

BEGIN, END = "<!-- tuneloop:begin status -->", "<!-- tuneloop:end status -->"
_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(_TEXT, _TEXT, _TEXT, _TEXT)
def test_every_byte_around_survives(before: str, old: str, new: str, after: str) -> None:
    text = f"{before}{BEGIN}{old}{END}{after}"
    changed = replace_block(text, "status", new)
    assert changed.startswith(before + BEGIN)
    assert changed.endswith(END + after)
    assert len(changed) == len(before + BEGIN + END + after) + len(new.rstrip()) + 2


@given(_TEXT, _TEXT)
def test_writing_twice_changes_nothing(text: str, content: str) -> None:
    once = replace_block(text, "status", content)
    assert once.startswith(text)
    assert replace_block(once, "status", content) == once
    assert block_text(once, "status") == content.rstrip().strip("\n")


def test_blocks_do_not_touch_each_other() -> None:
    text = replace_block(replace_block("# Title\n", "status", "a"), "results", "b")
    changed = replace_block(text, "status", "c")
    assert block_text(changed, "results") == "b"
    assert changed == text.replace("\na\n", "\nc\n")


def test_missing_block_has_no_text() -> None:
    assert block_text("# Title\n", "status") is None


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"a\n{BEGIN}\nb\n", 2),
        (f"a\n\n{END}\nb\n", 3),
        (f"{END}\n{BEGIN}\n", 2),
        (f"{BEGIN}\n{END}\n{BEGIN}\n{END}\n", 1),
        (f"{BEGIN}\n{BEGIN}\n{END}\n", 1),
    ],
    ids=["begin alone", "end alone", "wrong order", "twice", "begin twice"],
)
def test_unpaired_markers_are_an_error(text: str, line: int) -> None:
    with pytest.raises(InputError) as caught:
        replace_block(text, "status", "x", Path("note.md"))
    assert str(caught.value) == (
        f"note.md:{line}: the markers of the generated block `status` do not pair\n"
        f"  hint: keep one `{BEGIN}` followed by one `{END}`, or delete both"
    )
