"""The bridge to the work environment: JSON in, JSON out, one process a call.

The tool environment imports no torch; `call` asks `<python> -m <module> <verb>`, whose `serve` answers. A tool
may print what it likes: the answer travels on a stream of its own.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tuneloop.documents.errors import FailedError, InputError, MissingError, Problem, TuneloopError
from tuneloop.experiment.work import Check, Estimate, Row, Scaffolded, from_json, to_json
from tuneloop.workers import Order, Worker
from tuneloop.workers.models import Exported, ExportRequest, Sampled, SampleRequest

_ANSWERS: dict[str, Any] = {
    "versions": dict[str, str],
    "scaffold": Scaffolded,
    "estimate": dict[str, Estimate],
    "checks": list[Check],
    "rows": list[Row],
    "smaller": dict[str, dict[str, Any]],
    "sample": Sampled,
    "export": Exported,
}
# Verbs that are asked about a model and not about an experiment; only workers that train know them.
_REQUESTS: dict[str, Any] = {"sample": SampleRequest, "export": ExportRequest}


class Remote:
    """A worker as the tool environment sees it: the same verbs, answered by the work environment."""

    def __init__(self, worker: Worker, python: str) -> None:
        self.name, self.stage, self.module = worker.name, worker.stage, worker.module
        self.python = python

    def versions(self) -> Mapping[str, str]:
        return self.ask(None, "versions")["versions"]  # type: ignore[no-any-return]

    def scaffold(self, order: Order) -> Scaffolded:
        return self.ask(order, "scaffold")["scaffold"]  # type: ignore[no-any-return]

    def estimate(self, order: Order) -> Mapping[str, Estimate]:
        return self.ask(order, "estimate")["estimate"]  # type: ignore[no-any-return]

    def checks(self, order: Order) -> Sequence[Check]:
        return self.ask(order, "checks")["checks"]  # type: ignore[no-any-return]

    def rows(self, order: Order) -> Sequence[Row]:
        return self.ask(order, "rows")["rows"]  # type: ignore[no-any-return]

    def smaller(self, order: Order) -> Mapping[str, Mapping[str, Any]]:
        return self.ask(order, "smaller")["smaller"]  # type: ignore[no-any-return]

    def sample(self, request: SampleRequest) -> Sampled:
        return self._asked({"request": to_json(request)}, "sample")["sample"]  # type: ignore[no-any-return]

    def export(self, request: ExportRequest) -> Exported:
        return self._asked({"request": to_json(request)}, "export")["export"]  # type: ignore[no-any-return]

    def ask(self, order: Order | None, *verbs: str) -> dict[str, Any]:
        """Return the answers to several verbs from one process: starting one costs seconds.

        Raises what the worker raised; MissingError or FailedError when it broke.
        """
        return self._asked({"order": None if order is None else to_json(order, Order)}, *verbs)

    def _asked(self, request: Mapping[str, Any], *verbs: str) -> dict[str, Any]:
        argv = [self.python, "-m", self.module, *verbs]
        try:
            done = subprocess.run(argv, input=json.dumps(request), capture_output=True, text=True, check=False)
        except OSError as error:
            message = f"no work environment for `{self.name}`: {self.python}: {error.strerror}"
            raise MissingError(message, hint="set `python:` of the cluster profile in tuneloop.yaml") from None
        try:
            data = json.loads(done.stdout)
        except json.JSONDecodeError:
            raise broken(self.name, verbs, done) from None
        if "error" in data:
            raise revived(data["error"])
        return {verb: from_json(_ANSWERS[verb], data["answers"][verb]) for verb in verbs}


def serve(worker: Worker, steps: Mapping[str, Callable[[Sequence[str]], int]]) -> int:
    """Answer the verbs on the command line, or do one of the `steps`: the worker's own, such as verify."""
    verbs = sys.argv[1:]
    if verbs and verbs[0] in steps:
        return _step(steps[verbs[0]], verbs[1:])
    unknown = [verb for verb in verbs if verb not in _ANSWERS]
    if unknown or not verbs:
        known = ", ".join([*_ANSWERS, *steps])
        sys.stderr.write(f"{worker.module}: expected one of {known}, found {' '.join(verbs) or 'nothing'}\n")
        return 2
    with _own_stdout() as answer_to:
        answer_to.write(json.dumps(_answers(worker, verbs)))
    return 0


def _answers(worker: Worker, verbs: Sequence[str]) -> dict[str, Any]:
    request = json.loads(sys.stdin.read())
    try:
        answers = {verb: _answer(worker, verb, request) for verb in verbs}
    except TuneloopError as error:
        problems = [problem.as_dict() for problem in error.problems]
        return {"error": {"exit": error.exit_code, "problems": problems}}
    return {"answers": answers}


def _answer(worker: Worker, verb: str, request: Mapping[str, Any]) -> Any:
    answer = getattr(worker, verb, None)
    if answer is None:
        raise MissingError(f"the worker `{worker.name}` does not know `{verb}`", hint="ask the worker that trains")
    if verb == "versions":
        value = answer()
    elif verb in _REQUESTS:
        value = answer(from_json(_REQUESTS[verb], request["request"]))
    else:
        value = answer(None if request["order"] is None else from_json(Order, request["order"]))
    return to_json(value, _ANSWERS[verb])


def _step(step: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """Run a step of a job's script; an error of the family becomes its words and exit code."""
    try:
        return step(arguments)
    except TuneloopError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code


@contextlib.contextmanager
def _own_stdout() -> Iterator[IO[str]]:
    """Keep standard output for the answer; whatever a tool prints, even from C, goes to stderr."""
    kept = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    with os.fdopen(kept, "w") as stream:
        yield stream


def revived(error: Mapping[str, Any]) -> TuneloopError:
    """Return an error that crossed from another process as `{exit, problems}`."""
    problems = [
        Problem(
            item["message"],
            None if item["file"] is None else Path(item["file"]),
            item["line"],
            item["key"],
            item["hint"],
        )
        for item in error["problems"]
    ]
    kinds = {kind.exit_code: kind for kind in (InputError, MissingError)}
    return kinds.get(error["exit"], FailedError)(problems)


def broken(name: str, verbs: Sequence[str], done: subprocess.CompletedProcess[str]) -> TuneloopError:
    """Return the error for a worker's process that ended without an answer."""
    last = done.stderr.strip().splitlines()[-8:]
    asked = ", ".join(verbs)
    text = "\n  ".join([f"worker `{name}` failed in `{asked}` (exit {done.returncode})", *last])
    if any("ModuleNotFoundError" in line for line in last):
        return MissingError(text, hint="install it there; `python:` of the cluster profile names the environment")
    return FailedError(text)
