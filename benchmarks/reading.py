"""What the pack costs an agent that reads it, and how often a request finds its skill by words alone."""

from collections.abc import Iterator

from benchmarks.experiments import ROOT
from tuneloop.librarian import budget
from tuneloop.librarian.cases import Case, read_cases
from tuneloop.librarian.pack import read_pack
from tuneloop.librarian.ranking import Index, first, index

Line = tuple[str, str, str]


def measure() -> Iterator[Line]:
    pack = read_pack(ROOT)
    yield "listing of the default pack, characters", _count(len(budget.listing(pack))), _most(budget.LISTING_NOW)
    for skill in pack.skills:
        yield f"  body of {skill.name}", _count(budget.size(skill)), ""
    whole = sum(budget.size(skill) for skill in budget.on_the_way(pack))
    yield "from a design to its report, characters", _count(whole), _most(budget.PASS)
    cases = read_cases(ROOT / "tests" / "triggering" / "cases")
    skills = index(pack.chosen())
    yield f"right skill first, {len(cases)} requests", _share(cases, skills), ">= 90 %"
    naive = [case for case in cases if case.author == "naive"]
    yield f"  {len(naive)} of them by a naive author", _share(naive, skills), ""


def _count(characters: int) -> str:
    return f"{characters:,}"


def _most(characters: int) -> str:
    return f"<= {characters:,}"


def _share(cases: list[Case], skills: Index) -> str:
    return f"{sum(first(case.request, skills) == case.expect for case in cases) / len(cases):.1%}"
