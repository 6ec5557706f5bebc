"""How the tests read the blocks of the slash commands, and what they fill into them: the shipped question.

`tests/commands` walks through the texts without a client, `tests/client` as the real client delivers them.
"""

import re
from collections.abc import Mapping

FEATURE, EXP = "specs/001-capitals", "runs/001-capitals"
WORDS: Mapping[str, str] = {
    "FEATURE": FEATURE,
    "EXP": EXP,
    "NNN-name": "001-capitals",
    "QUESTION": "Does LoRA teach the model to capitalize a word?",
    "HYPOTHESIS": "It does, by at least 0.05.",
    "MODEL": "model",
    "TRAIN": "data/train.jsonl",
    "TEST": "data/test.jsonl",
    "IN": "word",
    "OUT": "capitalized",
    "PROMPT": "capitalize",
    "TITLE": "Capitals",
}
SPECIFICATION = "# Capitals\n\n- **SC-001**: exact match rises by at least 0.05\n"
_CUTS = {"[8, 32]": "[32]", "split: test}]": "split: test, limit: 20}]"}


def fenced(text: str, language: str) -> str:
    """Return the first fenced block of this language."""
    found = re.search(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert found is not None, f"no {language} block in: {text[:80]}"
    return found[1]


def filled(text: str, words: Mapping[str, str] = WORDS) -> str:
    """Put values in for the placeholders of a text: words in capitals, and `NNN-name`."""
    return re.sub(r"\b(NNN-name|[A-Z]{2,})\b", lambda found: words.get(found[0], found[0]), text)


def cut(design: str) -> str:
    """Return the design of `plan`, cut to one run and to one evaluation of twenty items."""
    for whole, part in _CUTS.items():
        assert design.count(whole) == 1, whole
        design = design.replace(whole, part)
    return design
