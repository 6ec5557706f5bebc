"""What was changed for one run since its design, by the design's own leave: on record in the journal. Reads only.

An adjustment says what the design said then. Where the design says something else now, a person has decided, and
the adjustment holds no more.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from tuneloop.experiment.expand import Run
from tuneloop.experiment.layout import Layout
from tuneloop.experiment.work import Setting

KIND: Final = "adjusted"  # of the journal's event


@dataclass(frozen=True)
class Adjustment:
    run: str
    values: Mapping[str, Any]
    design: Mapping[str, Any]  # what the design said of the same fields; None where it was silent
    why: str


def read_adjustments(layout: Layout) -> list[Adjustment]:
    """Return all adjustments on record, the oldest first. What is wrong with other lines is the journal's business."""
    try:
        lines = layout.journal.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        if f'"{KIND}"'.encode() not in line:  # one of thousands
            continue
        try:
            event = json.loads(line)
            if event["event"] == KIND:
                found.append(Adjustment(event["run"], event["values"], event["design"], event["why"]))
        except (ValueError, KeyError, TypeError):
            continue
    return found


def adjusted(runs: Sequence[Run], adjustments: Sequence[Adjustment]) -> list[Run]:
    """Return the runs as the design makes them, with what was adjusted since; the last adjustment of a run counts."""
    last = {item.run: item for item in adjustments}
    return [_with(run, last[run.name]) if run.name in last else run for run in runs]


def said(run: Run, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the design says of fields of a run."""
    return {name: run.value(name) for name in fields}


def _with(run: Run, item: Adjustment) -> Run:
    if said(run, item.values) != dict(item.design):
        return run
    changed = {name: Setting(value, f"after {item.why}") for name, value in item.values.items()}
    return replace(run, fields={**run.fields, **changed})
