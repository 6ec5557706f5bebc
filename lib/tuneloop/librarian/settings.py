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
from collections.abc import Iterator, Sequence
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
        return _ROOT.sub(lambda match: _word(f"{root.absolute()}{match[1]}"), value)
    return value


def _word(path: str) -> str:
    try:
        return quote(path)
    except InputError:
        hint = "move the pack to another folder"
        raise InputError(Problem("a control character cannot enter settings", Path(path), hint=hint)) from None


def parse(text: str, source: Path) -> Settings:
    """Return settings as data. Raises InputError with the line where they are not what Claude Code reads."""
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number, parse_float=_number)
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

    Without `start` only what is there already is brought up to date: entries that a person took out stay out.
    """
    now = read_text(path) if path.exists() else None
    if wanted is None or not (start or any(_carried(now, merges, path))):
        return None, list(merges) if now is not None and any(_carried(now, merges, path)) else []
    before = _without(now, merges, path)
    settings = {} if before is None else parse(before, path)
    value, added, made = merged(settings, wanted)
    if not added:
        return _change(path, now, before), []
    if now is not None and parse(now, path) == value and len(merges) == 1 and merges[0].added == added:
        return None, list(merges)
    text = _dumped(value)
    record = Merge(before=before, wrote=_hash(text), added=added, made=made)
    return _change(path, now, text), [record]


def plan_removal(path: Path, merges: Sequence[Merge]) -> SettingsChange | None:
    """Return what takes our entries out of the file; None when none is in it."""
    now = read_text(path) if path.exists() else None
    return _change(path, now, _without(now, merges, path))


def _carried(now: str | None, merges: Sequence[Merge], path: Path) -> Iterator[bool]:
    """Yield for every entry of ours whether the file still has it."""
    value = {} if now is None or not merges else parse(now, path)
    for item in (item for merge in merges for item in merge.added):
        yield item.value in value.get(item.at[0], {}).get(item.at[1], [])


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
    return None if not rest and merges[0].before is None else _dumped(rest)


def _change(path: Path, now: str | None, text: str | None) -> SettingsChange | None:
    if now == text:
        return None
    return SettingsChange(path, text, path.stat().st_mode & 0o777 if now is not None else 0o644)


def _dumped(value: Settings) -> str:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    broken = any(
        "\ud800" <= letter <= "\udfff" for letter in text
    )  # half a letter, which JSON allows and UTF-8 does not
    return (json.dumps(value, indent=2) if broken else text) + "\n"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
