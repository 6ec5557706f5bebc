"""Text of samples made visible: line breaks, tabs, control characters and spaces at the ends show as marks. Pure."""

import unicodedata
from typing import NamedTuple

MOST = 600  # characters of a text that a report shows

_MARKS = {
    "\n": "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}\n",
    "\t": "\N{RIGHTWARDS ARROW TO BAR}\t",
    "\r": "\N{SYMBOL FOR CARRIAGE RETURN}",
}


class Piece(NamedTuple):
    text: str
    mark: bool  # drawn by us, not in the text


def visible(text: str | None) -> list[Piece]:
    """Return the text in pieces, marks apart; an empty text, an absent one and a cut are marks too."""
    if text is None:
        return [Piece("no text", mark=True)]
    if not text:
        return [Piece("empty", mark=True)]
    cut, text = len(text) - MOST, text[:MOST]
    inner = text.strip(" ")
    left = len(text) - len(text.lstrip(" ")) if inner else len(text)
    right = len(text) - left - len(inner)
    pieces = [Piece("\N{MIDDLE DOT}" * left, mark=True)]
    for letter in inner:
        piece = _piece(letter)
        if piece.mark == pieces[-1].mark:
            pieces[-1] = Piece(pieces[-1].text + piece.text, piece.mark)
        else:
            pieces.append(piece)
    pieces.append(Piece("\N{MIDDLE DOT}" * (right if cut <= 0 else 0), mark=True))
    if cut > 0:
        pieces.append(Piece(f" \N{HORIZONTAL ELLIPSIS} {cut:,} more characters", mark=True))
    return [piece for piece in pieces if piece.text]


def plain(text: str | None) -> str:
    """Return the visible text on one line, for a table cell."""
    return "".join(piece.text for piece in visible(text)).replace("\n", " ").replace("\t", " ")


def _piece(letter: str) -> Piece:
    if letter in _MARKS:
        return Piece(_MARKS[letter], mark=True)
    # Cc and Cs would vanish or break the page; Cf holds the signs that turn the direction of writing round.
    if unicodedata.category(letter) in {"Cc", "Cs"} or letter in _TURNING:
        return Piece(f"\\x{ord(letter):02x}" if ord(letter) < 256 else f"\\u{ord(letter):04x}", mark=True)
    return Piece(letter, mark=False)


_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u2028\u2029")
