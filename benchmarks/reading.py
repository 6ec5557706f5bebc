"""What the pack costs an agent that reads it, and how often a request finds its skill by words alone."""

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

from benchmarks.experiments import ROOT
from tuneloop.documents.cache import status_file
from tuneloop.hooks.session import summary
from tuneloop.librarian import budget
from tuneloop.librarian.cases import Case, read_cases
from tuneloop.librarian.pack import read_pack
from tuneloop.librarian.ranking import Index, first, index

Line = tuple[str, str, str]
_MANY = 40  # experiments that are going at once


def measure() -> Iterator[Line]:
    pack = read_pack(ROOT)
    yield "listing of the default pack, characters", _count(len(budget.listing(pack))), _most(budget.LISTING_NOW)
    for skill in pack.skills:
        yield f"  body of {skill.name}", _count(budget.size(skill)), ""
    yield "from a design to its report, characters", _count(budget.pass_size(pack)), _most(budget.PASS)
    yield "  with create-inspect-task and the templates", _count(budget.longest_pass_size(pack)), ""
    yield "  by slash commands", _count(budget.commands_pass_size(pack)), ""
    yield f"start of a session, {_MANY} experiments, characters", _count(_session_start()), f"< {budget.SESSION_START}"
    cases = read_cases(ROOT / "tests" / "triggering" / "cases")
    skills = index(pack.chosen())
    yield f"right skill first, {len(cases)} requests", _share(cases, skills), ">= 90 %"
    naive = [case for case in cases if case.author == "naive"]
    yield f"  {len(naive)} of them by a naive author", _share(naive, skills), ""


def _session_start() -> int:
    """Return the length of what a session is told in a project where many experiments are going."""
    with tempfile.TemporaryDirectory() as name, patch.dict(os.environ, XDG_STATE_HOME=f"{name}/state"):
        for number in range(_MANY):
            folder = Path(name, f"experiment-with-a-longer-name-{number}").resolve()
            folder.mkdir()
            entry = status_file(folder)
            entry.parent.mkdir(parents=True, exist_ok=True)
            entry.write_text(json.dumps({"experiment": str(folder), "lock": "lock", "counts": {"running": 4}}))
        return len(summary(Path(name).resolve()))


def _count(characters: int) -> str:
    return f"{characters:,}"


def _most(characters: int) -> str:
    return f"<= {characters:,}"


def _share(cases: list[Case], skills: Index) -> str:
    return f"{sum(first(case.request, skills) == case.expect for case in cases) / len(cases):.1%}"
