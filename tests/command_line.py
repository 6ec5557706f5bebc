"""The real command line, as tests read it: every command by its words."""

from functools import cache
from typing import Any

import typer

from tuneloop.cli.main import app


@cache
def cli() -> Any:
    """Return the whole command line as one group."""
    return typer.main.get_command(app)


def commands(group: Any = None, before: str = "") -> dict[str, Any]:
    """Return every command by its words, such as `skills link`; groups are walked."""
    found: dict[str, Any] = {}
    for name, item in (group or cli()).commands.items():
        words = f"{before}{name}"
        found |= commands(item, f"{words} ") if hasattr(item, "commands") else {words: item}
    return found
