"""The request: everything one evaluation needs, as a small JSON file beside its script.

Scaffold writes it, `prepare` turns it into inspect's own config files, `verify` compares the log with it. Its
paths are relative to the run's folder; an absolute one lies outside the experiment.
"""

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import InputError, Problem
from tuneloop.documents.files import read_text, write_json
from tuneloop.experiment.layout import RunLayout
from tuneloop.experiment.work import Verdict, from_json, to_json

SCHEMA = "tuneloop.inspect/1"
# In the attempt's folder.
COPY = "request.json"
VERDICT = "verified.json"


@dataclass(frozen=True)
class Model:
    """What is evaluated. `chat_template` is the training's, used where the file exists; None: the model's own."""

    path: str
    tokenizer: str
    chat_template: str | None
    device: str


@dataclass(frozen=True)
class Request:
    schema: str
    run: str
    evaluation: str
    epoch: int | None  # None: the model as it is
    digest: str  # of every input that decides the result
    task: str  # FILE.py@TASK, or a registered task
    args: Mapping[str, Any]  # of the task; `data` is a path
    files: Mapping[str, str]  # path to hash: what must not have changed since scaffolding
    model: Model
    generation: Mapping[str, Any]
    sampling: bool  # False: greedy
    samples: int  # how many the log must hold: dataset, limit and epochs of the task taken together
    limit: int | None


def request_path(run: RunLayout, evaluation: str, epoch: int | None) -> Path:
    return run.eval_request(evaluation, epoch)


def render_request(request: Request) -> str:
    return json.dumps(to_json(request), indent=1, ensure_ascii=False) + "\n"


def read_request(path: Path) -> Request:
    """Raises InputError when the file is not a request."""
    request: Request | None = None
    with contextlib.suppress(ValueError):  # as pydantic's errors and json's are
        request = from_json(Request, json.loads(read_text(path)))
    if request is None or request.schema != SCHEMA:
        raise InputError(Problem("not a request of this worker", path, hint="scaffold again"))
    return request


def attempt_folder() -> Path:
    """Return the folder of the attempt that this step belongs to. Raises InputError outside of one."""
    folder = os.environ.get("TUNELOOP_ATTEMPT")
    if not folder:
        raise InputError("no attempt claimed: TUNELOOP_ATTEMPT is not set", hint="run the script, not its steps")
    return Path(folder)


def write_verdict(attempt: Path, verdict: Verdict) -> None:
    write_json(attempt / VERDICT, to_json(verdict))
