"""Whether a line of shell only reads, for certain: reading commands one after the other, and programs that show them.

A short closed list on purpose. What is not on it is left to the client's own permissions.
"""

from __future__ import annotations

import re
from pathlib import Path

from tuneloop.hooks.lexer import Lexer, OpenQuoteError, Word
from tuneloop.hooks.shell import call_of

_TOOLS = frozenset({"tuneloop", ".venv/bin/tuneloop", "./.venv/bin/tuneloop"})
_UNFIT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_BETWEEN = frozenset({";", "&&", "||", "\n"})
_QUIET = "2>"
# What these may be given behind a pipe, each word behind a NUL: flags, numbers, one text. Never the name of a file,
# which may be one that the client would ask about, and nothing that writes or starts something.
_READERS = {
    name: re.compile(pattern + r"\Z", re.DOTALL)
    for name, pattern in {
        "cat": r"(?:\0-[AbeEnstTuv]+)*",
        "grep": r"(?:\0-[cEFhinoPqsvwx]+|\0-[ABCm]\0?\d+)*\0[^-\0][^\0]*",
        "head": r"(?:\0-\d+|\0-[cn]\0?\d+)*",
        "jq": r"(?:\0-[acCeMrsS]+)*\0(?!-)(?:(?!env|ENV|import|include|input_)[^\0])+",
        "less": r"(?:\0-[FNRSX]+)*",
        "sort": r"(?:\0-[bdfghinrsuV]+|\0-k\0?[\d.,bdfghinrV]+|\0-t\0?[^\0])*",
        "tail": r"(?:\0-\d+|\0-[cn]\0?\+?\d+)*",
        "wc": r"(?:\0-[clLmw]+)*",
    }.items()
}


def only_reads(text: str, here: Path, project: Path) -> bool:
    """Tell whether every command of the line is a reading one, or shows what one says.

    `here` is where the line starts, which an earlier `cd` decided. Commands of folders in `project` alone count, since
    another folder can bring its own library.
    """
    if _UNFIT.search(text):
        return False
    try:
        pipelines = _pipelines(text)
    except OpenQuoteError:
        return False
    reads, inside = 0, _is_inside(here, project)
    for pipeline in pipelines or []:
        first, *behind = pipeline
        if not behind and first and first[0].text == "cd":
            moved = _folder(first, here, project)
            if moved is None:
                return False
            here, inside = moved, True
        elif inside and _is_reading(first) and all(_shows(words) for words in behind):
            reads += 1
        else:
            return False
    return reads > 0


def _pipelines(text: str) -> list[list[list[Word]]] | None:
    """Return the words of each command of each pipeline, None where something else stands between them."""
    lexer = Lexer(text)
    if lexer.documents or lexer.comments:
        return None
    found: list[list[list[Word]]] = [[[]]]
    for item in lexer.tokens:
        if isinstance(item, Word):
            found[-1][-1].append(item)
        elif item == "|":
            found[-1].append([])
        elif item in _BETWEEN:
            found.append([[]])
        elif item != _QUIET:
            return None
    return [pipeline for pipeline in found if pipeline != [[]]]


def _is_reading(words: list[Word]) -> bool:
    if not words or words[0].text not in _TOOLS or not words[0].fixed or not all(word.certain for word in words):
        return False
    call = call_of(words[1:])
    # A pattern stands for names of files, which a reading command may be given; options make other commands reading.
    by_itself = call is not None and call.reads_by_itself
    return call is not None and call.readable and call.kind == "reading" and (by_itself or all(w.fixed for w in words))


def _shows(words: list[Word]) -> bool:
    if not words or not all(word.fixed for word in words) or any("\0" in word.text for word in words):
        return False
    allowed = _READERS.get(words[0].text)
    return allowed is not None and allowed.match("".join(f"\0{word.text}" for word in words[1:])) is not None


def _folder(words: list[Word], here: Path, project: Path) -> Path | None:
    """Return where `cd` goes, None where that is not certain or not in the project."""
    if len(words) != 2 or not all(word.fixed for word in words) or words[1].text[:1] in ("-", "~", ""):
        return None
    place = here / words[1].text
    return place if _is_inside(place, project) else None


def _is_inside(place: Path, project: Path) -> bool:
    """Tell whether a folder is the project's, or in it; not so where that cannot be told."""
    try:
        found = place.resolve()
        return project.resolve() in (found, *found.parents)
    except (OSError, ValueError, RuntimeError):
        return False
