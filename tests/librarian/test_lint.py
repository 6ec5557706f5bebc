"""The form of a pack: every planted fault is found, and a good pack has none."""

import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from skill_folders import GOOD, write_skill
from skills_ref import validate

from tuneloop.documents.errors import InputError
from tuneloop.librarian.lint import faults, first_command
from tuneloop.librarian.pack import read_pack


def messages(root: Path) -> list[str]:
    return [problem.message for problem in faults(read_pack(root))]


def test_a_good_pack_has_no_fault(tmp_path: Path) -> None:
    write_skill(tmp_path, "make-it")
    folder = write_skill(
        tmp_path,
        "run-it",
        ('requires: ""', 'requires: "make-it>=0.1,<1"'),
        ("reading what came of it", "reading (read-it)"),
        body="After `make-it`, not read-it; [more](references/more.md), [where](https://example.org), [up](#the-thing).\n",
    )
    (folder / "references").mkdir()
    (folder / "references" / "more.md").write_text("# More\n\nSee [the top](#more).\n")
    write_skill(tmp_path, "read-it", ('requires: ""', 'requires: "run-it>=0.2"'), body="\nNext: `end-it`.\n")
    write_skill(tmp_path, "end-it", ('requires: ""', 'requires: "read-it; make-it"'))
    assert messages(tmp_path) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: a-skill", "name: b-skill", "name `b-skill` in the folder `a-skill`"),
        ("Does the", "Does " * 60 + "the", "at most 300 are read by all"),
        ("Does the", "Does <b>the", "an angle bracket"),
        ("license: Apache-2.0", "allowed-tools: Read", "`allowed-tools` makes the client ask"),
        ("license: Apache-2.0", "dependencies: none", "unknown key `dependencies`"),
        ("license: Apache-2.0", "license: &here Apache", "YAML that other readers refuse"),
        ("license: Apache-2.0", "license: !!str Apache", "YAML that other readers refuse"),
        ("license: Apache-2.0", "license: Apache-2.0\t", "YAML that other readers refuse"),
        ("Use when", "--- Use when", "three dashes"),
        ("license: Apache-2.0\n", "license: Apache-2.0\r\n", "carriage returns"),
        ('  tags: "one, two"\n', "", "missing key `metadata.tags`"),
        ("  tags:", "  tag:", "unknown key `metadata.tag`"),
        ("one, two", "one, one", "an empty or a repeated tag"),
        ("one, two", "one,, two", "an empty or a repeated tag"),
        ('category: "experiment"', 'category: "other"', "category `other` in the folder `experiment`"),
        ('version: "0.2.0"', 'version: "0.2"', "`0.2` is no version of three numbers"),
        ('version: "0.2.0"', 'version: "00.2.0"', "`00.2.0` is no version of three numbers"),
        ('version: "0.2.0"', 'version: "0.3.0"', "the changelog does not begin with the version"),
        ("0.2.0: does it better; ", "", "the changelog does not begin with the version"),
        ("0.2.0: does it better", "0.2.0", "the changelog does not begin with the version"),
        ('requires: ""', 'requires: "b-skil>=0.1"', "requires `b-skil`, which the pack has not"),
        ('requires: ""', 'requires: "b-skill>=0.3"', "requires `b-skill>=0.3`, and the pack has 0.2.0"),
        ('requires: ""', 'requires: "b-skill at least 0.3"', "`b-skill at least 0.3` is no requirement"),
        ('requires: ""', 'requires: "b-skill; a-skill"', "requires itself"),
        ("Start with `tuneloop status EXP`", "Read first", "the body has no first command"),
        ("# The thing", "# As in `b-skill`", "sends to `b-skill`, which it does not require"),
        ("# The thing", "# As in **b-skill**, later", "sends to `b-skill`, which it does not require"),
        ("# The thing", "[b](../b-skill/SKILL.md)", "the link `../b-skill/SKILL.md` leaves the skill's folder"),
        ("# The thing", "[root](/etc/passwd)", "the link `/etc/passwd` leaves the skill's folder"),
        ("# The thing", "[out](out/passwd)", "the link `out/passwd` leaves the skill's folder"),
        ("# The thing", "[more]: references/none.md", "no such file: `references/none.md`"),
        ("# The thing", "[more](references/chain.md)", "`references/chain.md` links on to another file"),
        ("# The thing", "[more](references)", "no such file: `references`"),
        ("# The thing", "Nothing", "nothing leads to `scripts/lonely.py`"),
    ],
)
def test_each_fault_of_a_skill_is_found(tmp_path: Path, old: str, new: str, message: str) -> None:
    folder = write_skill(tmp_path, "a-skill", (old, new))
    write_skill(tmp_path, "b-skill")
    write_skill(tmp_path, "c-skill", ('requires: ""', 'requires: "a-skill"'))
    for name, text in (("references/chain.md", "[on](more.md)"), ("scripts/lonely.py", "")):
        (folder / name).parent.mkdir()
        (folder / name).write_text(text)
    (folder / "out").symlink_to("/etc")
    try:
        found = faults(read_pack(tmp_path))
    except InputError as error:
        found = error.problems
    assert any(message in problem.message and problem.source == folder / "SKILL.md" for problem in found), found


def test_what_a_body_explains_itself_by_is_required(tmp_path: Path) -> None:
    """A part whose states are those of the larger step, also where the description says not to use that one."""
    write_skill(tmp_path, "whole", ('requires: ""', 'requires: "part"'))
    body = "\nStates are as in `whole`.\n"
    folder = write_skill(tmp_path, "part", ("Not for", "Not for all (whole) nor"), body=body)
    assert messages(tmp_path) == ["sends to `whole`, which it does not require"]
    skill = folder / "SKILL.md"
    skill.write_text(skill.read_text().replace('requires: ""', 'requires: "whole"'))
    assert messages(tmp_path) == []


def test_names_that_hide_each_other_are_found(tmp_path: Path) -> None:
    write_skill(tmp_path, "a-skill")
    other = write_skill(tmp_path / "again", "a-skill", ('"experiment"', '"other"'))
    (tmp_path / "skills" / "other").mkdir()
    other.rename(tmp_path / "skills" / "other" / "a-skill")
    for folder, text in (("commands", "description: d"), ("agents", "name: b-agent\ndescription: d\ntools: Read")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a-skill.md").write_text(f"---\n{text}\n---\n")
    found = messages(tmp_path)
    assert len([message for message in found if "is the name of" in message]) == 2
    assert "name `b-agent` in the file `a-skill.md`" in found


def test_the_first_command_is_read(tmp_path: Path) -> None:
    write_skill(tmp_path, "a-skill", body="\nThen `tuneloop wait EXP`.\n")
    assert [first_command(skill) for skill in read_pack(tmp_path).skills] == ["tuneloop status EXP"]


def refused(folder: Path) -> bool:
    """Tell whether we find any fault in the pack of one skill."""
    try:
        return bool(faults(read_pack(folder.parents[2])))
    except InputError:
        return True


def test_the_reference_library_agrees_on_a_good_skill(tmp_path: Path) -> None:
    folder = write_skill(tmp_path, "a-skill")
    assert validate(folder) == []
    assert not refused(folder)


KEYS = st.sampled_from(["name", "description", "license", "compatibility", "metadata", "allowed-tools", "version"])
WORDS = st.one_of(
    st.sampled_from(
        [
            "a-skill",
            "A-Skill",
            "-a",
            "a--b",
            "''",
            '" "',
            "|",
            ">-",
            "---",
            "&a x",
            "*a",
            "!!str x",
            "[]",
            "{}",
            "~",
            "1",
        ]
    ),
    st.sampled_from(["{a: b}", "[a, b]", "'it''s'", '"a: b"', "a: b", "# x", "x # y", "yes", "3e-4", "\t", "@x", "%x"]),
    st.text(string.ascii_letters + string.digits + " -:#'\"&*!|>%@`{}[],\t", max_size=12),
    st.sampled_from(["x" * 65, "x" * 501, "x" * 1025]),
)
LINES = st.one_of(
    st.tuples(KEYS, WORDS).map(lambda pair: f"{pair[0]}: {pair[1]}"),
    st.tuples(st.sampled_from(["  version", "  tags", "  - a", "    deep"]), WORDS).map(
        lambda pair: f"{pair[0]}: {pair[1]}"
    ),
)
HEAD = GOOD.format(name="a-skill").split("---\n")[1].splitlines()


@st.composite
def heads(draw: st.DrawFn) -> str:
    """Draw the good head with another value, or a line more, less or twice."""
    lines = list(HEAD)
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.integers(0, len(lines) - 1))
        key = lines[place].partition(":")[0]
        value = WORDS.map(lambda word, key=key: [f"{key}: {word}"])
        more = LINES.map(lambda line, old=lines[place]: [old, line])
        lines[place : place + 1] = draw(st.one_of(value, value, more, st.just([]), st.just([lines[place]] * 2)))
    return "\n".join(lines) + "\n"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(head=heads())
def test_what_the_reference_library_refuses_we_refuse_too(tmp_path: Path, head: str) -> None:
    folder = tmp_path / "skills" / "experiment" / "a-skill"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "SKILL.md").write_text(f"---\n{head}---\n\nStart with `tuneloop status EXP`.\n")
    if validate(folder):
        assert refused(folder), validate(folder)
