"""Four kinds of file give the same records, and every fault has its place."""

import csv
import io
import json
import string
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from tuneloop.documents.errors import InputError
from tuneloop.documents.records import MOST_FAULTS, read_objects, read_records

ROWS = [{"input": "a", "output": "A"}, {"input": 'b, "c"', "output": "two\nlines"}, {"input": "é 東", "output": ""}]
CHATS = [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows as the file's ending says."""
    if path.suffix == ".json":
        path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    else:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        path.write_bytes(text.getvalue().encode())
    return path


def told(path: Path, text: str | bytes) -> list[tuple[str, int | None]]:
    """Return what is said of a file with this content: messages without its name, and lines."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as caught:
        read_objects(path)
    assert all(item.source == path and item.hint for item in caught.value.problems)
    return [(item.message, item.line) for item in caught.value.problems]


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv", ".parquet"])
def test_every_kind_of_file_gives_the_same_records(tmp_path: Path, suffix: str) -> None:
    found = read_objects(write(tmp_path / f"data{suffix}", ROWS))
    assert [record.value for record in found] == ROWS
    assert [record.row for record in found] == [1, 2, 3]


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".parquet"])
def test_lists_of_messages_survive(tmp_path: Path, suffix: str) -> None:
    (found,) = read_objects(write(tmp_path / f"data{suffix}", CHATS))
    assert found.value == CHATS[0]


def test_records_have_the_line_where_they_begin(tmp_path: Path) -> None:
    listed = tmp_path / "a.json"
    listed.write_text('[\n {"a": "x"},\n\n {"a":\n  "y"}, {"a": "z"}\n]\n')
    assert [record.line for record in read_objects(listed)] == [2, 4, 5]
    table = tmp_path / "a.csv"
    table.write_text('a,b\n1,"x\ny"\n\n2,z\n')
    assert [record.line for record in read_objects(table)] == [2, 5]
    assert [record.line for record in read_objects(write(tmp_path / "a.parquet", ROWS))] == [None] * 3


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.csv"])
def test_a_byte_order_mark_is_no_data(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, ROWS)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert [record.value for record in read_objects(path)] == ROWS


def test_long_cells_are_read(tmp_path: Path) -> None:
    long = [{"text": "word " * 60_000}]
    assert read_objects(write(tmp_path / "a.csv", long))[0].value == long[0]
    assert csv.field_size_limit() == 131072, "the limit of others is as it was"


def test_whole_letters_pass(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": "\\ud83d\\ude00"}\n')
    assert read_objects(tmp_path / "a.jsonl")[0].value == {"a": "\U0001f600"}


FAULTS: list[tuple[str, str | bytes, list[tuple[str, int | None]]]] = [
    ("a.jsonl", "", [("the file is empty", None)]),
    ("a.jsonl", "\n \n", [("the file is empty", None)]),
    ("a.json", "[]", [("the file is empty", None)]),
    ("a.csv", "a,b\n", [("the file is empty", None)]),
    ("a.csv", "", [("the file is empty", None)]),
    ("a.parquet", b"", [("the file is empty", None)]),
    ("a.jsonl", '{"a": 1}\n{"a": \n', [("not JSON: Expecting value", 2)]),
    ("a.jsonl", '{"a": 1}\n3\n', [("expected an object with columns, found a number", 2)]),
    ("a.json", '[{"a": 1},\n [2]]', [("expected an object with columns, found a list", 2)]),
    ("a.json", '[{"a": 1}\n {"a": 2}]', [("not JSON: Expecting ',' delimiter", 2)]),
    ("a.json", '[{"a": 1},', [("not JSON: Expecting value", 1)]),
    ("a.json", '[{"a": 1}] x', [("not JSON: text after the end of the list", 1)]),
    ("a.json", '{\n"data": [{"a": 1}]}', [("expected a list of objects, found one object", 1)]),
    ("a.jsonl", '{"a": "b"}\n{"a": "\\ud800"}\n', [("'\\ud800' is half of a letter", 2)]),
    ("a.jsonl", '{"a": ' + "[" * 99_999 + "\n", [("lists or objects nested too deeply", None)]),
    ("a.json", "[" * 99_999, [("lists or objects nested too deeply", None)]),
    (
        "a.jsonl",
        '{"a": ' + "1" * 5000 + "}\n",
        [("not JSON: Exceeds the limit (4300 digits) for integer string conversion: value has 5000 digits", 1)],
    ),
    ("a.jsonl", '{"a": 1}\n{"a": NaN}\n', [("not JSON: NaN is not a number", 2)]),
    ("a.jsonl", '{"a": [-Infinity]}\n', [("not JSON: -Infinity is not a number", 1)]),
    ("a.jsonl", '{"a": 1e999}\n', [("the number 1e999 is too large", 1)]),
    ("a.json", '[{"a": 1},\n{"a": Infinity}]', [("not JSON: Infinity is not a number", 2)]),
    ("a.json", '[{"a": 1},\n{"a": 1, "b": 2, "a": 3}]', [("the key `a` stands twice in an object", 2)]),
    ("a.jsonl", '{"a": {"b; c": 1, "b; c": 1}}\n', [("the key `b; c` stands twice in an object", 1)]),
    ("a.csv", "a,b\n1\n1,2,3\n1,2\n", [("1 fields, the header row has 2", 2), ("3 fields, the header row has 2", 3)]),
    ("a.csv", "a,a\n1,2\n", [("the column `a` stands twice", 1)]),
    ("a.csv", "a,\n1,2\n", [("column 2 has no name", 1)]),
    ("a.csv", 'a,b\n1,"2\n', [("not CSV: unexpected end of data", 2)]),
    ("a.csv", 'a,b\n1,"2" x\n', [("not CSV: ',' expected after '\"'", 2)]),
    ("a.jsonl", '{"a": "b"}\n{"a": "ü"}\n'.encode("latin-1"), [("not UTF-8 text (byte 18)", 2)]),
    ("a.csv", "a\nb\n".encode("utf-16"), [("not UTF-8 text (byte 0)", 1)]),
]


@pytest.mark.parametrize(("name", "text", "expected"), FAULTS)
def test_a_fault_has_its_place(
    tmp_path: Path, name: str, text: str | bytes, expected: list[tuple[str, int | None]]
) -> None:
    assert told(tmp_path / name, text) == expected


def test_a_truncated_parquet_file_is_a_fault(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.parquet", ROWS).read_bytes()
    for length in (3, 8, len(whole) // 2, len(whole) - 1):
        ((message, _),) = told(tmp_path / "a.parquet", whole[:length])
        assert message.startswith("not a Parquet file: ")


def test_of_many_faults_a_few_are_told(tmp_path: Path) -> None:
    assert len(told(tmp_path / "a.jsonl", "x\n" * 50)) == MOST_FAULTS
    assert len(told(tmp_path / "b.jsonl", "1\n" * 50)) == MOST_FAULTS
    assert len(told(tmp_path / "a.csv", "a,b\n" + "1\n" * 50)) == MOST_FAULTS


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(InputError, match=r"neither a \.json, \.jsonl, \.csv nor a \.parquet file"):
        read_records(tmp_path / "a.txt")
    with pytest.raises(InputError, match="no such file"):
        read_records(tmp_path / "none.parquet")


letters = st.text(
    st.sampled_from([*string.ascii_letters, " ", ",", '"', "\n", "\r", "é", "東", "\u2028", "[", "{", "#"])
)


@given(st.lists(st.fixed_dictionaries({"a": letters, "b": letters}), min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
def test_any_text_survives_any_file(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, str]]) -> None:
    folder = tmp_path_factory.mktemp("rows")
    for suffix in (".json", ".jsonl", ".csv", ".parquet"):
        assert [item.value for item in read_objects(write(folder / f"data{suffix}", rows))] == rows
