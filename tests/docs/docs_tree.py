"""The README's tree of folders against the disk."""

import fnmatch
from collections.abc import Iterator

from docs_reading import ROOT, blocks


def tree_of(text: str) -> dict[str, str]:
    """Return the folders of the README's tree with their descriptions."""
    block = next((block.text for block in blocks(text) if "lib/tuneloop/  " in block.text), "")
    found, parent = {}, ""
    for line in block.splitlines():
        name, _, words = line.strip().partition(" ")
        if not line.startswith(" "):
            parent = name
        found[name if parent == name else parent + name] = words.strip()
    return found


def faults(tree: dict[str, str]) -> Iterator[str]:
    for name, words in tree.items():
        if not (ROOT / name).is_dir():
            yield f"no such folder: {name}"
        if not 1 <= len(words.split()) <= 8:
            yield f"{name}: {len(words.split())} words"
    yield from (f"the tree lacks {name}" for name in folders_on_disk() if name not in tree)


def folders_on_disk() -> list[str]:
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text().split()]
    top = [path.name for path in ROOT.iterdir() if path.is_dir() and path.name not in {".git", "lib"}]
    inner = [path.name for path in (ROOT / "lib/tuneloop").iterdir() if path.is_dir()]

    def kept(name: str) -> bool:
        return not any(fnmatch.fnmatch(name, pattern) for pattern in ignored)

    names = [f"{name}/" for name in top if kept(name)]
    return sorted([*names, "lib/tuneloop/", *(f"lib/tuneloop/{name}/" for name in inner if kept(name))])
