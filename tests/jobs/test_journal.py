"""The journal survives a kill at any byte."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuneloop.documents.errors import InputError
from tuneloop.experiment.layout import Layout
from tuneloop.jobs.journal import Journal


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(Layout(tmp_path))


def test_appends_number_themselves(journal: Journal) -> None:
    for token in ("a", "b", "c"):
        journal.append("submitting", token=token, keys=["train/x"], cluster="local")
    events = journal.read()
    assert [event.seq for event in events] == [1, 2, 3]
    assert [event.data["token"] for event in events] == ["a", "b", "c"]


def test_missing_journal_is_empty(journal: Journal) -> None:
    assert journal.read() == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(cut=st.integers(min_value=1, max_value=400))
def test_any_torn_end_is_survived(tmp_path: Path, cut: int) -> None:
    journal = Journal(Layout(tmp_path))
    journal.path.unlink(missing_ok=True)
    for number in range(4):
        journal.append("consented", plan=f"p{number}", by="person")
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole[: -min(cut, len(whole))])
    before = journal.read()
    journal.append("consented", plan="after", by="person")
    after = journal.read()
    assert after[: len(before)] == before
    assert after[-1].data["plan"] == "after"
    assert [event.seq for event in after] == sorted({event.seq for event in after})


def test_bad_line_is_an_error_with_its_number(journal: Journal) -> None:
    journal.append("consented", plan="a", by="person")
    with journal.path.open("a") as file:
        file.write("not json\n")
    journal.append("consented", plan="b", by="person")
    with pytest.raises(InputError) as caught:
        journal.read()
    assert caught.value.problems[0].line == 2
    assert caught.value.problems[0].hint == "put the line back as it was"


def test_append_reads_only_the_end(journal: Journal) -> None:
    journal.path.parent.mkdir(parents=True)
    lines = [json.dumps({"seq": n, "time": "t", "event": "consented", "plan": "x" * 100}) for n in range(1, 5001)]
    journal.path.write_text("\n".join(lines) + "\n")
    journal.append("consented", plan="last", by="person")
    assert journal.read()[-1].seq == 5001
