"""What of a pack becomes active: skills and their closure, commands, agents, and the dotted names of commands."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tuneloop.documents.files import read_bytes
from tuneloop.librarian.manifest import Entry
from tuneloop.librarian.pack import Command, Pack
from tuneloop.librarian.target import Target, same_checkout

SPEC_KIT = "speckit-"  # how the commands begin that spec-kit brings as well


@dataclass(frozen=True)
class Item:
    """One thing at a place below the base, such as `skills/run-inspect`: a part of the pack, or a text made of one."""

    place: str
    source: Path
    text: str | None = None

    @property
    def name(self) -> str:
        return self.place.partition("/")[2].removesuffix(".md")


def items(pack: Pack, words: Sequence[str], folder: str) -> list[Item]:
    """Return what the words name, skills or categories; the default skills, all commands and agents without any.

    Commands and agents work with whole categories, so a category brings them and a skill alone does not. Raises
    MissingError for a word that is neither.
    """
    found = [Item(f"skills/{skill.name}", skill.folder) for skill in pack.chosen(words)]
    if not words or any(skill.category in words for skill in pack.skills):
        found += _commands_and_agents(pack, folder)
    return found


def everything(pack: Pack, folder: str) -> list[Item]:
    return [*(Item(f"skills/{skill.name}", skill.folder) for skill in pack.skills), *_commands_and_agents(pack, folder)]


def _commands_and_agents(pack: Pack, folder: str) -> list[Item]:
    found = []
    for command in pack.commands:
        found.append(Item(f"commands/{command.name}.md", command.path))
        if command.name.startswith(SPEC_KIT):
            found.append(Item(f"commands/{dotted_name(command.name)}.md", command.path, dotted(command, folder)))
    return [*found, *(Item(f"agents/{agent.name}.md", agent.path) for agent in pack.agents)]


def dotted_name(name: str) -> str:
    return name.replace("-", ".", 1)


def dotted(command: Command, folder: str) -> str:
    """Return the file that makes `/speckit.plan` do what `/speckit-plan` does.

    A file and no second link: of two links to one file the client loads only one. `@` attaches the command's text,
    though not in a session that was started below the project's root; there the agent reads it.
    """
    path = f"{folder}/{command.name}.md"
    attached = f'@"{path}"' if " " in path else f"@{path}"
    root = "" if Path(path).is_absolute() else " in the project's root"
    return (
        f'---\ndescription: "The same as /{command.name}"\ndisable-model-invocation: true\n---\n'
        f"Do what {attached} says; if its text is not attached, read the file `{path}`{root} first.\n"
        "Its arguments are: $ARGUMENTS\n"
    )


def entry(item: Item, target: Target, pack: Pack, *, copy: bool) -> Entry:
    """Return what shall stand at the item's place."""
    if item.text is not None:
        return Entry(kind="file", holds=_hash(item.text.encode()))
    if copy:
        found = observe(item.source.resolve())
        assert found is not None
        return found
    folder = (target.base / item.place).parent
    near = same_checkout(target.base, pack.root)
    return Entry(
        kind="link", holds=os.path.relpath(item.source.resolve(), folder) if near else str(item.source.absolute())
    )


def observe(path: Path) -> Entry | None:
    """Return what stands at a place, None when nothing does."""
    if path.is_symlink():
        return Entry(kind="link", holds=str(path.readlink()))
    if path.is_dir():
        return Entry(kind="folder", holds=_hash(_listing(path)))
    return Entry(kind="file", holds=_hash(read_bytes(path))) if path.exists() else None


def _listing(folder: Path) -> bytes:
    """Return the names, rights to run and hashes of all files below; what Python caches is nobody's change."""
    files = [path for path in sorted(folder.rglob("*")) if not path.is_dir() and "__pycache__" not in path.parts]
    lines = (
        f"{path.relative_to(folder).as_posix()}\0{os.access(path, os.X_OK)}\0{_hash(read_bytes(path))}\n"
        for path in files
    )
    return "".join(lines).encode(errors="surrogateescape")


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
