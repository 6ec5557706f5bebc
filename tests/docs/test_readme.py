"""The README shows the tree as it is and begins with the two commands that everybody needs."""

from docs_reading import ROOT
from docs_tree import faults, tree_of

README = (ROOT / "README.md").read_text()
BAD_TREE = """\
```
lib/tuneloop/          this description has far too many words to be read at once
  no-such-folder/      nothing
```
"""


def test_readme_shows_the_tree() -> None:
    tree = tree_of(README)
    assert len(tree) > 12
    assert list(faults(tree)) == []


def test_bad_tree_is_rejected() -> None:
    found = list(faults(tree_of(BAD_TREE)))
    assert "lib/tuneloop/: 12 words" in found
    assert "no such folder: lib/tuneloop/no-such-folder/" in found
    assert "the tree lacks skills/" in found


def test_readme_begins_with_both_commands() -> None:
    first_screen = "\n".join(README.splitlines()[:20])
    assert "make demo" in first_screen
    assert "make test" in first_screen
    assert "docs/images/report.png" in first_screen
