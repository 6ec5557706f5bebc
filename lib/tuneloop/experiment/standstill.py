"""A job that its time limit ends, begins again, and ends where it ended before would do so for ever.

Every training says in a file of its attempt after how many whole epochs it goes on. Standard library only.
"""

import json
import signal
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import FailedError

RESUMED = "resumed.json"  # in an attempt's folder: `epochs`, the whole ones that it began with
TIME_LIMIT = signal.SIGUSR1  # asks a job to end because its time limit is near; on record in `exit.json`


def refuse_standstill(attempt: Path, epochs: int) -> None:
    """Raise FailedError where the attempt before was ended by its time limit and this one has no epoch more than it.

    `epochs` are the whole ones that there are now.
    """
    token, _, restart = attempt.name.rpartition(".")
    if not restart.isdigit() or restart == "0":
        return
    before = attempt.with_name(f"{token}.{int(restart) - 1}")
    if _read(before / "exit.json").get("signal") != TIME_LIMIT:
        return
    if epochs <= int(_read(before / RESUMED).get("epochs") or 0):
        raise FailedError("no epoch fits into the time limit")


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
