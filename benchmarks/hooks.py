"""What a hook adds to a shell command and to a session's beginning, as the client starts it: the median of 20."""

import json
import os
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.experiments import ROOT
from tuneloop.documents.cache import status_file

_TIMES = 20
_EXPERIMENTS = 10  # that are going in the project of the measurement


def measure() -> Iterator[tuple[str, str, str]]:
    with tempfile.TemporaryDirectory() as place:
        project = Path(place)
        os.environ["XDG_STATE_HOME"] = str(project / "state")
        nothing, guarded = _event("ls"), _event("tuneloop run-experiment runs/e0 --yes 4f2a1b22")
        yield "hook before a command without tuneloop", _milliseconds("guard", nothing, project), "< 100 ms"
        yield "hook before a command that submits", _milliseconds("guard", guarded, project), "< 100 ms"
        yield "hook of a session where nothing goes", _milliseconds("session", {}, project), "< 100 ms"
        for number in range(_EXPERIMENTS):
            _remember(project / "runs" / f"e{number}")
        what = f"hook of a session with {_EXPERIMENTS} experiments going"
        yield what, _milliseconds("session", {}, project), "< 100 ms"


def _event(command: str) -> dict[str, Any]:
    return {"tool_name": "Bash", "tool_input": {"command": command}}


def _remember(experiment: Path) -> None:
    experiment.mkdir(parents=True)
    entry = status_file(experiment)
    entry.parent.mkdir(parents=True, exist_ok=True)
    value = {"experiment": str(experiment), "lock": "lock", "counts": {"running": 1, "waiting": 3}}
    entry.write_text(json.dumps(value))


def _milliseconds(name: str, event: dict[str, Any], project: Path) -> str:
    """Return the time that passes, and the CPU time in it, which other work on the machine does not lengthen."""
    line = f"'{ROOT}/hooks/launch' {name}"
    passed, used = [], []
    for _ in range(_TIMES):
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            ["sh", "-c", line],
            input=json.dumps(event | {"cwd": str(project)}).encode(),
            cwd=project,
            env=os.environ | {"CLAUDE_PROJECT_DIR": str(project)},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        passed.append(time.perf_counter() - began)
        used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return f"{statistics.median(passed) * 1000:.0f} ms, CPU {statistics.median(used) * 1000:.0f}"
