"""Where a pack is made active: the `.claude` folder of a project, or Claude Code's own folder of a person.

Nothing is read or written through a link there: a folder that is a link belongs to another tree.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tuneloop.documents.config import find_project
from tuneloop.documents.errors import InputError, Problem, Problems
from tuneloop.librarian.pack import PLUGIN

Kind = Literal["skills", "commands", "agents"]
KINDS: tuple[Kind, ...] = ("skills", "commands", "agents")  # the folders that the client scans
MANIFEST = "tuneloop.json"
SETTINGS = "settings.json"
_THROUGH_A_LINK = "is a link: nothing is written through it"


@dataclass(frozen=True)
class Target:
    base: Path  # the folder that holds `skills/`, `commands/` and `agents/`
    project: Path | None  # None: the person's own folder, for all projects
    own: bool = False  # the project is a checkout of the pack itself

    @property
    def commands(self) -> str:
        """The commands' folder as a prompt names it: from the project's root, where a session starts."""
        return str(self.base / "commands") if self.project is None else ".claude/commands"

    @property
    def manifest(self) -> Path:
        return self.base / MANIFEST

    @property
    def settings(self) -> Path:
        return self.base / SETTINGS


def user_folder() -> Path:
    """Return where Claude Code keeps what is a person's own."""
    return Path(os.environ.get("CLAUDE_CONFIG_DIR") or Path.home() / ".claude")


def for_user() -> Target:
    return Target(user_folder().absolute(), None)


def for_project(start: Path, named: Path | None = None) -> Target:
    """Return the target of the project `named`, or of the one that `start` lies in.

    That is the nearest folder upwards with `tuneloop.yaml`, else with `.git`, else `start` itself. Raises InputError
    when there is no such folder, or when it is the person's own.
    """
    if named is not None and not named.is_dir():
        raise InputError(Problem("no such folder", named, hint="make it first, or name another"))
    project = (named or find_project(start) or _checkout(start) or start).resolve()
    base = project / ".claude"
    if base == user_folder().absolute():
        hint = "`tuneloop skills link --user`, or name a project with `--project DIR`"
        raise InputError(Problem("this is Claude Code's folder of yours, not a project's", base, hint=hint))
    return Target(base, project, own=is_pack(project))


def is_pack(folder: Path) -> bool:
    """Tell whether a folder is the root of the pack's own checkout, in whatever version.

    `hooks/launch` says the same in shell: a manifest that begins with the pack's name, and the pack beside it. A
    manifest alone may be anybody's.
    """
    try:
        manifest = b"".join((folder / PLUGIN).read_bytes().split())
    except OSError:
        return False
    whole = (folder / "hooks" / "launch").is_file() and (folder / "lib" / "tuneloop" / "hooks").is_dir()
    return whole and manifest.startswith(b'{"name":"tuneloop",')


def pack_version(root: Path) -> str:
    """Return the version of the pack in `root`; empty where its manifest does not say."""
    return str(_plugin(root).get("version", ""))


def _plugin(root: Path) -> dict[str, Any]:
    try:
        value = json.loads((root / PLUGIN).read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def same_checkout(one: Path, other: Path) -> bool:
    """Tell whether two folders move together, so that a relative link between them stays right."""
    one, other = one.resolve(), other.resolve()
    top = _checkout(one)
    return one.is_relative_to(other) or other.is_relative_to(one) or (top is not None and top == _checkout(other))


def refuse_unsafe(target: Target) -> None:
    """Raise InputError with every part of the target that is a link or a file where a folder belongs.

    Settings are looked at by whoever writes them: `refuse_linked`.
    """
    problems = Problems()
    for folder in (target.base, *(target.base / kind for kind in KINDS)):
        if folder.is_symlink():
            hint = "put a folder in its place, or link into the tree that it leads to"
            problems.add(_THROUGH_A_LINK, source=folder, hint=hint)
        elif folder.exists() and not folder.is_dir():
            problems.add("is a file, not a folder", source=folder, hint="move it away")
    if target.manifest.is_symlink():
        problems.add(_THROUGH_A_LINK, source=target.manifest, hint="put a file in its place")
    problems.raise_if_any()


def refuse_linked(file: Path) -> None:
    """Raise InputError when a file that shall be written is a link."""
    if file.is_symlink():
        raise InputError(Problem(_THROUGH_A_LINK, file, hint="put a file in its place"))


def refuse_read_only(folders: Iterable[Path]) -> None:
    """Raise InputError with every folder that cannot be written; for one that is not there, the nearest above."""
    problems = Problems()
    found = (next(place for place in (folder, *folder.parents) if place.is_dir()) for folder in folders)
    for folder in dict.fromkeys(found):
        if not os.access(folder, os.W_OK | os.X_OK):
            problems.add(
                "this folder cannot be written", source=folder, hint="nothing was changed; take another project"
            )
    problems.raise_if_any()


def _checkout(start: Path) -> Path | None:
    here = start.resolve()
    return next((folder for folder in (here, *here.parents) if (folder / ".git").exists()), None)
