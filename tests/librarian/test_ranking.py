"""The ranker on a pack of its own: what draws a request, and what does not."""

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneloop.librarian.cases import Case
from tuneloop.librarian.confusion import confusion, table
from tuneloop.librarian.pack import Skill, SkillHead
from tuneloop.librarian.ranking import Index, first, index, rank
from tuneloop.librarian.words import stems

DESCRIPTIONS = {
    "bake-bread": "Turns flour into loaves. Use for dough and ovens. Not for soup (cook-soup).",
    "cook-soup": "Boils vegetables. Use for broth. Not for loaves of rye (bake-bread) or the garden.",
    "wash-dishes": "Cleans plates. Use when the sink is full.",
}


def skill(name: str, description: str) -> Skill:
    return Skill(Path("skills/kitchen", name), SkillHead(name=name, description=description), "# Salt and pepper\n")


@pytest.fixture(scope="module")
def skills() -> Index:
    return index(skill(name, text) for name, text in DESCRIPTIONS.items())


def test_shared_words_put_a_skill_first(skills: Index) -> None:
    assert first("which oven for my dough?", skills) == "bake-bread"
    assert [name for name, _ in rank("plates and broth", skills)] == ["cook-soup", "wash-dishes"]


def test_what_a_skill_is_not_for_counts_for_the_sibling(skills: Index) -> None:
    assert first("a soup to cook", skills) == "cook-soup"
    assert [name for name, _ in rank("rye", skills)] == ["bake-bread"]
    assert rank("garden", skills) == []


def test_a_word_in_common_by_chance_picks_nothing(skills: Index) -> None:
    assert first("dough for the oven", skills) == "bake-bread"
    chat = "my investment banker calls his money dough and keeps it in the oven"
    assert rank(chat, skills)[0][0] == "bake-bread"
    assert first(chat, skills) is None


def test_numbers_and_sizes_are_no_foreign_words(skills: Index) -> None:
    assert rank("dough 500g 220C 3.5", skills) == rank("dough", skills)


@pytest.mark.parametrize("request_", ["", "?!", "the of and", "12 4k"])
def test_a_request_without_words_picks_nothing(skills: Index, request_: str) -> None:
    assert rank(request_, skills) == []
    assert first(request_, skills) is None


@given(st.text(max_size=80))
def test_any_text_is_ranked_best_first(text: str) -> None:
    scores = [score for _, score in rank(text, index(skill(*item) for item in DESCRIPTIONS.items()))]
    assert scores == sorted(scores, reverse=True)
    assert all(score > 0 for score in scores)


@pytest.mark.parametrize("order", list(permutations(DESCRIPTIONS.items())))
def test_the_order_of_the_skills_does_not_matter(skills: Index, order: Sequence[tuple[str, str]]) -> None:
    request = "loaves, broth and plates"
    assert rank(request, index(skill(*item) for item in order)) == rank(request, skills)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("evaluations", "eval"),
        ("finetuning", "training"),
        ("it died", "it fails"),
        ("configs", "yaml"),
        ("OutOfMemoryError", "out of memory errors"),
        ("stopped", "cancels"),
    ],
)
def test_words_of_one_meaning_are_one(one: str, other: str) -> None:
    assert stems(one) == stems(other)
    assert stems(one)


def test_words_of_different_meaning_stay_apart() -> None:
    assert len({stems(word)[0] for word in ("train", "evaluate", "config", "script", "start", "stop", "fail")}) == 7


def test_the_table_shows_who_took_whose(skills: Index) -> None:
    requests = {"oven for dough": "bake-bread", "cook a broth": "bake-bread", "garden": None}
    cases = [Case(text, expect, "insider", "bake-bread") for text, expect in requests.items()]
    assert table(confusion(cases, skills)).splitlines() == [
        "meant                      1   2   3",
        " 1 bake-bread              1   1   .",
        " 2 cook-soup               .   .   .",
        " 3 nothing                 .   .   1",
    ]
