"""The reader of shell against a real one: what it is certain of, a shell agrees with."""

import subprocess

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tuneloop.hooks.lexer import Lexer, OpenQuoteError, Word

LETTERS = st.text("ab ='\"\\#$*{,}2>&1!-\t", max_size=20)


@settings(max_examples=150, deadline=None)
@given(LETTERS)
def test_what_is_certain_a_shell_reads_alike(text: str) -> None:
    try:
        tokens = Lexer(text).tokens
    except OpenQuoteError:
        assert in_bash(text) is None
        return
    words = [token.text for token in tokens if isinstance(token, Word) and token.fixed]
    assume(len(words) == len(tokens))
    assert in_bash(text) == "".join(f"{word}\0" for word in words).encode()


def in_bash(text: str) -> bytes | None:
    """Return the words that bash makes of a text, each with a NUL behind it; None where it refuses the text."""
    script = f"words() {{ for word; do printf '%s\\0' \"$word\"; done; }}\nwords {text}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=False)
    return None if done.returncode else done.stdout


def told(text: str) -> list[object]:
    return [token if isinstance(token, str) else token.text for token in Lexer(text).tokens]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("a;b&&c||d|e&", ["a", ";", "b", "&&", "c", "||", "d", "|", "e", "&"]),
        ("a 2>&1 2>/dev/null 2> /dev/null", ["a", "2>", "2>", "2>"]),
        ("a 2>/dev/nullx 1>&2 2>b", ["a", ">", "/dev/nullx", ">&", "2", ">", "b"]),
        ("a2>b", ["a2", ">", "b"]),
        ("a `b`c", ["a", "`", "`", "b", "`", "c"]),
        ("a # b 'c\nd#e", ["a", "\n", "d#e"]),
        ("a \\\n \\\n\\\n b\\\nc", ["a", "bc"]),
        ("a <<'E' b\nit's\nE\nc", ["a", "<<", "E", "b", "\n", "c"]),
        ("a '' \"\"", ["a", "", ""]),
    ],
)
def test_words_and_operators_are_told_apart(text: str, tokens: list[object]) -> None:
    assert told(text) == tokens


def test_here_documents_end_where_a_shell_ends_them() -> None:
    lexer = Lexer("a <<E <<-F\n\tE\nb\nE\nc\n\tF\nd")
    assert lexer.documents == ["\tE\nb", "c"]
    assert lexer.tokens[-1] != "d"
    assert told("a <<E\nnever ended") == ["a", "<<", "E", "\n"]


@pytest.mark.parametrize("text", ["$a", "${a}", "$(a)", '"$a"', '"`a`"', r'"\\$a"', "$'a'", "{a,b}", "a`b`"])
def test_what_a_shell_puts_something_else_for_is_not_certain(text: str) -> None:
    assert not all(token.certain for token in Lexer(text).tokens if isinstance(token, Word))


@pytest.mark.parametrize("text", ["'a", '"a', "a'", '"a\\"', "$'a", "a\n'"])
def test_an_open_quote_is_told(text: str) -> None:
    with pytest.raises(OpenQuoteError):
        Lexer(text)
