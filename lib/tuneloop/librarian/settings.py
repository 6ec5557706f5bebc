"""The pack's hooks and permissions in a settings file of Claude Code's: merged in, and taken out again.

What was added is recognised by the record of it in the manifest, never by a key that the client does not know: one
entry of an unknown kind makes it drop a file's hooks in silence. While the file is as it was written, taking out
brings back its bytes; afterwards exactly the entries of ours go.
"""

import copy
import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import InputError, Problem
from tuneloop.documents.files import read_text
from tuneloop.documents.shell import quote
from tuneloop.librarian.manifest import Added, Merge

Settings = dict[str, Any]
Addition = Added
HOOKS = Path("hooks", "hooks.json")
_ROOT = re.compile(r'"\$\{CLAUDE_PLUGIN_ROOT\}([^"$`\\]*)"')
_HOOK = re.compile(r"/hooks/launch[\"'\\]* ([\w-]+)")  # in a command of ours, wherever the pack was: the hook's name
_INDENT = re.compile(r'\{\s*\n([ \t]+)"')  # before the first key of settings
_MARK = "\ufeff"  # of the byte order, which some editors write first


@dataclass(frozen=True)
class SettingsChange:
    path: Path
    text: str | None  # what the file shall hold; None: it goes
    mode: int


def additions(root: Path, rules: Sequence[str]) -> list[Addition]:
    """Return what a project's settings get: the rules of what passes without a question, and the pack's hooks.

    Raises InputError when the pack's hooks cannot be read.
    """
    found = [Added(at=["permissions", "allow"], value=rule) for rule in rules]
    path = root / HOOKS
    if path.is_file():
        for event, groups in parse(read_text(path), path).get("hooks", {}).items():
            found += [Added(at=["hooks", event], value=_placed(group, root)) for group in groups]
    return found


def _placed(value: Any, root: Path) -> Any:
    """Return a hook with the pack's folder in place of the variable that only a plugin has."""
    if isinstance(value, dict):
        return {key: _placed(item, root) for key, item in value.items()}
    if isinstance(value, list):
        return [_placed(item, root) for item in value]
    if isinstance(value, str):
        placed = _ROOT.sub(lambda match: _word(f"{root.absolute()}{match[1]}"), value)
        return _harmless(placed, _ROOT.match(value), root)
    return value


def _harmless(command: str, launcher: re.Match[str] | None, root: Path) -> str:
    """Return a command that does nothing where its launcher is not.

    Settings may be committed, and the pack lies elsewhere on another machine. A hook that must block does so there.
    """
    if launcher is None or "--must" in command:
        return command
    return f"[ ! -x {_word(f'{root.absolute()}{launcher[1]}')} ] || exec {command}"


def _word(path: str) -> str:
    try:
        return quote(path)
    except InputError:
        hint = "move the pack to another folder"
        raise InputError(Problem("a control character cannot enter settings", Path(path), hint=hint)) from None


def parse(text: str, source: Path) -> Settings:
    """Return settings as data. Raises InputError with the line where they are not what Claude Code reads."""
    try:
        value = json.loads(
            text.removeprefix(_MARK), object_pairs_hook=_once, parse_constant=_no_number, parse_float=_number
        )
    except json.JSONDecodeError as error:
        hint = "correct it first: Claude Code leaves out such a file in silence"
        raise InputError(Problem(f"not JSON: {error.msg}", source, line=error.lineno, hint=hint)) from None
    except (ValueError, RecursionError) as error:
        raise InputError(Problem(str(error), source, hint="correct it first")) from None
    if not isinstance(value, dict):
        raise InputError(Problem("settings are keys and values in braces", source, line=1))
    for key, inner in (("permissions", "allow"), ("hooks", None)):
        group = value.get(key, {})
        lists = [] if not isinstance(group, dict) else group.values() if inner is None else [group.get(inner, [])]
        if not isinstance(group, dict) or not all(isinstance(item, list) for item in lists):
            shape = "lists by event" if inner is None else f"a group with the list `{inner}`"
            raise InputError(Problem(f"`{key}` should be {shape}", source, key=key, hint="correct it first"))
    return value


def _number(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text)


def _no_number(text: str) -> float:
    raise ValueError(f"the number {text} cannot be written again as JSON")


def _once(pairs: list[tuple[str, Any]]) -> Settings:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key `{twice}` stands there twice, and only one can be kept")
    return value


def merged(settings: Settings, wanted: Sequence[Addition]) -> tuple[Settings, list[Addition], list[list[str]]]:
    """Return the settings with what they lack, what was added, and the lists and groups that had to be made."""
    value = copy.deepcopy(settings)
    added, made = [], []
    for item in wanted:
        group, name = item.at
        if item.value in value.get(group, {}).get(name, []):
            continue
        if group not in value:
            value[group] = {}
            made.append([group])
        if name not in value[group]:
            value[group][name] = []
            made.append([group, name])
        value[group][name].append(copy.deepcopy(item.value))
        added.append(item)
    return value, added, made


def removed(settings: Settings, merge: Merge) -> Settings:
    """Return the settings without what was added; what a person has taken out or moved already is no fault."""
    value = copy.deepcopy(settings)
    for item in merge.added:
        group, name = item.at
        entries = value.get(group, {}).get(name, [])
        if item.value in entries:
            last = max(index for index, found in enumerate(entries) if found == item.value)  # ours came after theirs
            del entries[last]
    for where in sorted(merge.made, key=len, reverse=True):
        holder = value if len(where) == 1 else value.get(where[0], {})
        if holder.get(where[-1]) in ([], {}):
            del holder[where[-1]]
    return value


def plan_merge(
    path: Path, merges: Sequence[Merge], wanted: Sequence[Addition] | None, *, start: bool
) -> tuple[SettingsChange | None, list[Merge]]:
    """Return what happens to the file, and the record of it afterwards.

    Without `start` the entries that are in the file are brought up to date, and no others: what a person took out,
    or was never asked about, stays out.
    """
    if not start and not merges:
        return None, []  # whatever the file holds, and whether or not it can be read
    now = read_text(path) if path.exists() else None
    carried = _carried(now, merges, path)
    if not start:
        if wanted is None or not carried:
            return None, list(merges) if carried else []
        wanted = [item for item in wanted if _known_by(item) in map(_known_by, carried)]
    settings = {} if now is None else parse(now, path)
    there = [item for item in wanted or [] if _holds(settings, item)]
    if len(merges) == 1 and there == wanted and all(item in wanted for item in carried):
        return None, list(merges)
    before = _without(now, merges, path)
    value, added, made = merged({} if before is None else parse(before, path), wanted or [])
    if not added:
        return _change(path, now, before), []
    text = _dumped(value, before)
    return _change(path, now, text), [Merge(before=before, wrote=_hash(text), added=added, made=made)]


def merge_found(path: Path, wanted: Sequence[Addition]) -> Merge | None:
    """Return the record of a merge that nobody wrote down, None where it cannot be told from a person's own entries.

    A hook names this pack's launcher, so with all hooks there the rules came with them. Lists and groups that hold
    nothing else count as made, and so does the file.
    """
    if not path.is_file() or path.is_symlink():
        return None
    try:
        now = read_text(path)
        settings = parse(now, path)
    except InputError:
        return None  # nothing of ours could be told, and whoever writes there says what is wrong
    hooks = [item for item in wanted if item.at[0] == "hooks"]
    if not hooks or not all(_holds(settings, item) for item in hooks):
        return None
    added = [item for item in wanted if _holds(settings, item)]
    made = [place for item in added for place in (item.at, item.at[:1])]
    made = [list(place) for place in dict.fromkeys(map(tuple, made))]
    rest = removed(settings, Merge(before=None, wrote="", added=added, made=made))
    made = [place for place in made if not _at(rest, place)]
    return Merge(before=_dumped(rest, now) if rest else None, wrote=_hash(now), added=added, made=made)


def _at(settings: Settings, place: Sequence[str]) -> Any:
    """Return the group, or the list in it, at a place."""
    group = settings.get(place[0])
    return group if len(place) == 1 else (group or {}).get(place[1])


def plan_removal(path: Path, merges: Sequence[Merge]) -> SettingsChange | None:
    """Return what takes our entries out of the file; None when none is in it."""
    if not merges:
        return None
    now = read_text(path) if path.exists() else None
    return _change(path, now, _without(now, merges, path))


def _carried(now: str | None, merges: Sequence[Merge], path: Path) -> list[Addition]:
    """Return the entries of ours that the file still has."""
    settings = {} if now is None or not merges else parse(now, path)
    return [item for merge in merges for item in merge.added if _holds(settings, item)]


def _holds(settings: Settings, item: Addition) -> bool:
    group, name = item.at
    return item.value in settings.get(group, {}).get(name, [])


def _known_by(item: Addition) -> tuple[str, ...]:
    """Return what stays the same of an entry when the pack moves: a hook's name, or a rule as it is."""
    text = json.dumps(item.value, ensure_ascii=False)
    hooks = _HOOK.findall(text) if item.at[0] == "hooks" else []
    return (*item.at, *(sorted({*hooks}) or [text]))


def _without(now: str | None, merges: Sequence[Merge], path: Path) -> str | None:
    """Return the text of the file without anything of ours: its old bytes where they are known."""
    if now is None or not merges:
        return now
    for merge in merges:
        if _hash(now) == merge.wrote:
            return merge.before
        if now == merge.before:
            return now
    value = parse(now, path)
    rest = value
    for merge in reversed(merges):
        rest = removed(rest, merge)
    if rest == value:
        return now
    return None if not rest and merges[0].before is None else _dumped(rest, now)


def _change(path: Path, now: str | None, text: str | None) -> SettingsChange | None:
    if now == text:
        return None
    return SettingsChange(path, text, path.stat().st_mode & 0o777 if now is not None else 0o644)


def _dumped(value: Settings, like: str | None) -> str:
    """Return settings as text, indented as the text was that they came from."""
    found = _INDENT.search(like or "")
    indent = found[1] if found else 2
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    if any("\ud800" <= letter <= "\udfff" for letter in text):  # half a letter: JSON allows it, UTF-8 does not
        text = json.dumps(value, indent=indent)
    return f"{_MARK if (like or '').startswith(_MARK) else ''}{text}\n"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
