"""The right skill comes first for a request, by the words of the descriptions alone; `-s` prints who took whose."""

from collections import Counter
from pathlib import Path

import pytest

from tuneloop.documents.errors import InputError
from tuneloop.documents.yamltext import load_yaml
from tuneloop.librarian.cases import Case, NearMiss, read_case_file, read_cases
from tuneloop.librarian.confusion import confusion, table
from tuneloop.librarian.pack import Pack, Skill, read_pack
from tuneloop.librarian.ranking import Index, first, index

CASES = Path(__file__).with_name("cases")
HELD_OUT = Path(__file__).with_name("held_out.yaml")
RIGHT_FIRST = 0.90  # of all requests
# Of those whose author had not read the descriptions. It was 0.89 when it was set; the descriptions had then been
# reworded with these in sight; the held-out requests were written when that was over.
RIGHT_FIRST_NAIVE = 0.80
EACH = 8  # requests that should pick a skill, and near misses of it
_MARKS = ".,:;!?()\"'`*"


@pytest.fixture(scope="module")
def pack() -> Pack:
    return read_pack()


@pytest.fixture(scope="module")
def skills(pack: Pack) -> Index:
    return index(pack.chosen())


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return read_cases(CASES)


@pytest.fixture(scope="module")
def held_out() -> list[Case]:
    entries = [NearMiss.model_validate(item) for item in load_yaml(HELD_OUT.read_text(), HELD_OUT)]
    return [Case(item.request, item.expect, "naive", item.expect or "") for item in entries]


def words(text: str) -> list[str]:
    return [bare for word in text.lower().split() if (bare := word.strip(_MARKS))]


def runs(text: str, length: int) -> set[tuple[str, ...]]:
    found = words(text)
    return {tuple(found[start : start + length]) for start in range(len(found) - length + 1)}


def form_faults(case: Case, pack: Pack) -> list[str]:
    """Return what a request takes from the name or the description of its skills: then it would test nothing.

    A held-out request for nothing stands in no skill's file, so it may take from none.
    """
    concerned = {case.about, case.expect} if case.about else {skill.name for skill in pack.chosen()}
    return [fault for name in sorted(filter(None, concerned)) for fault in _taken(case.request, pack.skill(name))]


def _taken(request: str, skill: Skill) -> list[str]:
    plain = skill.name.replace("-", " ")
    faults = [f"names {skill.name}"] * (skill.name in request.lower() or plain in " ".join(words(request)))
    shared = sorted(runs(request, 3) & runs(skill.head.description, 3))
    return faults + [f"three words of {skill.name}: {' '.join(run)}" for run in shared]


def share_right(cases: list[Case], skills: Index) -> float:
    assert len(cases) >= 48, "too few cases to say anything"
    return sum(first(case.request, skills) == case.expect for case in cases) / len(cases)


def test_the_right_skill_comes_first(cases: list[Case], skills: Index) -> None:
    print("\n" + table(confusion(cases, skills)))  # with -s
    assert share_right(cases, skills) >= RIGHT_FIRST, wrong(cases, skills)


def test_the_right_skill_comes_first_for_naive_requests(cases: list[Case], skills: Index) -> None:
    naive = [case for case in cases if case.author == "naive"]
    print("\n" + table(confusion(naive, skills)))
    print(f"{share_right(naive, skills):.1%} of {len(naive)} by an author who had not read the descriptions")
    assert share_right(naive, skills) >= RIGHT_FIRST_NAIVE, wrong(naive, skills)


def test_the_right_skill_comes_first_for_requests_nobody_tuned_for(held_out: list[Case], skills: Index) -> None:
    print(f"\n{len(held_out)} requests written after everything else\n{table(confusion(held_out, skills))}")
    right = sum(first(case.request, skills) == case.expect for case in held_out)
    assert len(held_out) == 35
    assert right / len(held_out) >= RIGHT_FIRST_NAIVE, wrong(held_out, skills)


def wrong(cases: list[Case], skills: Index) -> str:
    taken = [(case, first(case.request, skills)) for case in cases]
    return "\n".join(f"{case.expect} but {got}: {case.request}" for case, got in taken if got != case.expect)


def test_swapped_descriptions_are_noticed(cases: list[Case], pack: Pack) -> None:
    """Positive control: with each skill under its neighbour's description, the check must fail."""
    chosen = pack.chosen()
    swapped = [
        Skill(skill.folder, other.head, skill.body)
        for skill, other in zip(chosen, [*chosen[1:], chosen[0]], strict=True)
    ]
    assert share_right(cases, index(swapped)) < RIGHT_FIRST / 2


def test_every_skill_has_its_cases(cases: list[Case], pack: Pack) -> None:
    assert {case.about for case in cases} == {skill.name for skill in pack.chosen()}
    picked = Counter(case.about for case in cases if case.expect == case.about)
    near = Counter(case.about for case in cases if case.expect != case.about)
    assert min(picked.values()) >= EACH
    assert min(near.values()) >= EACH
    assert len({case.request for case in cases}) == len(cases)


def test_a_third_of_the_cases_is_naive(cases: list[Case]) -> None:
    assert sum(case.author == "naive" for case in cases) * 3 >= len(cases)


def test_near_misses_expect_a_sibling_or_nothing(cases: list[Case], pack: Pack) -> None:
    names = {skill.name for skill in pack.skills}
    assert {case.expect for case in cases} == names | {None}


def test_requests_keep_their_form(cases: list[Case], held_out: list[Case], pack: Pack) -> None:
    everything = cases + held_out
    assert len({case.request for case in everything}) == len(everything)
    assert {case.request: faults for case in everything if (faults := form_faults(case, pack))} == {}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("use run-torchtune now", "names run-torchtune"),
        ("can you run torchtune now?", "names run-torchtune"),
        ("which is it: {run}?", "three words of run-torchtune: {run}"),
    ],
)
def test_a_bad_request_is_rejected(pack: Pack, text: str, fault: str) -> None:
    run = " ".join(words(pack.skill("run-torchtune").head.description)[3:6])
    request = text.format(run=run)
    case = Case(request, "run-torchtune", "insider", "run-torchtune")
    assert form_faults(case, pack) == [fault.format(run=run)]
    assert fault.format(run=run) in form_faults(Case(request, None, "naive", ""), pack)


def test_a_bad_case_file_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("skill: x\npick:\n  - request: y\n    author: someone\nnear: []\n")
    with pytest.raises(InputError, match="author") as caught:
        read_case_file(path)
    assert caught.value.problems[0].line == 4
