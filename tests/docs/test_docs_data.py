"""docs/data.md, by doing: every sample in it is read as training reads it, every design in it is sound."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tuneloop.documents.records import SUFFIXES
from tuneloop.documents.schema import validate
from tuneloop.documents.yamltext import load_yaml
from tuneloop.experiment.design import Design, faults, sources
from tuneloop.experiment.formats import FORMATS
from tuneloop.workers.torchtune.data import Reading, read_samples, reading, turns
from tuneloop.workers.torchtune.splits import reading_from, reading_of

TEXT = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
_PIECE = re.compile(r"^#+ (?P<title>[^\n]*)$|^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)


class Example(NamedTuple):
    title: str
    kind: str
    text: str
    how: Reading


def design(text: str) -> Design:
    head = {"schema": "tuneloop.experiment/1", "name": "a", "question": "b?", "model": "c", **load_yaml(text)}
    return validate(Design, head)


def examples() -> Iterator[Example]:
    """Yield the samples, each with how it is read: as the design before it says, or the format of its section."""
    title, how = "", reading("instruct")
    for piece in _PIECE.finditer(TEXT):
        if piece["title"] is not None:
            title = piece["title"]
            how = reading(title if title in FORMATS else "instruct")
        elif piece["kind"] == "yaml":
            how = reading_from(reading_of(sources(design(piece["text"]))["train"][0]))
        elif f".{piece['kind']}" in SUFFIXES:
            yield Example(title, piece["kind"], piece["text"], how)


EXAMPLES = list(examples())


@pytest.mark.parametrize("example", EXAMPLES, ids=[f"{item.title}-{item.kind}" for item in EXAMPLES])
def test_every_example_is_read(tmp_path: Path, example: Example) -> None:
    path = tmp_path / f"data.{example.kind}"
    path.write_text(example.text)
    samples = read_samples(path, example.how)
    assert samples
    if example.how.format in ("instruct", "chat"):
        assert all(turns(sample, example.how)[-1].role == "assistant" for sample in samples)


def test_every_design_is_sound() -> None:
    found = [piece["text"] for piece in _PIECE.finditer(TEXT) if piece["kind"] == "yaml"]
    assert len(found) >= 3
    assert [list(faults(design(text))) for text in found] == [[]] * len(found)


def test_nothing_is_left_out() -> None:
    assert {item.title for item in EXAMPLES} >= set(FORMATS)
    assert {item.kind for item in EXAMPLES} >= {"json", "jsonl", "csv"}
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", TEXT, re.MULTILINE))
    for item in FORMATS.values():
        roles, _, objectives = (cell.strip() for cell in rows[item.name].split("|"))
        assert set(re.findall(r"`(\w+)`", roles)) == set(item.columns)
        assert objectives.split(", ") == list(item.objectives)


def test_help_lists_every_format_with_its_example() -> None:
    import typer

    from tuneloop.cli.main import app

    command: Any = typer.main.get_command(app)
    shown = command.commands["design-experiment"].epilog
    assert all(item.name in shown and item.example in shown for item in FORMATS.values())
