"""Heads are strict, bodies survive byte by byte."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from tuneloop.documents.errors import InputError
from tuneloop.documents.files import read_text, write_text
from tuneloop.documents.frontmatter import Document, parse
from tuneloop.documents.schema import Schema

SOURCE = Path("note.md")


class Part(Schema):
    size: int
    colour: str | None = None


class Note(Schema):
    name: str
    count: int = 1
    parts: list[Part] = []
    sizes: dict[str, list[float]] | list[float] = {}
    words: list[str] = Field(default=["a"], min_length=1)


def fault(text: str) -> str:
    with pytest.raises(InputError) as caught:
        parse(text, Note, SOURCE)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\n", "note.md:1: no frontmatter\n  hint: begin the file with a line `---`"),
        ("", "note.md:1: no frontmatter\n  hint: begin the file with a line `---`"),
        (" ---\nname: a\n---\n", "note.md:1: no frontmatter\n  hint: begin the file with a line `---`"),
        ("---\nname: a\n", "note.md:1: the head is never closed\n  hint: end the head with a line `---`"),
        ("---\nname: a\n--\nbody", "note.md:1: the head is never closed\n  hint: end the head with a line `---`"),
        ("---\n---\n", "note.md:1: expected keys and values, found nothing"),
        ("---\n- a\n---\n", "note.md:1: expected keys and values, found list"),
        ("---\nname: a\nname: b\n---\n", "note.md:3: duplicate key `name`\n  hint: it stands on line 2 already"),
        ("---\nname: a\ncuont: 2\n---\n", "note.md:3: unknown key `cuont`\n  hint: did you mean `count`?"),
        (
            "---\nname: a\nparts:\n  - size: 1\n    color: red\n---\n",
            "note.md:5: unknown key `parts.0.color`\n  hint: did you mean `colour`?",
        ),
        ("---\nname: a\nparts:\n  - {colour: x}\n---\n", "note.md:4: missing key `parts.0.size`\n  hint: add `size:`"),
        (
            "---\nname: 3\n---\n",
            'note.md:2: `name` should be a valid string, found 3\n  hint: put it in quotes: `name: "3"`',
        ),
        (
            "---\nname: a\ncount: 2.0\n---\n",
            "note.md:3: `count` should be a valid integer, found 2.0\n  hint: write a whole number, such as 1",
        ),
        (
            "---\nname: a\ncount: yes\n---\n",
            "note.md:3: `count` should be a valid integer, found 'yes'\n  hint: write a whole number, such as 1, without quotes",
        ),
        ("---\nname: a\nwords: []\n---\n", "note.md:3: `words` needs at least 1, found []\n  hint: give at least 1"),
        (
            "---\nname: a\nsizes: {b: 1}\n---\n",
            "note.md:3: `sizes.b` should be a valid list, found 1\n  hint: write it in brackets: `b: [...]`",
        ),
        (
            "---\nname: a\nzzz: 1\n---\n",
            "note.md:3: unknown key `zzz`\n  hint: known: `name`, `count`, `parts`, `sizes`, `words`",
        ),
    ],
)
def test_fault_has_line_and_hint(text: str, message: str) -> None:
    assert fault(text) == message


def test_all_faults_at_once() -> None:
    assert fault("---\ncuont: 2\nparts:\n  - size: big\n  - {size: 1, x: 2}\n---\n").splitlines() == [
        "note.md:2: missing key `name`",
        "  hint: add `name:`",
        "note.md:4: `parts.0.size` should be a valid integer, found 'big'",
        "  hint: write a whole number, such as 1, without quotes",
        "note.md:5: unknown key `parts.1.x`",
        "  hint: known: `size`, `colour`",
        "note.md:2: unknown key `cuont`",
        "  hint: did you mean `count`?",
    ]


@pytest.mark.parametrize(
    "body",
    ["", "\n", "text", "a  \r\nb\r\n", "\n\n  a\t\n", "---\nnot: a head\n---\n", "\ufeffa", "a\u2028b\x0cc", "~~~\n"],
)
def test_body_survives_byte_by_byte(body: str, tmp_path: Path) -> None:
    path = tmp_path / "note.md"
    write_text(path, f"---\nname: a\n---\n{body}")
    document = parse(read_text(path), Note, path)
    assert document.body == body
    assert path.read_bytes() == f"---\nname: a\n---\n{body}".encode()


_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(_TEXT, _TEXT | st.sampled_from(["\n", "\r\n", "\n---\n", "---\n"]))
def test_any_document_comes_back(name: str, body: str) -> None:
    document = Document(Note(name=name), body)
    again = parse(document.render(), Note)
    assert again == document


def test_head_of_crlf_lines_is_read() -> None:
    document = parse("---\r\nname: a\r\n---\r\nbody\r\n", Note, SOURCE)
    assert document.data.name == "a"
    assert document.body == "body\r\n"
