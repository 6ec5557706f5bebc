"""The bridge to the work environment: JSON in, JSON out, one process a call.

The tool environment imports no torch; `call` asks `<python> -m <module> <verb>`, whose `serve` answers. A tool
may print what it likes: the answer travels on a stream of its own.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import FailedError, InputError, MissingError, Problem, TuneloopError
from tuneloop.experiment.work import Check, Estimate, Row, Scaffolded, from_json, to_json
from tuneloop.workers import Order, Worker

_ANSWERS: dict[str, Any] = {
    "versions": dict[str, str],
    "scaffold": Scaffolded,
    "estimate": dict[str, Estimate],
    "checks": list[Check],
    "rows": list[Row],
}


class Remote:
    """A worker as the tool environment sees it: the same verbs, answered by the work environment."""

    def __init__(self, worker: Worker, python: str) -> None:
        self.name, self.stage, self.module = worker.name, worker.stage, worker.module
        self.python = python

    def versions(self) -> Mapping[str, str]:
        return self._call("versions", None)  # type: ignore[no-any-return]

    def scaffold(self, order: Order) -> Scaffolded:
        return self._call("scaffold", order)  # type: ignore[no-any-return]

    def estimate(self, order: Order) -> Mapping[str, Estimate]:
        return self._call("estimate", order)  # type: ignore[no-any-return]

    def checks(self, order: Order) -> Sequence[Check]:
        return self._call("checks", order)  # type: ignore[no-any-return]

    def rows(self, order: Order) -> Sequence[Row]:
        return self._call("rows", order)  # type: ignore[no-any-return]

    def _call(self, verb: str, order: Order | None) -> Any:
        """Ask the work environment. Raises what the worker raised; FailedError when it broke."""
        request = "null" if order is None else json.dumps(to_json(order, Order))
        argv = [self.python, "-m", self.module, verb]
        try:
            done = subprocess.run(argv, input=request, capture_output=True, text=True, check=False)
        except OSError as error:
            hint = "set `python:` of the cluster profile in tuneloop.yaml"
            raise MissingError(
                f"no work environment for `{self.name}`: {self.python}: {error.strerror}", hint
            ) from None
        answer = done.stdout.rpartition("\n")[2] or done.stdout
        try:
            data = json.loads(answer)
        except json.JSONDecodeError:
            raise _broken(self.name, verb, done) from None
        if "error" in data:
            raise _revived(data["error"])
        return from_json(_ANSWERS[verb], data["answer"])


def serve(worker: Worker, steps: Mapping[str, Callable[[Sequence[str]], int]]) -> int:
    """Answer one verb of the command line; `steps` are the worker's own verbs, such as verify."""
    verb, *rest = sys.argv[1:] or [""]
    if verb in steps:
        return _step(steps[verb], rest)
    if verb not in _ANSWERS:
        known = ", ".join([*_ANSWERS, *steps])
        sys.stderr.write(f"{worker.module}: no verb {verb!r}; known: {known}\n")
        return 2
    with _own_stdout() as answer_to:
        answer = _answer(worker, verb)
        answer_to.write(json.dumps(answer))
    return 0


def _answer(worker: Worker, verb: str) -> dict[str, Any]:
    request = json.loads(sys.stdin.read() or "null")
    try:
        if verb == "versions":
            value: Any = worker.versions()
        else:
            value = getattr(worker, verb)(from_json(Order, request))
    except TuneloopError as error:
        problems = [problem.as_dict() for problem in error.problems]
        return {"error": {"exit": error.exit_code, "problems": problems}}
    return {"answer": to_json(value, _ANSWERS[verb])}


def _step(step: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """Run a step of a job's script; an error of the family becomes its words and exit code."""
    try:
        return step(arguments)
    except TuneloopError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code


@contextlib.contextmanager
def _own_stdout() -> Any:
    """Keep standard output for the answer; whatever a tool prints, even from C, goes to stderr."""
    kept = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    with os.fdopen(kept, "w") as stream:
        yield stream


def _revived(error: Mapping[str, Any]) -> TuneloopError:
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


def _broken(name: str, verb: str, done: subprocess.CompletedProcess[str]) -> TuneloopError:
    last = done.stderr.strip().splitlines()[-8:]
    text = "\n  ".join([f"worker `{name}` failed in `{verb}` (exit {done.returncode})", *last])
    if any("ModuleNotFoundError" in line for line in last):
        return MissingError(text, hint="`tuneloop doctor` says what the work environment lacks")
    return FailedError(text)
