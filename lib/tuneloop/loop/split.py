"""split: one file of data into parts, by the content of each sample and not by its place.

A sample's part follows from the seed and the hash of its content, or of its group. So equal samples never fall into
two parts, the same file always makes the same parts, and rows that are added later move no other row.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import InputError, Problem, Problems, did_you_mean
from tuneloop.documents.files import make_folder, read_bytes, write_bytes
from tuneloop.documents.records import MOST_FAULTS, Record, read_objects
from tuneloop.documents.shell import checked_name, typed
from tuneloop.experiment.formats import FORMATS
from tuneloop.experiment.identity import file_hash

SCHEMA = "tuneloop.splits/1"
RECORD = "splits.json"
_RULE = (
    "sha256 of `tuneloop/split/SEED/KEY`, its first 8 bytes as a fraction of 2^64: a sample is in the first split "
    "whose cumulated share lies above it. KEY is the sample's JSON with sorted keys, or that of its group"
)
_RANGE = 2**64
_DIGITS = 20  # of a share, at most


@dataclass(frozen=True)
class Part:
    """One split and the bytes of its file."""

    name: str
    share: Fraction
    samples: int
    distinct: int  # different samples, or groups: what chance has put here
    path: Path
    data: bytes

    @property
    def hash(self) -> str:
        return f"sha256:{hashlib.sha256(self.data).hexdigest()}"


@dataclass(frozen=True)
class Split:
    parts: tuple[Part, ...]
    record: Path
    text: bytes  # of the record
    format: str | None  # where the columns show it
    changed: tuple[Path, ...]  # files that are not there yet, or hold something else

    @property
    def samples(self) -> int:
        return sum(part.samples for part in self.parts)

    @property
    def far_off(self) -> list[Part]:
        """The parts whose size is off by more than half of their share, as happens to few samples."""
        return [part for part in self.parts if abs(Fraction(part.samples, self.samples) - part.share) > part.share / 2]


def parse_shares(text: str) -> dict[str, Fraction]:
    """Return `train=0.8,test=0.2` as name to share. Raises InputError with everything that is wrong with it."""
    problems = Problems()
    hint = "write it like `--shares train=0.8,validation=0.1,test=0.1`"
    found: dict[str, Fraction] = {}
    for word in text.split(","):
        name, _, number = (item.strip() for item in word.partition("="))
        share = _fraction(number)
        if share is None or not 0 < share < 1:
            problems.add(f"`{word.strip()}` is not NAME=SHARE with a share between 0 and 1", hint=hint)
            continue
        try:
            checked_name(name, "split")
        except ValueError as error:
            message, _, advice = str(error).partition("\n")
            problems.add(message, hint=advice)
        if name.casefold() in {known.casefold() for known in found}:
            problems.add(f"the split `{name}` is given twice", hint="names are compared without case")
        found[name] = share
    if not problems.found and sum(found.values()) != 1:
        problems.add(f"the shares add up to {float(sum(found.values())):g}, not to 1", hint=hint)
    problems.raise_if_any()
    return found


def place_of(key: str, shares: Mapping[str, Fraction], seed: int) -> str:
    """Return the split that a key falls into."""
    mark = hashlib.sha256(f"tuneloop/split/{seed}/{key}".encode()).digest()
    drawn = Fraction(int.from_bytes(mark[:8], "big"), _RANGE)
    reached = Fraction(0)
    for name, share in shares.items():
        reached += share
        if drawn < reached:
            return name
    raise AssertionError("shares add up to 1")


def plan_split(
    source: Path, folder: Path, shares: Mapping[str, Fraction], *, seed: int, group: str | None, replace: bool
) -> Split:
    """Return the parts of a file and what would be written. Raises InputError with every fault; writes nothing."""
    records = read_objects(source)
    keys, lines = _keys(records, group, source), _lines(records, source)
    places = [place_of(key, shares, seed) for key in keys]
    parts = []
    for name, share in shares.items():
        mine = [index for index, place in enumerate(places) if place == name]
        data = "".join(lines[index] for index in mine).encode()
        distinct = len({keys[index] for index in mine})
        parts.append(Part(name, share, len(mine), distinct, folder / f"{name}.jsonl", data))
    _refuse_empty(parts, len(records), source, group)
    text = _record(source, folder, parts, seed, group)
    wanted = {**{part.path: part.data for part in parts}, folder / RECORD: text}
    changed = tuple(_changed(wanted, source, replace=replace))
    return Split(tuple(parts), folder / RECORD, text, _format(records[0].value), changed)


def write_split(split: Split) -> None:
    """Write the parts, and the record last: where it stands, the parts are whole."""
    make_folder(split.record.parent)
    for part in split.parts:
        write_bytes(part.path, part.data)
    write_bytes(split.record, split.text)


def entries(split: Split) -> list[dict[str, Any]]:
    """Return the parts as entries of a design's `data`."""
    found: list[dict[str, Any]] = [
        {"split": part.name, "path": str(part.path.resolve()), "hash": part.hash} for part in split.parts
    ]
    if split.format is not None:
        found[0]["format"] = split.format
    return found


def _fraction(text: str) -> Fraction | None:
    # An exponent may stand for a number of a billion digits.
    if len(text) > _DIGITS or "e" in text.lower():
        return None
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        return None


def _keys(records: Sequence[Record], group: str | None, source: Path) -> list[str]:
    """Return what decides the place of each sample."""
    problems = Problems()
    keys: list[str] = []
    for record in records:
        if group is not None and record.value.get(group) is None:
            empty = group in record.value
            hint = "give every sample a group" if empty else did_you_mean(group, list(record.value))
            message = f"column `{group}` is null" if empty else f"no column `{group}`"
            problems.found.append(record.problem(message, source, hint))
            if len(problems.found) >= MOST_FAULTS:
                break
            continue
        value = record.value if group is None else {"group": record.value[group]}
        keys.append(json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str))
    problems.raise_if_any()
    return keys


def _lines(records: Sequence[Record], source: Path) -> list[str]:
    problems = Problems()
    lines: list[str] = []
    for record in records:
        try:
            lines.append(json.dumps(record.value, ensure_ascii=False, allow_nan=False) + "\n")
            lines[-1].encode()
        except (TypeError, ValueError) as error:
            hint = "turn such columns into text or numbers, and NaN into null"
            problems.found.append(record.problem(f"cannot be written as JSON: {error}", source, hint))
            if len(problems.found) >= MOST_FAULTS:
                break
    problems.raise_if_any()
    return lines


def _refuse_empty(parts: Sequence[Part], samples: int, source: Path, group: str | None) -> None:
    things = "samples" if group is None else f"samples, by groups of `{group}`,"
    hint = "give it a larger share, more samples, or another `--seed`"
    empty = [part for part in parts if not part.samples]
    if empty:
        raise InputError(
            [Problem(f"none of the {samples} {things} falls to `{part.name}`", source, hint=hint) for part in empty]
        )


def _record(source: Path, folder: Path, parts: Sequence[Part], seed: int, group: str | None) -> bytes:
    value = {
        "schema": SCHEMA,
        "source": {"path": os.path.relpath(source.resolve(), folder.resolve()), "hash": file_hash(source)},
        "seed": seed,
        "group": group,
        "shares": {part.name: float(part.share) for part in parts},
        "rule": _RULE,
        "parts": [
            {
                "split": part.name,
                "path": part.path.name,
                "samples": part.samples,
                "distinct": part.distinct,
                "hash": part.hash,
            }
            for part in parts
        ],
    }
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def _changed(wanted: Mapping[Path, bytes], source: Path, *, replace: bool) -> Iterator[Path]:
    """Yield the files to write. Raises InputError where that would lose another file, or leave an old part."""
    problems = Problems()
    changed = []
    for path, data in wanted.items():
        if path.resolve() == source.resolve():
            problems.add("the part would replace the file it is made of", source=path, hint="choose another folder")
        elif not path.exists():
            changed.append(path)
        elif read_bytes(path) != data:
            changed.append(path)
            if not replace:
                hint = "choose another folder, or add `--replace`"
                problems.add("another file is here already", source=path, hint=hint)
    for path in _left_over(wanted):
        hint = f"`rm {typed(path)}`: its samples are in others now"
        problems.add("a part of an earlier split lies here", source=path, hint=hint)
    problems.raise_if_any()
    yield from changed


def _left_over(wanted: Mapping[Path, bytes]) -> Iterator[Path]:
    record = next(path for path in wanted if path.name == RECORD)
    try:
        parts = json.loads(record.read_bytes())["parts"]
        names = [str(part["path"]) for part in parts]
    except (OSError, ValueError, KeyError, TypeError):
        return  # no record of ours: it is told as another file
    yield from (path for path in (record.parent / name for name in names) if path not in wanted and path.is_file())


def _format(sample: Mapping[str, Any]) -> str | None:
    """Return the one format whose columns a sample has under their own names."""
    found = [item.name for item in FORMATS.values() if all(role in sample for role in item.roles)]
    return found[0] if len(found) == 1 else None
