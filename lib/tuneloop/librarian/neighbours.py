"""Who else is in a folder of Claude Code's: spec-kit's commands, skills of the same name, the plugin itself."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import Problem
from tuneloop.librarian.target import Target, user_folder

_BY_SPEC_KIT = ("integration.json", "init-options.json")  # in `.specify`: written by `specify init`, not by hand
_PLUGIN = "tuneloop@"  # and the marketplace's name


def spec_kit(target: Target, ours: set[str]) -> str | None:
    """Return the file that tells that spec-kit was set up here, None when it was not."""
    if target.project is None:
        return None
    for name in _BY_SPEC_KIT:
        if (target.project / ".specify" / name).is_file():
            return f".specify/{name}"
    found = sorted((target.base / "skills").glob("speckit-*"))
    return next((f".claude/skills/{path.name}" for path in found if f"skills/{path.name}" not in ours), None)


def warnings(target: Target, places: Sequence[str]) -> Iterator[Problem]:
    """Yield what hides a linked skill, or lists it twice."""
    own = user_folder() / "skills"
    for place in places:
        kind, _, name = place.partition("/")
        twin = own / name
        hides = kind == "skills" and target.project is not None and (twin / "SKILL.md").is_file()
        if hides and not _same(twin, target.base / place):
            message = f"your own skill {twin} hides the project's `{name}`: Claude Code prefers it"
            yield Problem(message, hint="rename it, or move it away")
    where = plugin_enabled(target)
    if places and where is not None:
        message = f"the plugin is enabled as well ({where}): each skill is listed twice"
        yield Problem(message, hint="`tuneloop skills unlink`, or disable the plugin")


def plugin_enabled(target: Target) -> Path | None:
    """Return the file that enables the plugin here: the settings nearest to the project decide."""
    places = [user_folder()] if target.project is None else [target.base, user_folder()]
    files = [folder / name for folder in places for name in ("settings.local.json", "settings.json")]
    for path in files:
        said = _read(path).get("enabledPlugins")
        found = [value for name, value in said.items() if name.startswith(_PLUGIN)] if isinstance(said, dict) else []
        if found:
            return path if any(found) else None
    return None


def _read(path: Path) -> dict[str, Any]:
    """Return settings; nothing for a file that is not there or that Claude Code itself could not read."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)
