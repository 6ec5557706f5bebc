"""Which `tuneloop` commands a line of shell would run, as far as that can be told without running it.

A reader, not a shell: where it cannot be certain it says so, and the guard asks.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from tuneloop.hooks import commands

_OPERATORS = ";&|()<>`\n"
_TOOL = re.compile(r"(?:.*/)?tuneloop(?:\.[\w.]+)?\Z")  # also the module that `python -m` starts
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_EXPANSION = re.compile(r"[$*?{\[]")
_SUBSTITUTION = re.compile(r"\$\(|`")
_SCRIPT = re.compile(rf"[\s{re.escape(_OPERATORS)}]")  # a word that could be a command line itself
# A command of these takes further words, or a name for another, from where this reader does not look.
_INDIRECT = frozenset({"alias", "parallel", "xargs"})
# What a plain command holds none of, even inside quotes: more than one command, or words that the shell makes up.
_NOT_PLAIN = re.compile(r"[;&|<>()$`\\{}!#*?\[\]\x00-\x1f\x7f]")
_ALLOWED_TOOLS = frozenset({"tuneloop", ".venv/bin/tuneloop", "./.venv/bin/tuneloop"})
_DEEPEST = 4  # `bash -c` inside `bash -c`


class Call:
    """One command of the tool: what it is, and the words after it."""

    def __init__(self, command: str, words: list[str]) -> None:
        self.command, self.words = command, words
        self.harmless = any(_alone(words, place) in commands.HARMLESS for place in range(len(words)))

    @property
    def kind(self) -> str | None:
        """As in `commands.kind_of`; a command that replaces results counts as a deleting one."""
        if self.harmless:
            return "reading"
        kind = commands.kind_of(self.command)
        replaces = any(word.split("=")[0] == commands.REPLACE for word in self.words)
        return "deleting" if kind == "writing" and replaces else kind

    def option(self, name: str) -> str | None:
        """Return the value of an option, None without it."""
        for place, word in enumerate(self.words):
            if word == name:
                return self.words[place + 1] if place + 1 < len(self.words) else None
            if word.startswith(f"{name}="):
                return word.partition("=")[2]
        return None

    @property
    def arguments(self) -> list[str]:
        """The words that are neither options nor an option's value."""
        found = [_alone(self.words, place) for place in range(len(self.words))]
        return [word for word in found if word and not word.startswith("-")]


class Line:
    """What was found in one command line; `certain` is false where a call may have been missed."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.folders: list[str] = []  # those that `cd` goes to before the first call
        self.certain = True


def plain_call(text: str) -> Call | None:
    """Return the call that is the whole line, None where anything stands beside it or must be expanded first."""
    if _NOT_PLAIN.search(text):
        return None
    try:
        words = shlex.split(text)
    except ValueError:
        return None
    return _call(words[1:]) if words and words[0] in _ALLOWED_TOOLS else None


def read_line(text: str) -> Line:
    """Return every call that the line, or a script inside it, would make."""
    line = Line()
    _read(text, line, _DEEPEST)
    return line


def mentions_an_act(text: str) -> bool:
    """Tell whether a command that submits, cancels or deletes stands anywhere as a word of its own."""
    return _ACT.search(text) is not None


def _read(text: str, line: Line, deeper: int) -> None:
    try:
        segments = list(_segments(text.replace("\\\n", ""))) if deeper else []
    except ValueError:
        segments = []
    # Backquotes may make up the name of a command, and divide what belongs together.
    line.certain = line.certain and bool(segments) and "`" not in text
    for words in segments:
        _read_segment(words, line, deeper)


def _segments(text: str) -> Iterator[list[str]]:
    """Yield the words of each simple command. Raises ValueError for an open quote."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=_OPERATORS)
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    words: list[str] = []
    for word in lexer:
        if word and set(word) <= set(_OPERATORS):
            if words:
                yield words
            words = []
        else:
            words.append(word)
    if words:
        yield words


def _read_segment(words: list[str], line: Line, deeper: int) -> None:
    while words and _ASSIGNMENT.match(words[0]):
        words = words[1:]
    if not words:
        return
    if words[0] == "cd" and len(words) == 2 and not line.calls:
        line.folders.append(words[1])
    if "$" in words[0] or _INDIRECT & set(words):
        line.certain = False
    # In the first place it can only be a call, and what follows are its arguments; elsewhere any may be one.
    first = bool(_TOOL.match(words[0]))
    for place, word in enumerate(words[:1] if first else words):
        if _TOOL.match(word):
            _add(_call(words[place + 1 :]), line)
    for word in words:
        if "tuneloop" in word and (_SUBSTITUTION.search(word) if first else _SCRIPT.search(word)):
            _read(word, line, deeper - 1)


def _add(call: Call | None, line: Line) -> None:
    if call is None:
        return
    if _EXPANSION.search(call.command):
        line.certain = False
    else:
        line.calls.append(call)


def _call(words: list[str]) -> Call | None:
    """Return the call that the words after the tool's name make, None where there are none."""
    verbs = [place for place, word in enumerate(words) if not word.startswith("-")]
    if not verbs:
        return Call("", words) if words else None
    first = verbs[0]
    length = 2 if words[first] in commands.GROUPS and len(verbs) > 1 else 1
    taken = verbs[:length]
    return Call(" ".join(words[place] for place in taken), words[:first] + words[taken[-1] + 1 :])


def _alone(words: list[str], place: int) -> str:
    """Return the word at `place`; nothing where it may be the value of the option before it, or follows `--`."""
    if "--" in words[:place]:
        return "" if words[place].startswith("-") else words[place]
    before = words[place - 1] if place else ""
    takes = before.startswith("-") and "=" not in before and before not in commands.FLAGS | commands.HARMLESS
    return "" if takes else words[place]


_ACTS = [*commands.SUBMITTING, *commands.CANCELLING, *commands.DELETING, commands.REPLACE]
_ACT = re.compile(rf"(?<![\w./-])(?:{'|'.join(map(re.escape, _ACTS))}|run-[a-z]\w*)(?![\w./-])")
