"""Names and values on their way into a shell script, a path or a job's comment."""

import re
import shlex
import unicodedata
from pathlib import Path
from typing import NewType

from tuneloop.documents.errors import InputError

Name = NewType("Name", str)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_RESERVED = frozenset({"analysis", "eval", "base"})


def checked_name(text: str, what: str = "name") -> Name:
    """Return `text` as a name, or raise ValueError (message, newline, hint) when a shell or a path could trip on it."""
    if not _NAME.match(text):
        raise ValueError(
            f"{what} {text!r} is not a plain name\n"
            "use letters, digits, `.`, `_` and `-`, at most 64, beginning with a letter or digit"
        )
    if text.casefold() in _RESERVED:
        raise ValueError(f"{what} `{text}` is reserved\nchoose another; reserved: {', '.join(sorted(_RESERVED))}")
    return Name(text)


def typed(path: Path) -> str:
    """Return a path as a person types it in a shell, for a hint."""
    return shlex.quote(str(path))


def quote(value: object) -> str:
    """Return `value` as one word of a POSIX shell. Raises InputError for control characters."""
    text = str(value)
    if any(unicodedata.category(letter) == "Cc" for letter in text):
        raise InputError(f"a control character in {text!r} cannot enter a script", hint="take it out of the design")
    return shlex.quote(text)


def quote_at_home(value: object) -> str:
    """Return `value` as one word of bash, in which a leading `~/` is the home of whoever runs the script.

    Raises InputError for control characters.
    """
    text = str(value)
    return f"~/{quote(text.removeprefix('~/'))}" if text.startswith("~/") else quote(text)
