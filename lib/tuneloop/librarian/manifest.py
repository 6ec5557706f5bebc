"""What was linked, as written down beside it: `.claude/tuneloop.json`, outside the folders that the client scans.

It is written before anything is made or removed, and holds every form that a place may have while that goes on. What
a place holds is ours only when it is what the manifest says; so a killed call is finished by the next one, and what a
person has changed is theirs.
"""

import json
import re
from typing import Any, Literal

from pydantic import Field, JsonValue, field_validator

from tuneloop.documents.errors import InputError, Problem
from tuneloop.documents.files import read_text
from tuneloop.documents.schema import Schema, validate
from tuneloop.librarian.target import Kind, Target

# A manifest may come with a clone: no place in it leads anywhere else.
_PLACE = re.compile(r"(skills|commands|agents)/[A-Za-z0-9][A-Za-z0-9._-]*\Z")


class Entry(Schema):
    """What stands at a place: a link with its target, or a file or folder with the hash of what it holds."""

    kind: Literal["link", "file", "folder"]
    holds: str


class Added(Schema):
    """One thing that was added to the list at a place of the settings, such as `permissions`, `allow`."""

    at: list[str] = Field(min_length=2, max_length=2)
    value: JsonValue


class Merge(Schema):
    """What was done to the settings file."""

    before: str | None  # its whole text; None: there was none
    wrote: str  # the hash of the text that was written
    added: list[Added]
    made: list[list[str]]  # the lists and groups that were not there


class Manifest(Schema):
    schema_: Literal["tuneloop.links/1"] = Field(alias="schema")
    pack: str = ""  # the folder of the pack
    version: str = ""
    folders: list[Kind | Literal[""]] = []  # made for the links; "" is the base
    # By place below the base; several while one takes another's place, none where somebody else's stands in the way.
    entries: dict[str, list[Entry]] = {}
    settings: list[Merge] = []

    @field_validator("entries")
    @classmethod
    def _plain(cls, value: dict[str, list[Entry]]) -> dict[str, list[Entry]]:
        strange = [place for place in value if not _PLACE.match(place)]
        if strange:
            raise ValueError(f"`{strange[0]}` is no place of a skill, a command or an agent")
        return value

    def text(self) -> str:
        return json.dumps(self.model_dump(by_alias=True), indent=1, ensure_ascii=False) + "\n"


def empty() -> Manifest:
    return Manifest(schema="tuneloop.links/1")


def read_manifest(target: Target) -> Manifest | None:
    """Return what was written down, None when nothing was. Raises InputError when it cannot be read."""
    path = target.manifest
    if not path.exists():
        return None
    hint = "bring it back as it was; or remove it, and then by hand what it told of"
    try:
        value: Any = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        raise InputError(Problem("not JSON", path, line=line, hint=hint)) from None
    return validate(Manifest, value, path)
