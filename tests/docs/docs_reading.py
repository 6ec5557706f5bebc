"""What is read out of a Markdown document: its blocks, its inline code, its commands and its links.

Knows Markdown and a little shell, nothing of what is right; the checks beside it know that.
"""

import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SKILLS = sorted((ROOT / "skills").glob("*/*/SKILL.md"))
# What an agent reads as it is: the files of skills, slash commands, agents.
PACK = [
    *sorted((ROOT / "skills").glob("*/*/**/*.md")),
    *sorted((ROOT / "commands").glob("*.md")),
    *sorted((ROOT / "agents").glob("*.md")),
]
PROSE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*/README.md"))
SHELL = ("sh", "bash")  # the kinds of a block to be typed
_PIECE = re.compile(
    r"^(?P<indent> *)```(?P<kind>[^\n`]*)\n(?P<block>.*?)^(?P=indent)```[ ]*$|`(?P<inline>[^`\n]+)`",
    re.DOTALL | re.MULTILINE,
)
_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    kind: str  # the word after the fence, empty without one
    text: str


@dataclass(frozen=True)
class Inline:
    text: str


@dataclass(frozen=True)
class Command:
    words: list[str]
    whole: bool  # from a block: to be typed as it is; inline code may leave arguments out

    @property
    def shown(self) -> str:
        return shlex.join(self.words)


def pieces(text: str) -> Iterator[Block | Inline]:
    """Yield the fenced blocks and the inline code of a document in its order."""
    for found in _PIECE.finditer(text):
        if found["block"] is not None:
            yield Block(found["kind"].strip(), textwrap.dedent(found["block"]))
        elif found["inline"].strip():
            yield Inline(found["inline"].strip())


def blocks(text: str, *kinds: str) -> list[Block]:
    return [piece for piece in pieces(text) if isinstance(piece, Block) and (not kinds or piece.kind in kinds)]


def inline_codes(text: str) -> list[str]:
    return [piece.text for piece in pieces(text) if isinstance(piece, Inline)]


def links(text: str) -> list[str]:
    return _LINK.findall(without_blocks(text))


def without_blocks(text: str) -> str:
    return _PIECE.sub(lambda found: "" if found["block"] is not None else found[0], text)


def anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", without_blocks(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def commands_in(text: str) -> Iterator[Command]:
    """Yield every `tuneloop …` of the fenced blocks and the inline code, in their order."""
    for piece in pieces(text):
        yield from commands_of(piece)


def commands_of(piece: Block | Inline) -> Iterator[Command]:
    if isinstance(piece, Block) and piece.kind == "markdown":  # the shape of a document, with inline code of its own
        yield from commands_in(piece.text)
    elif isinstance(piece, Block):
        for words in shell_lines(piece.text):
            if words[0] == "tuneloop":
                yield Command(words, whole="[OPTIONS]" not in words)
    elif piece.text.split()[0] == "tuneloop" and "{" not in piece.text and "<" not in piece.text:
        yield Command(shlex.split(piece.text), whole=False)


def shell_lines(block: str) -> list[list[str]]:
    """Return the words of each simple command in a block; comments, operators and leading assignments are left out."""
    found = []
    for line in block.replace("\\\n", " ").splitlines():
        try:
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            found += _simple(list(lexer))
        except ValueError:  # an open quote: a drawing or a message, nothing to type
            continue
    return found


def _simple(words: list[str]) -> Iterator[list[str]]:
    command: list[str] = []
    for word in [*words, ";"]:
        if not set(word) <= set("();<>|&"):
            command.append(word)
            continue
        while command and re.match(r"[A-Z_]+=", command[0]):
            del command[0]
        if command:
            yield command
        command = []


@cache
def head_and_body(text: str) -> tuple[str, str]:
    """Return the YAML head of a document, empty without one, and the rest."""
    found = re.match(r"---\n(.*?)^---\n", text, re.DOTALL | re.MULTILINE)
    return (found[1], text[found.end() :]) if found else ("", text)
