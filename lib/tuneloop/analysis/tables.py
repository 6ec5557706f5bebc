"""The results in long form, as Parquet and as CSV with the same content. Pure: bytes out.

One line a row of the workers, with the run's kind, seed and variables beside it. CSV as Arrow writes it: text is
quoted and a missing value is not, so that an empty answer and no answer stay two things.
"""

import io
import json
from collections.abc import Sequence
from typing import Any

from tuneloop.analysis.results import Analysis
from tuneloop.experiment.expand import Run

_ROW = ("source", "epoch", "step", "scorer", "metric", "sample", "value", "input", "target", "output")
_TYPES = {"epoch": "int64", "step": "int64", "value": "float64"}


def results_table(analysis: Analysis) -> Any:
    """Return a pyarrow Table: run, kind, seed, the variables, then the columns of a row."""
    import pyarrow as pa

    runs = {run.name: run for run in analysis.runs}
    of_row = [runs[row.run] for row in analysis.rows]
    columns: dict[str, Any] = {
        "run": pa.array([run.name for run in of_row], pa.string()),
        "kind": pa.array([run.kind for run in of_row], pa.string()),
        "seed": pa.array([run.seed for run in of_row], pa.int64()),
    }
    for variable in _variables(analysis.runs):
        name = variable if variable not in {*columns, *_ROW} else f"variable.{variable}"
        columns[name] = _values([run.cell.get(variable) for run in of_row])
    for name in _ROW:
        values = [getattr(row, name) for row in analysis.rows]
        kind = _TYPES.get(name, "string")
        columns[name] = pa.array([_text(item) for item in values] if kind == "string" else values, kind)
    return pa.table(columns)


def parquet(table: Any) -> bytes:
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def csv(table: Any) -> bytes:
    from pyarrow import csv as arrow_csv

    buffer = io.BytesIO()
    arrow_csv.write_csv(table, buffer)
    return buffer.getvalue()


def _variables(runs: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(name for run in runs for name in run.cell))


def _values(values: Sequence[Any]) -> Any:
    """Return a column of one type; values of several kinds, or lists, become text."""
    import pyarrow as pa

    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} and kinds != {int}:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    if kinds in ({int}, {bool}):
        return pa.array(values, pa.bool_() if kinds == {bool} else pa.int64())
    texts = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
    return pa.array([_text(text) for text in texts], pa.string())


def _text(text: str | None) -> str | None:
    """Half a surrogate pair, which a truncated answer may end in, is not UTF-8."""
    return None if text is None else text.encode("utf-8", "replace").decode()
