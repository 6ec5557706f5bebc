"""The generated blocks of `experiment_summary.md`, written while people may be editing around them."""

import time

from tuneloop.documents.blocks import replace_block
from tuneloop.documents.files import read_text, write_text
from tuneloop.documents.frontmatter import StrictYAMLHandler
from tuneloop.documents.locks import exclusive
from tuneloop.experiment.layout import Layout

_QUIET_S = 0.2  # how long nobody has written a document that we replace
_PATIENCE_S = 5.0


def update_block(layout: Layout, name: str, content: str) -> None:
    """Replace one generated block; the document is read again just before it is replaced.

    Raises InputError for a document without a whole head, and one whose markers do not pair.
    """
    busy = "another command is writing this experiment's summary"
    with exclusive(layout.internal / "summary.lock", wait=10, busy=busy):
        text = _whole_text(layout)
        write_text(layout.summary, replace_block(text, name, content, layout.summary))


def _whole_text(layout: Layout) -> str:
    """Return the summary's text once nobody is in the middle of saving it: editors empty a file, then fill it."""
    end = time.monotonic() + _PATIENCE_S
    while True:
        text = read_text(layout.summary)
        age = time.time() - layout.summary.stat().st_mtime
        if not 0 <= age < _QUIET_S or time.monotonic() > end:
            # What has no head is half of a document, and replacing it would make the loss final.
            StrictYAMLHandler(layout.summary).split(text)
            return text
        time.sleep(_QUIET_S / 4)
