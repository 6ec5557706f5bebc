"""What reaches a shell or a path."""

import subprocess
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.documents.errors import InputError
from tuneloop.documents.shell import checked_name, quote, quote_at_home


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"])), min_size=1, max_size=20))
@settings(max_examples=60)
def test_bash_gives_every_value_back(values: list[str]) -> None:
    words = " ".join(quote(value) for value in values)
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' {words}"], capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == values


@pytest.mark.parametrize(
    "value", ["'; echo foo", "$(touch x)", "`id`", "a b", '"', "\\", "!!", "*", "~", "-n", "", "#"]
)
def test_hostile_value_is_one_word(value: str) -> None:
    done = subprocess.run(["bash", "-c", f"printf %s {quote(value)}"], capture_output=True, text=True, check=True)
    assert done.stdout == value


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
@settings(max_examples=60)
def test_a_leading_home_is_put_in_and_all_behind_it_is_one_word(rest: str) -> None:
    words = " ".join(quote_at_home(value) for value in (f"~/{rest}", rest))
    done = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {words}"], capture_output=True, check=True, env={"HOME": "/h $x"}
    )
    assert done.stdout.decode().split("\0")[:-1] == [
        f"/h $x/{rest}",
        rest.replace("~/", "/h $x/", rest.startswith("~/")),
    ]


@pytest.mark.parametrize("value", [3, 2.5, True])
def test_numbers_are_quoted_too(value: object) -> None:
    assert quote(value) == str(value)


@given(st.characters(categories=["Cc"]), st.text(st.characters(exclude_categories=["Cs"])))
def test_control_characters_are_refused(letter: str, rest: str) -> None:
    assert unicodedata.category(letter) == "Cc"
    with pytest.raises(InputError, match=r"a control character in .* cannot enter a script"):
        quote(rest + letter)


@pytest.mark.parametrize("name", ["a", "rank8_lr1e-5", "r001", "0", "A.b-c_d", "x" * 64])
def test_plain_names_pass(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "../a", "a/b", ".a", "-a", "_a", "a b", "$(touch x)", "a\n", "a\nb", "ü", "x" * 65, "a'b", "a\x00"]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a plain name"):
        checked_name(name)


@pytest.mark.parametrize("name", ["analysis", "eval", "base", "Analysis", "BASE"])
def test_reserved_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is reserved") as caught:
        checked_name(name, "run")
    assert str(caught.value) == f"run `{name}` is reserved\nchoose another; reserved: analysis, base, eval"
