"""Checkpoint references: `[EXPERIMENT/]RUN@EPOCH`."""

import re
from typing import NamedTuple

_REFERENCE = re.compile(r"(?:(?P<experiment>.+)/)?(?P<run>[A-Za-z0-9][A-Za-z0-9._-]{0,63})@(?P<epoch>\d+)\Z")


class Reference(NamedTuple):
    experiment: str | None  # a folder, relative to the one that cites it; None: the same experiment
    run: str
    epoch: int


def parse_reference(text: str) -> Reference | None:
    """Return the reference that `text` is, or None where it is a folder or a hub id."""
    match = _REFERENCE.match(text)
    if match is None:
        return None
    return Reference(match["experiment"], match["run"], int(match["epoch"]))
