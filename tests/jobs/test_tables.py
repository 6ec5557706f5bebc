"""Generated blocks go into a document that a person may be saving at the same moment."""

import threading
import time
from pathlib import Path

import pytest

from tuneloop.documents.errors import InputError
from tuneloop.experiment.layout import Layout
from tuneloop.jobs.summary import update_block

_TEXT = "---\nschema: tuneloop.experiment/1\n---\n\nwords of a person\n"


def test_a_save_that_empties_the_file_first_loses_nothing(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.summary.write_text(_TEXT)
    update = threading.Thread(target=update_block, args=(layout, "status", "a table"))
    with layout.summary.open("w") as file:  # as editors do
        update.start()
        time.sleep(0.05)
        file.write(_TEXT[:-6])
        file.flush()
        time.sleep(0.05)
        file.write(_TEXT[-6:])
    update.join()
    assert layout.summary.read_text().startswith(_TEXT)
    assert "a table" in layout.summary.read_text()


@pytest.mark.parametrize("text", ["", "words", "---\nschema: tuneloop.experiment/1\n"])
def test_what_has_no_whole_head_is_never_replaced(tmp_path: Path, text: str) -> None:
    layout = Layout(tmp_path)
    layout.summary.write_text(text)
    with pytest.raises(InputError):
        update_block(layout, "status", "a table")
    assert layout.summary.read_text() == text
