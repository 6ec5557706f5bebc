"""What a worker that trains is asked about a model that exists: answer a prompt, become a folder of its own.

The requests and answers cross the process boundary as JSON; workers that only evaluate do not know these verbs.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from tuneloop.documents.errors import InputError, Problem
from tuneloop.documents.files import write_json
from tuneloop.experiment.identity import file_hash
from tuneloop.workers import Order

# In a folder that an export made: what it was made from, and which files it wrote. A folder without it is nobody's
# to replace.
MARK = "tuneloop.json"
MARK_SCHEMA = "tuneloop.merged/1"
_WROTE = "wrote"
_WHOLE = 64 * 2**20  # bytes; of a larger file the size is compared: hashing gigabytes would cost minutes
_MOST_NAMES = 8
Precision = Literal["bf16", "fp32"]


@dataclass(frozen=True)
class Weights:
    """A checkpoint, or the base model itself. Paths are absolute."""

    folder: str
    base: str  # the model that an adapter belongs to; the folder itself for a model as it is
    chat_template: str | None = None  # a file; None: the model's own
    gpus: int = 0


@dataclass(frozen=True)
class SampleRequest:
    weights: Weights
    messages: Sequence[Mapping[str, str]]  # role, content
    max_tokens: int
    temperature: float | None = None  # None: greedy
    seed: int = 0  # decides nothing when greedy


@dataclass(frozen=True)
class Sampled:
    prompt: str  # as it was sent: the messages under the chat template
    output: str
    tokens: int  # that the model wrote
    ended: bool  # False: cut off at `max_tokens`


@dataclass(frozen=True)
class ExportRequest:
    weights: Weights
    target: str  # a folder that is not there yet, or one with the mark
    dtype: Precision | None = None  # None: that of the weights
    files: Mapping[str, str] = field(default_factory=dict)  # texts that go along, by name
    replace: bool = False  # an export of something else, when nobody has touched it


@dataclass(frozen=True)
class Exported:
    files: Mapping[str, int]  # name to bytes
    made: bool = True  # False: it was there already, made from the same


class Trainer(Protocol):
    """What a worker of the stage `train` has beside the functions of `Worker`."""

    def sample(self, request: SampleRequest) -> Sampled:
        """Return the model's answer. Raises FailedError when it does not load."""

    def smaller(self, order: Order) -> Mapping[str, Mapping[str, Any]]:
        """Return fields of each run, as scaffolded, with values that need less memory for the same result.

        A run of which nothing can be made smaller is left out.
        """

    def export(self, request: ExportRequest) -> Exported:
        """Make a folder that loads by itself, whole or not at all. Raises InputError where something else is."""


def mark_of(folder: Path) -> dict[str, Any] | None:
    """Return what an exported folder was made from, None where it was not exported."""
    try:
        value = json.loads((folder / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) and value.get("schema") == MARK_SCHEMA else None


def stands(target: Path, mark: Mapping[str, Any], *, replace: bool) -> bool:
    """Tell whether `target` is whole and made from what `mark` says; a part of a mark may be asked about.

    Raises InputError when making it would lose something: files that no export wrote, ones that were changed since,
    or, unless it is to be replaced, an export of something else.
    """
    before = mark_of(target)
    if before is None:
        if target.is_file() or (target.is_dir() and any(target.iterdir())):
            raise InputError(Problem("something else is here already", target, hint="choose another folder"))
        return False
    same = all(before.get(name) == value for name, value in mark.items())
    changes = dict(_changes(target, before))
    if same and not changes.keys() - {"added"}:
        return True  # what a person has added beside it stays
    refuse_changed(target)
    if not same and not replace:
        hint = "add `--replace`, or choose another folder"
        raise InputError(Problem("an export of something else is here already", target, hint=hint))
    return False


def refuse_changed(target: Path) -> None:
    """Raise InputError when a folder with a mark holds files that its export did not write, or changed ones."""
    changes = dict(_changes(target, mark_of(target) or {}))
    told = [f"`{name}` was {how}" for how in ("added", "changed") for name in changes.get(how, ())]
    if told:
        more = f" and {len(told) - _MOST_NAMES} more" if len(told) > _MOST_NAMES else ""
        message = f"not all is as the export wrote it: {', '.join(told[:_MOST_NAMES])}{more}"
        hint = "move these files away, or choose another folder"
        raise InputError(Problem(message, target, hint=hint))


def write_mark(folder: Path, mark: Mapping[str, Any]) -> None:
    """Write what a folder was made from, and what is in it: the last thing that an export does."""
    write_json(folder / MARK, {**mark, _WROTE: _written(folder)}, sync=False)


def _changes(target: Path, mark: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Yield `added`, `changed` and `missing` with the files that are so, where there are any."""
    wrote, found = mark.get(_WROTE) or {}, _written(target)
    added = [name for name in found if name not in wrote]
    changed = [name for name in found if name in wrote and found[name] != wrote[name]]
    missing = [name for name in wrote if name not in found]
    yield from ((how, names) for how, names in (("added", added), ("changed", changed), ("missing", missing)) if names)


def _written(folder: Path) -> dict[str, str]:
    """Return the files of a folder, but its mark, with what tells whether they change."""
    paths = sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return {path.relative_to(folder).as_posix(): _known_by(path) for path in paths if path != folder / MARK}


def _known_by(path: Path) -> str:
    if path.is_symlink() or not path.is_file():
        return "no file"  # no export writes such a thing
    size = path.stat().st_size
    return f"bytes:{size}" if size > _WHOLE else file_hash(path)


def sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()}
