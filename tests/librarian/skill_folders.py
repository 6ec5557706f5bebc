"""Makes packs in a folder: skills as they should be, each with what a test changes in it."""

from pathlib import Path

GOOD = """\
---
name: {name}
description: "Does the thing called {name}. Use when it has to be done. Not for reading what came of it."
license: Apache-2.0
metadata:
  version: "0.2.0"
  category: "experiment"
  requires: ""
  tags: "one, two"
  changelog: "0.2.0: does it better; 0.1.0: does it"
---

# The thing

Start with `tuneloop status EXP`.
"""


def write_skill(root: Path, name: str, *changes: tuple[str, str], body: str = "") -> Path:
    """Write a skill into `root`; every change is one of the text's. Return the skill's folder."""
    text = GOOD.format(name=name)
    for old, new in changes:
        assert text.count(old) >= 1, old
        text = text.replace(old, new, 1)
    folder = root / "skills" / "experiment" / name
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text(text + body)
    return folder
