"""Values as Python source that a person can go on editing, whatever is in them.

Lines stay within 88 columns, and stay as they are under `ruff format` at that length or a longer one: what does
not fit on a line becomes a block whose lines end in a backslash.
"""

import math
import unicodedata
from collections.abc import Iterator
from typing import Any

WIDTH = 88
_INDENT = "    "


def assigned(value: Any, name: str) -> str:
    """Return `NAME = value`."""
    return f"{name} = {literal(value, len(name) + 3)}"


def literal(value: Any, column: int = 0, depth: int = 0) -> str:
    """Return JSON data as Python source that begins at `column` and is nested `depth` deep."""
    if isinstance(value, str):
        short = _quoted(value)
        return short if "\n" not in value and column + _width(short) < WIDTH else _block(value)
    if not isinstance(value, dict | list):
        finite = not isinstance(value, float) or math.isfinite(value)
        return repr(value) if finite else f'float("{value}")'
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    if not value:
        return opening + closing
    before = _INDENT * (depth + 1)
    lines = [f"{before}{item}," for item in _items(value, depth + 1)]
    return "\n".join([opening, *lines, f"{_INDENT * depth}{closing}"])


def _items(value: dict[str, Any] | list[Any], depth: int) -> Iterator[str]:
    indent = len(_INDENT) * depth
    if isinstance(value, list):
        yield from (literal(item, indent, depth) for item in value)
        return
    for key, item in value.items():
        name = literal(str(key), indent, depth)
        yield f"{name}: {literal(item, indent + _width(name) + 2, depth)}"


def _quoted(text: str) -> str:
    """Return a string on one line, in the quotes that need fewer escapes, double ones where both do."""
    quote = "'" if text.count('"') > text.count("'") else '"'
    return quote + "".join(f"\\{letter}" if letter == quote else _escaped(letter) for letter in text) + quote


def _block(text: str) -> str:
    """Return a string between triple quotes, each of its lines as it is or broken by a backslash."""
    rows = ["\\\n".join(_broken(_units(line))) for line in text.split("\n")]
    return '"""\\\n' + "\n".join(rows) + '"""'


def _units(line: str) -> list[str]:
    """Return what stands for each letter in a block; what would end it or get lost is escaped."""
    units = [_escaped(letter) for letter in line]
    for place, letter in enumerate(line):
        last = place == len(line) - 1
        if letter == '"' and (last or line[place - 2 : place] == '""'):
            units[place] = "\\x22"
        if letter == " " and last:
            units[place] = "\\x20"
    return units


def _broken(units: list[str]) -> Iterator[str]:
    """Yield pieces that fit a line, broken behind a space where there is one."""
    piece: list[str] = []
    width = 0
    for unit in units:
        if width + _width(unit) > WIDTH - 4:  # room for the backslash, or the closing quotes
            end = next((place for place in range(len(piece), 0, -1) if piece[place - 1] == " "), len(piece))
            yield "".join(piece[:end])
            piece = piece[end:]
            width = sum(map(_width, piece))
        piece.append(unit)
        width += _width(unit)
    yield "".join(piece)


def _escaped(letter: str) -> str:
    return "\\\\" if letter == "\\" else letter if letter.isprintable() else repr(letter)[1:-1]


def _width(text: str) -> int:
    """Return the columns that a text takes; East Asian letters take two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
