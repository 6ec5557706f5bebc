"""Data files as records: JSON, JSONL, CSV and Parquet, each record with its place in the file.

Knows the four kinds of file and nothing of what a record means. Needs pyarrow for Parquet alone, and imports it
when it meets such a file.
"""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from tuneloop.documents.errors import InputError, MissingError, Problem, Problems
from tuneloop.documents.files import read_bytes

SUFFIXES = (".json", ".jsonl", ".csv", ".parquet")
MOST_FAULTS = 5  # of one file; the sixth tells nothing new
READABLE = (
    "the readable formats are JSON (a list of objects), JSONL (one object a line), CSV (with a header row) and Parquet"
)
_MOST_OF_A_CELL = 2**31 - 1  # characters; Python's own limit is 131,072, less than a long document
_SPACE = " \t\r\n"
_TOO_DEEP = "lists or objects nested too deeply"
_NUMBER_HINT = "write a number, null or text: JSON has no other"
_HALF_A_LETTER = re.compile(r"\\u[dD][89a-fA-F]")


class _RefusedError(ValueError):
    """What Python reads as JSON and nobody should: it would be lost, or written as something that is no JSON."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Record(NamedTuple):
    """One row of a file. `line` is where it begins; None in Parquet, which has no lines."""

    row: int  # from 1
    line: int | None
    value: Any

    def problem(self, message: str, path: Path, hint: str | None = None) -> Problem:
        """Return a fault of this record with its place."""
        text = message if self.line is not None else f"row {self.row}: {message}"
        return Problem(text, path, self.line, hint=hint)


def read_records(path: Path) -> list[Record]:
    """Return the records of a file, one at least. Raises InputError with the place of every fault, five at most.

    What a record is, is the caller's business: of JSON it may be any value, of CSV it is column to text, of Parquet
    column to value.
    """
    if path.is_file() and path.suffix.lower() not in SUFFIXES:
        raise InputError(
            Problem("neither a .json, .jsonl, .csv nor a .parquet file", path, hint=f"{READABLE}: convert it")
        )
    readers: dict[str, Callable[[Path], list[Record]]] = {".csv": _csv, ".parquet": _parquet}
    found = readers.get(path.suffix.lower(), _json)(path)
    if not found:
        raise InputError(Problem("the file is empty", path, hint="give it one sample at least"))
    return found


def read_objects(path: Path) -> list[Record]:
    """Return the records of a file whose records are all objects with columns. Raises InputError as read_records."""
    problems = Problems()
    records = read_records(path)
    for record in records:
        if not isinstance(record.value, dict):
            message = f"expected an object with columns, found {type_of(record.value)}"
            problems.found.append(record.problem(message, path, 'write it like {"COLUMN": "..."}'))
            if len(problems.found) >= MOST_FAULTS:
                break
    problems.raise_if_any()
    return records


def parse_json(text: str) -> Any:
    """Return what a text of JSON holds, such as a cell of CSV; read as a file is. Raises ValueError with the fault."""
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except ValueError as error:
        raise ValueError(_words(error)) from None
    if _HALF_A_LETTER.search(text) and (letter := _half_a_letter(value)):
        raise ValueError(f"{letter!r} is half of a letter")
    return value


def type_of(value: Any) -> str:
    """Return what a value is, in the words of JSON."""
    if value is None:
        return "null"
    names = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)


def _text(path: Path) -> str:
    data = read_bytes(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        hint = f"save it as UTF-8, for example with `iconv -f {_likely(data)} -t UTF-8`"
        raise InputError(Problem(f"not UTF-8 text (byte {error.start})", path, line, hint=hint)) from None


def _likely(data: bytes) -> str:
    """Return the encoding that a file which is not UTF-8 most likely has."""
    return "UTF-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "WINDOWS-1252"


def _json(path: Path) -> list[Record]:
    text = _text(path)
    try:
        if text.lstrip(_SPACE).startswith("["):
            found = list(_of_list(text, path))
        elif path.suffix.lower() == ".json" and (hint := _one_object(text)):
            raise InputError(Problem("expected a list of objects, found one object", path, 1, hint=hint))
        else:
            found = _of_lines(text, path)
    except RecursionError:
        raise InputError(Problem(_TOO_DEEP, path, hint="flatten them")) from None
    if _HALF_A_LETTER.search(text):
        _refuse_half_letters(found, path)
    return found


def _refuse_half_letters(records: list[Record], path: Path) -> None:
    """Raise InputError for escapes such as \\ud800 alone, which no tokenizer and no file can take."""
    problems = Problems()
    for record in records:
        if letter := _half_a_letter(record.value):
            message = f"{letter!r} is half of a letter"
            problems.found.append(record.problem(message, path, "write the letter itself, or both halves"))
            if len(problems.found) >= MOST_FAULTS:
                break
    problems.raise_if_any()


def _half_a_letter(value: Any) -> str | None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        return error.object[error.start]
    return None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _RefusedError(f"the key `{twice}` stands twice in an object", "remove or rename one of them")
    return found


def _constant(word: str) -> NoReturn:
    raise _RefusedError(f"not JSON: {word} is not a number", _NUMBER_HINT)


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _RefusedError(f"the number {text[:20]} is too large", _NUMBER_HINT)
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)


def _fault(error: ValueError, path: Path, line: int) -> Problem:
    hint = error.hint if isinstance(error, _RefusedError) else READABLE
    return Problem(_words(error), path, line, hint=hint)


def _words(error: ValueError) -> str:
    """Return what is wrong with a piece of JSON; Python refuses numbers of thousands of digits in its own words."""
    if isinstance(error, _RefusedError):
        return str(error)
    return f"not JSON: {error.msg if isinstance(error, json.JSONDecodeError) else str(error).partition(';')[0]}"


def _of_list(text: str, path: Path) -> Iterator[Record]:
    """Yield the items of a JSON list; decoded one by one, so that each has its line."""
    at, line, counted, row = text.index("[") + 1, 1, 0, 0
    while True:
        at = _past(text, at, _SPACE)
        if text[at : at + 1] == "]" and row == 0:
            break
        line, counted = line + text.count("\n", counted, at), at
        try:
            value, at = _DECODER.raw_decode(text, at)
        except ValueError as error:
            raise InputError(_fault(error, path, getattr(error, "lineno", line))) from None
        row += 1
        yield Record(row, line, value)
        at = _past(text, at, _SPACE)
        if text[at : at + 1] == "]":
            break
        if text[at : at + 1] != ",":
            where = text.count("\n", 0, at) + 1
            raise InputError(Problem("not JSON: Expecting ',' delimiter", path, where, hint=READABLE))
        at += 1
    if text[at + 1 :].strip(_SPACE):
        where = text.count("\n", 0, at) + 1
        raise InputError(Problem("not JSON: text after the end of the list", path, where, hint=READABLE))


def _past(text: str, at: int, letters: str) -> int:
    while at < len(text) and text[at] in letters:
        at += 1
    return at


def _one_object(text: str) -> str | None:
    """Return what to do with a file that is one object over several lines, or None where it is none."""
    if "\n" not in text.strip():
        return None  # one line of JSONL
    try:
        value = json.loads(text)
    except ValueError:
        return None
    lists = [name for name, item in value.items() if isinstance(item, list)] if isinstance(value, dict) else []
    return f"keep the list under `{lists[0]}` alone" if lists else "put it between `[` and `]`"


def _of_lines(text: str, path: Path) -> list[Record]:
    found: list[Record] = []
    problems = Problems()
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            found.append(Record(len(found) + 1, number, _DECODER.decode(line)))
        except ValueError as error:
            problems.found.append(_fault(error, path, number))
        if len(problems.found) >= MOST_FAULTS:
            break
    problems.raise_if_any()
    return found


def _csv(path: Path) -> list[Record]:
    """Read RFC 4180: commas, quotes doubled inside quotes, line ends of either kind, a header row."""
    text = _text(path)
    before = csv.field_size_limit(_MOST_OF_A_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        return _csv_rows(reader, path)
    except csv.Error as error:
        hint = 'put a field with a comma, a quote or a line end into quotes, and double the quotes inside: "a ""b"" c"'
        raise InputError(Problem(f"not CSV: {error}", path, reader.line_num, hint=hint)) from None
    finally:
        csv.field_size_limit(before)


def _csv_rows(reader: Any, path: Path) -> list[Record]:
    header: list[str] | None = None
    found: list[Record] = []
    problems = Problems()
    begins = 1
    for cells in reader:
        line, begins = begins, reader.line_num + 1
        if not cells:
            continue  # an empty line
        if header is None:
            header = _header(cells, path, line)
        elif len(cells) != len(header):
            hint = "put a field with a comma into quotes"
            message = f"{len(cells)} fields, the header row has {len(header)}"
            problems.add(message, source=path, line=line, hint=hint)
            if len(problems.found) >= MOST_FAULTS:
                break
        else:
            found.append(Record(len(found) + 1, line, dict(zip(header, cells, strict=True))))
    problems.raise_if_any()
    return found


def _header(cells: list[str], path: Path, line: int) -> list[str]:
    problems = Problems()
    for place, name in enumerate(cells):
        if not name.strip():
            problems.add(f"column {place + 1} has no name", source=path, line=line, hint="name it in the header row")
        elif name in cells[:place]:
            problems.add(f"the column `{name}` stands twice", source=path, line=line, hint="rename one of them")
    problems.raise_if_any()
    return cells


def _parquet(path: Path) -> list[Record]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        hint = "`pip install pyarrow`, or convert the file to JSONL"
        raise MissingError(Problem("reading Parquet needs pyarrow, which is not installed", path, hint=hint)) from None
    data = read_bytes(path)
    if not data:
        return []
    try:
        with parquet.ParquetFile(io.BytesIO(data)) as file:
            rows = file.read().to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        said = str(error).split(". ")[0].splitlines()[0].rstrip(".")
        hint = "the file is truncated, or something else; write it again"
        raise InputError(Problem(f"not a Parquet file: {said}", path, hint=hint)) from None
    return [Record(number, None, row) for number, row in enumerate(rows, start=1)]
