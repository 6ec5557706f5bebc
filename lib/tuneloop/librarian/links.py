"""What linking and unlinking would do to a folder of Claude Code's, as a plan; `acts.py` carries it out.

`status`, `doctor` and `--dry-run` are views of the same plan. A place is ours when it holds what the manifest says;
every other one is left alone and said.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tuneloop.documents.errors import InputError, MissingError, Problem, did_you_mean
from tuneloop.documents.files import read_bytes
from tuneloop.librarian.adopted import adopted
from tuneloop.librarian.manifest import Entry, Manifest, empty, read_manifest
from tuneloop.librarian.neighbours import spec_kit
from tuneloop.librarian.pack import Pack
from tuneloop.librarian.settings import Addition, SettingsChange, plan_merge, plan_removal
from tuneloop.librarian.target import KINDS, Kind, Target, pack_version, refuse_linked, refuse_unsafe
from tuneloop.librarian.wanted import SPEC_KIT, Item, entry, everything, items, observe

Act = Literal["keep", "make", "replace", "remove", "leave"]


@dataclass(frozen=True)
class Step:
    """What happens at one place. `leave` touches nothing: what is there belongs to somebody else."""

    act: Act
    place: str
    why: str
    item: Item | None = None
    found: Entry | None = None  # what is there
    entry: Entry | None = None  # what shall be there


@dataclass(frozen=True)
class LinkPlan:
    target: Target
    pack: Pack | None
    steps: tuple[Step, ...]
    before: Manifest | None  # as it was read
    during: Manifest | None  # ours are the places as they were and as they shall be; None in the pack's own checkout
    after: Manifest | None  # None: nothing of ours is left
    settings: SettingsChange | None = None
    said: tuple[str, ...] = ()
    unrecorded: bool = False  # something of ours is there, and nothing was written down

    @property
    def source(self) -> str:
        """The pack that is linked, or was: its folder and version."""
        if self.pack is not None:
            return f"{self.pack.root} {pack_version(self.pack.root)}".rstrip()
        return f"{self.before.pack} {self.before.version}".rstrip() if self.before else ""

    @property
    def changes(self) -> list[Step]:
        return [step for step in self.steps if step.act in ("make", "replace", "remove")]

    @property
    def left(self) -> list[Step]:
        return [step for step in self.steps if step.act == "leave"]

    def folders_written(self) -> Iterator[Path]:
        """Yield the folders that must be writable for this plan, before anything of it is done."""
        if self.to_do:
            yield self.target.base
        if self.after is None and self.before is not None and "" in self.before.folders:
            yield self.target.base.parent
        yield from (self.target.base / step.place.partition("/")[0] for step in self.changes)

    @property
    def to_do(self) -> bool:
        return bool(self.changes or self.settings is not None or self.before != self.after)


@dataclass(frozen=True)
class Wish:
    """What was asked for. `words` are skills and categories; `additions` the settings to merge, None without."""

    words: Sequence[str] = ()
    copy: bool = False
    additions: Sequence[Addition] | None = None
    repair: bool = False  # only what is linked already
    merge: bool = False  # merge the additions even where none is there yet


def plan_link(pack: Pack, target: Target, wish: Wish) -> LinkPlan:
    """Return what makes the pack active in the target. Raises MissingError for a word that names nothing."""
    refuse_unsafe(target)
    if target.own:
        return _plan_own(pack, target, wish)
    recorded = read_manifest(target)
    found = adopted(pack, target, wish.additions) if recorded is None else None
    old = recorded or found or empty()
    known = old.entries
    wanted, out, said = _without_spec_kit(_wanted(pack, target, wish, known), pack, target, known)
    steps = [_link_step(item, _shall(item, target, pack, wish, known), target, known) for item in wanted.values()]
    steps, alone = _without_lonely_names(steps)
    out |= alone
    stale = [place for place in known if known[place] and (place in out or place not in wanted)]
    steps += [_stale_step(place, known[place], target, out.get(place, "no longer in the pack")) for place in stale]
    said += [_taken_over(target, found)] if found else []
    if wish.merge or old.settings:
        refuse_linked(target.settings)
    change, merges = plan_merge(target.settings, old.settings, wish.additions, start=wish.merge)
    made = list(dict.fromkeys([*old.folders, *_missing_folders(target, steps)]))
    after = old.model_copy(
        update={
            "pack": str(pack.root),
            "version": pack_version(pack.root),
            "folders": made,
            "entries": _entries(steps, known),
            "settings": merges,
        }
    )
    if recorded is None and not any(after.entries.values()) and not after.settings:
        return LinkPlan(target, pack, tuple(steps), None, None, None, said=tuple(said))
    during = _both(old, after)
    return LinkPlan(target, pack, tuple(steps), recorded, during, after, change, tuple(said), found is not None)


def plan_unlink(target: Target, words: Sequence[str] = (), pack: Pack | None = None) -> LinkPlan:
    """Return what takes away the skills and categories named, or all that is ours without any.

    Commands and agents go with the last whole category, or with the last skill.
    Raises MissingError for a word that is not linked, InputError when another linked skill needs one of them. The
    pack is asked for categories and needs; without it only names are known.
    """
    refuse_unsafe(target)
    recorded = read_manifest(target)
    if recorded is None:
        return LinkPlan(target, pack, (), None, None, None)
    places = _named(recorded, words, pack) if words else list(recorded.entries)
    if words:
        _refuse_needed(recorded, places, pack)
        places += _companions([place for place in recorded.entries if place not in places], words, pack)
    ours = [place for place in places if recorded.entries[place]]
    steps = [_stale_step(place, recorded.entries[place], target, "unlinked") for place in ours]
    rest = {place: found for place, found in recorded.entries.items() if place not in places}
    if any(rest.values()):
        after = recorded.model_copy(update={"entries": rest})
        return LinkPlan(target, pack, tuple(steps), recorded, recorded, after)
    if recorded.settings:
        refuse_linked(target.settings)
    change = plan_removal(target.settings, recorded.settings)
    return LinkPlan(target, pack, tuple(steps), recorded, recorded, None, change)


def _plan_own(pack: Pack, target: Target, wish: Wish) -> LinkPlan:
    """Return what makes links and generated files of the pack's own checkout whole: nothing there is removed.

    Git is the record, and what it has ships. What is not as `link` makes it is left and told.
    """
    known = _seen(pack, target)
    wanted = _wanted(pack, target, wish, known)
    steps = [_link_step(item, _shall(item, target, pack, wish, known), target, known) for item in wanted.values()]
    gone = [place for place in known if place not in wanted and not (target.base / place).exists()]
    steps += [Step("leave", place, "no longer in the pack", None, known[place][0]) for place in gone]
    why = spec_kit(target, {*known, *wanted})
    said = (f"spec-kit's own commands are here ({why}): ours stay as well, since git has them",) if why else ()
    return LinkPlan(target, pack, tuple(steps), None, None, None, said=said)


def _wanted(pack: Pack, target: Target, wish: Wish, known: Mapping[str, list[Entry]]) -> dict[str, Item]:
    """Return by place what the words name, what was asked for before, and what either of them requires."""
    wanted = {item.place: item for item in everything(pack, target.commands) if item.place in known}
    names = [item.name for item in wanted.values() if item.place.startswith("skills/")]
    asked = [] if wish.repair else items(pack, wish.words, target.commands)
    required = items(pack, names, target.commands) if names else []
    return wanted | {item.place: item for item in [*asked, *required]}


def _taken_over(target: Target, found: Manifest) -> str:
    what = f"{len(found.entries)} places" + (" and the settings" if found.settings else "")
    return f"{target.manifest} was gone: {what} are as `link` makes them and count as made by it; `unlink` removes them"


def _without_spec_kit(
    wanted: Mapping[str, Item], pack: Pack, target: Target, known: Mapping[str, list[Entry]]
) -> tuple[dict[str, Item], dict[str, str], list[str]]:
    """Return what shall be there beside spec-kit, why some of ours shall not, and what to say of that."""
    made = {
        item.place
        for item in everything(pack, target.commands)
        if item.text is not None and observe(target.base / item.place) == entry(item, target, pack, copy=False)
    }
    why = spec_kit(target, made | {place for place, found in known.items() if found})
    left = [place for place, item in wanted.items() if why and item.source.stem.startswith(SPEC_KIT)]
    said = [f"spec-kit's own commands are here ({why}): ours of the same names are left out"] if left else []
    kept = {place: item for place, item in wanted.items() if place not in left}
    return kept, dict.fromkeys(left, "spec-kit's own commands win here"), said


def _without_lonely_names(steps: list[Step]) -> tuple[list[Step], dict[str, str]]:
    """Leave out dotted names whose command is somebody else's; return the rest, and why those are left out."""
    theirs = {step.item.source for step in steps if step.item and step.item.text is None and step.act == "leave"}
    lonely = [step for step in steps if step.item and step.item.text is not None and step.item.source in theirs]
    rest = [step for step in steps if step not in lonely]
    return rest, {step.place: "its command here is not the pack's" for step in lonely}


def _shall(item: Item, target: Target, pack: Pack, wish: Wish, known: Mapping[str, list[Entry]]) -> Entry:
    """Return what shall be at the item's place. A copy stays a copy, for links may be impossible here."""
    copied = any(found.kind != "link" for found in known.get(item.place, []))
    return entry(item, target, pack, copy=(wish.copy or copied) and not target.own)


def _link_step(item: Item, shall: Entry, target: Target, known: Mapping[str, list[Entry]]) -> Step:
    place = target.base / item.place
    found, ours = observe(place), bool(known.get(item.place))
    if found is None:
        was = "linked before, and gone" if ours else "not linked yet"
        return Step("make", item.place, was, item, found, shall)
    if found == shall:
        return Step("keep", item.place, "linked" if ours else "here already", item, found, shall)
    if found in known.get(item.place, []):
        return Step("replace", item.place, _outdated(place, found), item, found, shall)
    return Step("leave", item.place, _theirs(place, found, shall, ours), item, found, shall)


def _outdated(place: Path, found: Entry) -> str:
    if found.kind != "link":
        return "the pack has another version"
    return "leads to another place than the pack" if place.exists() else "leads nowhere: the pack was moved"


def _theirs(place: Path, found: Entry, shall: Entry, ours: bool) -> str:
    """Return why a place is somebody else's."""
    if found.kind == "file" and shall.kind == "link" and read_bytes(place).strip() == shall.holds.encode():
        return "git made a text file of a link; `git config core.symlinks true`, then check it out again"
    if ours:
        return "changed after it was linked; remove it to have the pack's again"
    if found.kind == "link":
        return "a link of yours" if place.exists() else f"a link of yours that leads nowhere: {found.holds}"
    return "something of yours has this name"


def _stale_step(place: str, known: list[Entry], target: Target, why: str) -> Step:
    found = observe(target.base / place)
    if found is None or found in known:
        return Step("remove", place, why, None, found)
    return Step("leave", place, "changed after it was linked", None, found)


def _seen(pack: Pack, target: Target) -> dict[str, list[Entry]]:
    """Return what is the pack's in its own checkout: links into it, and the generated files.

    Git is the record there, so a generated file is written anew whatever it holds.
    """
    generated = {item.place for item in everything(pack, target.commands) if item.text is not None}
    found = {}
    for kind in KINDS:
        for path in sorted((target.base / kind).glob("*")):
            here = observe(path)
            place = f"{kind}/{path.name}"
            within = here is not None and here.kind == "link" and _leads_into(path, pack.root / kind)
            if here is not None and (within or (place in generated and here.kind == "file")):
                found[place] = [here]
    return found


def _leads_into(link: Path, folder: Path) -> bool:
    return Path(os.path.normpath(link.parent / link.readlink())).is_relative_to(folder)


def _missing_folders(target: Target, steps: Sequence[Step]) -> Iterator[Kind | Literal[""]]:
    used = {step.place.partition("/")[0] for step in steps if step.act == "make"}
    if not target.base.exists():
        yield ""
    for kind in KINDS:
        if kind in used and not (target.base / kind).exists():
            yield kind


def _entries(steps: Sequence[Step], known: Mapping[str, list[Entry]]) -> dict[str, list[Entry]]:
    """Return what is ours afterwards.

    What a person changed, and what has the name already, stays written down, so that it is told.
    """
    found = {}
    for step in sorted(steps, key=lambda step: step.place):
        ours = step.act in ("make", "replace") or (step.act == "keep" and known.get(step.place))
        if ours and step.entry is not None:
            found[step.place] = [step.entry]
        elif step.item is not None:
            found[step.place] = known.get(step.place, [])
    return found


def _both(old: Manifest, new: Manifest) -> Manifest:
    """Return a manifest for the time in between: a place is ours as it was and as it shall be."""
    merged = {
        place: list(dict.fromkeys([*old.entries.get(place, []), *new.entries.get(place, [])]))
        for place in sorted({*old.entries, *new.entries})
    }
    settings = [*old.settings, *(item for item in new.settings if item not in old.settings)]
    return new.model_copy(update={"entries": merged, "settings": settings})


def _named(recorded: Manifest, words: Sequence[str], pack: Pack | None) -> list[str]:
    linked = {place.partition("/")[2]: place for place in recorded.entries if place.startswith("skills/")}
    of_category: dict[str, list[str]] = {}
    for skill in pack.skills if pack else ():
        if skill.name in linked:
            of_category.setdefault(skill.category, []).append(linked[skill.name])
    unknown = [word for word in words if word not in linked and word not in of_category]
    if unknown:
        hint = did_you_mean(unknown[0], [*linked, *of_category])
        raise MissingError([Problem(f"no linked skill or category `{word}`", hint=hint) for word in unknown])
    return [place for word in words for place in ([linked[word]] if word in linked else of_category[word])]


def _companions(rest: Sequence[str], words: Sequence[str], pack: Pack | None) -> list[str]:
    """Return the commands and agents that nothing in the rest needs once these words are gone."""
    linked = {place.partition("/")[2] for place in rest if place.startswith("skills/")}
    categories: dict[str, set[str]] = {}
    for skill in pack.skills if pack else ():
        categories.setdefault(skill.category, set()).add(skill.name)
    whole = any(names <= linked for names in categories.values())
    if linked and (whole or categories.keys().isdisjoint(words)):
        return []
    return [place for place in rest if not place.startswith("skills/")]


def _refuse_needed(recorded: Manifest, places: Sequence[str], pack: Pack | None) -> None:
    """Raise InputError when a skill that stays linked needs one that goes, however many are in between."""
    going = {place.partition("/")[2] for place in places}
    named, problems = sorted(going), []
    linked = [skill for skill in (pack.skills if pack else ()) if f"skills/{skill.name}" in recorded.entries]
    for _ in linked:
        for skill in linked:
            needed = next((need.name for need in skill.requires if need.name in going), None)
            if needed and skill.name not in going:
                going.add(skill.name)
                problems.append(f"`{skill.name}` needs `{needed}`")
    if problems:
        more = " ".join([*named, *sorted(going - set(named))])
        hint = f"`tuneloop skills unlink {more}`"
        raise InputError([Problem(text, hint=hint if text == problems[-1] else None) for text in problems])
