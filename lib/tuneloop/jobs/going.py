"""What goes on in an experiment, remembered outside of it for the hook that tells a beginning session."""

import contextlib
import time

from tuneloop.documents.cache import status_file
from tuneloop.documents.errors import TuneloopError
from tuneloop.documents.files import remove_file, write_json
from tuneloop.experiment.layout import Layout
from tuneloop.jobs.board import Board
from tuneloop.jobs.tables import counts


def remember_going(layout: Layout, board: Board) -> None:
    """Bring the entry of an experiment up to date; one with nothing going has none. Never fails its caller."""
    entry = status_file(layout.folder)
    with contextlib.suppress(TuneloopError, OSError):
        if not board.going:
            remove_file(entry)
            return
        value = {
            "schema": "tuneloop.going/1",
            "experiment": str(layout.folder),
            "lock": layout.relative(layout.runner_lock),
            # Nothing here tells whether a cluster's jobs go on: the time says how old this is.
            "clusters": board.watched,
            "here": not board.scheduled.issuperset(board.clusters),
            "time": time.time(),
            "counts": counts(board.states),
        }
        write_json(entry, value, sync=False)
