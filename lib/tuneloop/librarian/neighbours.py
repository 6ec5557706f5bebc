"""Who else is in a folder of Claude Code's: spec-kit's commands, a person's of the same name, the plugin itself."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import Problem
from tuneloop.librarian.target import MANIFEST, Target, user_folder

# In `.specify`: written by `specify init`, not by hand, and none of them by our commands.
_BY_SPEC_KIT = ("integration.json", "init-options.json", "scripts")
# Its own commands, which it makes as skills; earlier versions made files with dots in their names.
_CORE = (
    *("analyze", "checklist", "clarify", "constitution", "converge"),
    *("implement", "plan", "specify", "tasks", "taskstoissues"),
)
_PLUGIN = "tuneloop@"  # and the marketplace's name


def spec_kit(target: Target, ours: set[str]) -> str | None:
    """Return the path that tells that spec-kit was set up here, None when it was not; `ours` are our own places."""
    if target.project is None:
        return None
    for name in _BY_SPEC_KIT:
        if (target.project / ".specify" / name).exists():
            return f".specify/{name}"
    places = [place for name in _CORE for place in (f"skills/speckit-{name}", f"commands/speckit.{name}.md")]
    there = (place for place in places if place not in ours and (target.base / place).exists())
    return next((f".claude/{place}" for place in there), None)


def warnings(target: Target, places: Sequence[str]) -> Iterator[Problem]:
    """Yield what hides one of the places or is hidden by it, or lists it twice."""
    if target.project is not None:
        yield from (problem for place in places for problem in _twins(target, place))
    where = plugin_enabled(target)
    if places and where is not None:
        message = f"the plugin is enabled as well ({where}): each skill is listed twice"
        yield Problem(message, hint="`tuneloop skills unlink`, or disable the plugin")


def _twins(target: Target, place: str) -> Iterator[Problem]:
    """Yield what a person has under the same name. Measured: a person's skill and command win, a project's agent."""
    own = user_folder()
    kind, _, name = place.partition("/")
    stem = name.removesuffix(".md")
    skill = own / "skills" / stem
    twin = skill if kind == "skills" else own / place
    hint = "rename it, or move it away"
    if kind != "agents" and (skill / "SKILL.md").is_file() and not _same(skill, target.base / place):
        yield Problem(f"your own skill {skill} hides the project's `{stem}`: Claude Code prefers it", hint=hint)
    elif kind != "skills" and twin.is_file() and not _same(twin, target.base / place) and not _ours(own, place):
        if kind == "commands":
            yield Problem(f"your own command {twin} hides the project's `{stem}`: Claude Code prefers it", hint=hint)
        else:
            yield Problem(f"your own agent {twin} is hidden by the project's `{stem}` here", hint=hint)


def _ours(base: Path, place: str) -> bool:
    """Tell whether a file that is no link was made by `link`, as dotted names are: each sends to the same command."""
    entries = _read(base / MANIFEST).get("entries")
    return not (base / place).is_symlink() and isinstance(entries, dict) and bool(entries.get(place))


def plugin_enabled(target: Target) -> Path | None:
    """Return the file that enables the plugin here: the settings nearest to the project decide."""
    for path in _settings_files(target):
        said = _read(path).get("enabledPlugins")
        found = [value for name, value in said.items() if name.startswith(_PLUGIN)] if isinstance(said, dict) else []
        if found:
            return path if any(found) else None
    return None


def hooks_off(target: Target) -> Path | None:
    """Return the file that turns all hooks off here, None where none does: the nearest one that says anything."""
    for path in _settings_files(target):
        said = _read(path).get("disableAllHooks")
        if said is not None:
            return path if said is True else None
    return None


def _settings_files(target: Target) -> list[Path]:
    """Return the client's settings, those first that decide."""
    places = [user_folder()] if target.project is None else [target.base, user_folder()]
    return [folder / name for folder in places for name in ("settings.local.json", "settings.json")]


def _read(path: Path) -> dict[str, Any]:
    """Return settings; nothing for a file that is not there or that Claude Code itself could not read."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)
