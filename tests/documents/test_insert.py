"""An entry is added to a person's YAML, and whatever was there keeps its bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneloop.documents.errors import InputError
from tuneloop.documents.insert import with_entry
from tuneloop.documents.yamltext import dump_yaml, load_yaml

VALUE = {"executor": "slurm", "partition": "main", "limits": {"array": 1000, "minutes": 60}}
ONE_LINE = "{executor: slurm, partition: main, limits: {array: 1000, minutes: 60}}"
BLOCK = "  new:\n    executor: slurm\n    partition: main\n    limits: {array: 1000, minutes: 60}\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", f"clusters:\n{BLOCK}"),
        ("# mine\n", f"# mine\nclusters:\n{BLOCK}"),
        ("experiments: {root: .}", f"experiments: {{root: .}}\nclusters:\n{BLOCK}"),
        ("clusters:\n", f"clusters:\n{BLOCK}"),
        (
            "clusters:  # ours\n  old:\n    slots: 1  # few\n\n# what follows\nexperiments: {root: .}\n",
            f"clusters:  # ours\n  old:\n    slots: 1  # few\n{BLOCK}\n# what follows\nexperiments: {{root: .}}\n",
        ),
        ("clusters:\n  old: {slots: 1}", f"clusters:\n  old: {{slots: 1}}\n{BLOCK}"),
        ("clusters:\n  old:\n", f"clusters:\n  old:\n{BLOCK}"),
        ("clusters:\n  old:\n    qos: >\n      a\n\nexperiments: {}\n", None),
        ("clusters: {}\n", f"clusters: {{new: {ONE_LINE}}}\n"),
        (
            "clusters: {old: {slots: 1}}  # one line\n",
            f"clusters: {{old: {{slots: 1}}, new: {ONE_LINE}}}  # one line\n",
        ),
        ("clusters: {\n  old: {slots: 1},\n}\n", None),
        (
            "clusters:\r\n  old: {slots: 1}\r\nexperiments: {}\r\n",
            "clusters:\r\n  old: {slots: 1}\r\n" + BLOCK.replace("\n", "\r\n") + "experiments: {}\r\n",
        ),
        ("clusters:\n    old:\n        slots: 1\n", None),
        ("---\nclusters:\n  old: {slots: 1}\n", f"---\nclusters:\n  old: {{slots: 1}}\n{BLOCK}"),
        ("clusters:\n  \u00e4\u00f6: {slots: 1} # \U0001f600\n", None),
    ],
)
def test_the_entry_is_the_last_and_no_byte_is_lost(before: str, after: str | None) -> None:
    found = with_entry(before, "clusters", "new", VALUE)
    if after is not None:
        assert found == after
    assert is_inserted(before, found)
    assert load_yaml(found)["clusters"]["new"] == VALUE


def is_inserted(before: str, found: str) -> bool:
    """Tell whether `found` is `before` with something put in at one place."""
    start = next((i for i, (a, b) in enumerate(zip(before, found, strict=False)) if a != b), len(before))
    return found.endswith(before[start:])


def test_a_changed_byte_is_seen() -> None:
    assert not is_inserted("a: 1\nb: 2\n", "a: 1\nc: 3\nb: 3\n")
    assert not is_inserted("a: 1  # x\n", "a: 1\nc: 3\n")


@pytest.mark.parametrize(
    "text",
    [
        "base: &b {old: {}}\nclusters: *b\n",
        "{experiments: {root: .}}\n",
        "experiments: {root: .}\n...\n",
        "clusters: {old: {slots: 1} # a comment\n}\n",
    ],
)
def test_a_form_that_cannot_be_added_to_is_refused_with_the_lines(text: str) -> None:
    with pytest.raises(InputError) as caught:
        with_entry(text, "clusters", "new", VALUE)
    assert caught.value.problems[0].hint == f"add it by hand:\nclusters:\n{BLOCK}".rstrip()


_NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True)
_TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12)
_ENTRIES = st.dictionaries(_NAMES, st.one_of(_TEXTS, st.integers(), st.lists(_TEXTS, max_size=2)), max_size=3)


@given(st.dictionaries(_NAMES, _ENTRIES, max_size=3), _NAMES, _ENTRIES.filter(bool))
def test_whatever_is_added_is_read_back_beside_the_rest(
    there: dict[str, dict[str, object]], name: str, value: dict[str, object]
) -> None:
    there.pop(name, None)
    text = dump_yaml({"clusters": there, "experiments": {"root": "."}})
    found = with_entry(text, "clusters", name, value)
    assert load_yaml(found) == {"clusters": {**there, name: value}, "experiments": {"root": "."}}
