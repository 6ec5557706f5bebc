"""What the tests read out of the texts of commands and agents."""

import re
from pathlib import Path

from spec_texts import fenced
from tuneloop.librarian.pack import read_pack

PACK = read_pack(Path(__file__).resolve().parents[2])
TEXTS = {item.name.removeprefix("speckit-"): item.body for item in PACK.commands}
# Number, what may go beside it, its story, what to do, and the command that proves it.
TASK = re.compile(r"^- \[( |X)\] (T\d{3})( \[P\])?( \[US\d+\])? [A-Z].+: `([^`]+)`$", re.MULTILINE)


def block(name: str, language: str) -> str:
    """Return the first fenced block of this language in a command's text."""
    return fenced(TEXTS[name], language)


def inline(text: str) -> list[str]:
    """Return what stands in backticks outside of blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))
