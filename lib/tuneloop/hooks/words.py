"""Words of files and folders, made fit for one line that a person or a model reads."""

from __future__ import annotations

import re

_UNFIT = re.compile(r"[^\w .,:;@/+=(){}…-]")
_LONGEST = 80


def shown(text: object, most: int = _LONGEST) -> str:
    """Return text in one line, without control characters, quotes and marks, its middle left out if it is long."""
    line = _UNFIT.sub("?", str(text))
    half = (most - 1) // 2
    return line if len(line) <= most else f"{line[:half]}…{line[-half:]}"


def ago(seconds: float) -> str:
    """Return how long ago something was, as people say it."""
    if seconds < 90:
        return "just now" if seconds < 10 else f"{seconds:.0f} s ago"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min ago"
    return f"{seconds / 3600:.0f} h ago" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days ago"
