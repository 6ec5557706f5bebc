"""What the tests read out of the texts of commands and agents."""

import re
from pathlib import Path

from tuneloop.librarian.pack import read_pack

PACK = read_pack(Path(__file__).resolve().parents[2])
TEXTS = {item.name.removeprefix("speckit-"): item.body for item in PACK.commands}
# Number, what may go beside it, its story, what to do, and the command that proves it.
TASK = re.compile(r"^- \[( |X)\] (T\d{3})( \[P\])?( \[US\d+\])? [A-Z].+: `([^`]+)`$", re.MULTILINE)


def block(name: str, language: str) -> str:
    """Return the first fenced block of this language in a command's text."""
    found = re.search(rf"^```{language}\n(.*?)^```", TEXTS[name], re.DOTALL | re.MULTILINE)
    assert found is not None, f"no {language} block in {name}"
    return found[1]


def inline(text: str) -> list[str]:
    """Return what stands in backticks outside of blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


def filled(text: str, words: dict[str, str]) -> str:
    """Put values in for the placeholders of a text: words in capitals, and `NNN-name`."""
    return re.sub(r"\b(NNN-name|[A-Z]{2,})\b", lambda found: words.get(found[0], found[0]), text)
