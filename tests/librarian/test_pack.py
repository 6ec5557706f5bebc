"""The pack as it is read: what belongs together, and heads that are refused."""

from pathlib import Path

import pytest
from skill_folders import write_skill

from tuneloop.documents.errors import InputError, MissingError
from tuneloop.librarian.pack import Pack, read_pack

NEEDS = 'requires: ""'


@pytest.fixture
def chain(tmp_path: Path) -> Pack:
    """Three skills, each of which requires the one before it, the last in a circle with the first."""
    write_skill(tmp_path, "one", (NEEDS, 'requires: "three"'))
    write_skill(tmp_path, "two", (NEEDS, 'requires: "one>=0.2"'))
    write_skill(tmp_path, "three", (NEEDS, 'requires: "two>=0.2; one"'))
    write_skill(tmp_path, "apart")
    return read_pack(tmp_path)


def names(pack: Pack, *words: str) -> list[str]:
    return [skill.name for skill in pack.chosen(words)]


def test_a_skill_brings_what_it_requires(chain: Pack) -> None:
    assert names(chain, "apart") == ["apart"]
    assert names(chain, "two") == ["one", "three", "two"]
    assert names(chain) == names(chain, "experiment") == ["apart", "one", "three", "two"]


def test_an_unknown_word_is_told_with_the_nearest(chain: Pack) -> None:
    with pytest.raises(MissingError, match="no skill `tow`\n  hint: did you mean `two`"):
        chain.chosen(["tow"])


def test_a_requirement_that_names_nothing_is_refused_with_its_file(tmp_path: Path) -> None:
    folder = write_skill(tmp_path, "one", (NEEDS, 'requires: ">= ,"'))
    with pytest.raises(InputError, match="`>= ,` is no requirement") as refused:
        read_pack(tmp_path).chosen()
    assert refused.value.problems[0].source == folder / "SKILL.md"


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("license:", "version: 1\nlicense:", "unknown key `version`"),
        ("name: one", "name: One", "`name`"),
        ("license: Apache-2.0", "license: Apache-2.0\nallowed-tools: [Bash]", "`allowed-tools`"),
        ('version: "0.2.0"', "version: 0.2", "`metadata.version`"),
    ],
)
def test_a_head_outside_the_specification_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    write_skill(tmp_path, "one", (old, new))
    with pytest.raises(InputError, match=message):
        read_pack(tmp_path)
