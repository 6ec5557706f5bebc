"""Requests with the skill that should answer them: what the ranker, `claude plugin eval` and inspect-ai are asked.

One file for each skill, in `tests/triggering/cases/`: requests that should pick it, and near misses.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from tuneloop.documents.files import read_text
from tuneloop.documents.schema import Schema, validate
from tuneloop.documents.yamltext import lines_of, load_yaml

Author = Literal["insider", "naive"]


class Request(Schema):
    """A request; its author knew the descriptions (insider) or had not read them (naive)."""

    request: str = Field(min_length=1)
    author: Author = "insider"


class NearMiss(Request):
    expect: str | None  # the sibling that it is for, or nothing


class CaseFile(Schema):
    skill: str
    pick: list[Request]
    near: list[NearMiss]


@dataclass(frozen=True)
class Case:
    request: str
    expect: str | None
    author: Author
    about: str  # the skill in whose file it stands; empty where that is no skill's


def read_cases(folder: Path) -> list[Case]:
    """Read every case of a folder, by skill. Raises InputError for a file that is no case file."""
    return [case for path in sorted(folder.glob("*.yaml")) for case in cases_of(read_case_file(path))]


def read_case_file(path: Path) -> CaseFile:
    text = read_text(path)
    return validate(CaseFile, load_yaml(text, path), path, lines_of(text))


def cases_of(file: CaseFile) -> Iterable[Case]:
    yield from (Case(item.request, file.skill, item.author, file.skill) for item in file.pick)
    yield from (Case(item.request, item.expect, item.author, file.skill) for item in file.near)
