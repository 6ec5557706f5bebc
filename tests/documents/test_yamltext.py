"""YAML as people write it, and what is written reads back the same."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneloop.documents.errors import InputError
from tuneloop.documents.yamltext import dump_yaml, lines_of, load_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-4", 3e-4),
        ("1E5", 1e5),
        ("1.5e3", 1500.0),
        ("-2.", -2.0),
        (".5", 0.5),
        ("12", 12),
        ("true", True),
        ("False", False),
        ("~", None),
        ("no", "no"),
        ("On", "On"),
        ("y", "y"),
        ("2024-01-01", "2024-01-01"),
        ("3e", "3e"),
        ("1.2.3", "1.2.3"),
        ("e5", "e5"),
    ],
)
def test_scalars_are_what_people_mean(text: str, value: Any) -> None:
    found = load_yaml(text)
    assert found == value
    assert type(found) is type(value)


def test_duplicate_key_names_both_lines() -> None:
    with pytest.raises(InputError) as caught:
        load_yaml("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", Path("x.yaml"), first_line=2)
    assert str(caught.value) == "x.yaml:6: duplicate key `c`\n  hint: it stands on line 4 already"


BOMB = "a: &a [1]\n" + "".join(f"{y}: &{y} [{', '.join([f'*{x}'] * 10)}]\n" for x, y in pairwise("abcdefghij"))


def test_equal_keys_of_two_mappings_are_fine() -> None:
    assert load_yaml("- {a: 1}\n- {a: 2}\n") == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "x.yaml:1: not YAML: did not find expected ',' or ']'"),
        ("a: 1\n\tb: 2", "x.yaml:2: not YAML: found a tab character that violates indentation"),
        ("a: 1\n---\nb: 2", "x.yaml:2: not YAML: expected a single document in the stream, but found another document"),
        (
            "a: !!python/object:os.system 1",
            "x.yaml:1: not YAML: the tag `tag:yaml.org,2002:python/object:os.sy...` is not known here",
        ),
        ("a: *b", "x.yaml:1: not YAML: found undefined alias"),
        ("b: 1\na: &x [*x]", "x.yaml:2: not YAML: an alias stands inside its own anchor"),
        ("a: -0x_", "x.yaml:1: not YAML: `-0x_` is no number that can be read"),
        ('a: "\\0"', "x.yaml:1: not YAML: a character that no file can hold"),
        ("[" * 100_000, "x.yaml:1: not YAML: more than 40 levels deep"),
        (BOMB, "x.yaml:6: not YAML: it stands for more than 200,000 values"),
    ],
    ids=range(10),
)
def test_broken_text_names_its_line(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_yaml(text, Path("x.yaml"))
    [problem] = caught.value.problems
    assert f"{problem.source}:{problem.line}: {problem.message}" == message
    assert problem.hint


_TRICKY = [
    "1e-5",
    "no",
    "yes",
    "2024-01-01",
    "0x1f",
    "1_000",
    "~",
    "null",
    "1:30",
    "---",
    "- a",
    "#",
    "",
    " a ",
    "=",
    "0o7",
]
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(_TRICKY)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), inner)
    ),
    max_leaves=12,
)


@given(_VALUES)
def test_round_trip_keeps_value_and_type(value: Any) -> None:
    assert repr(load_yaml(dump_yaml(value))) == repr(value)


@pytest.mark.parametrize("text", _TRICKY)
def test_tricky_text_stays_text(text: str) -> None:
    assert load_yaml(dump_yaml({text: [text]})) == {text: [text]}


def test_lines_of_keys_and_items() -> None:
    text = "a: 1\nb:\n  - c: 2\n  - 3\nd: {e: 4}\n"
    assert lines_of(text, first_line=2) == {
        ("a",): 2,
        ("b",): 3,
        ("b", 0): 4,
        ("b", 0, "c"): 4,
        ("b", 1): 5,
        ("d",): 6,
        ("d", "e"): 6,
    }


def test_empty_text_has_no_lines() -> None:
    assert lines_of("") == {}
    assert load_yaml("") is None
