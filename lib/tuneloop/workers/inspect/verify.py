"""`verify`: the last step of a script. Reads the evaluation's log, gives the verdict and files the log.

A log counts when its status is `success`, it belongs to this request, and every sample was answered and scored;
however many metrics it shows, anything else is a failed evaluation. Can be killed anywhere and run again: the
log is filed before the verdict is written, and a filed log of the same request is verified where it lies.
"""

import argparse
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tuneloop.documents.files import make_folder
from tuneloop.experiment.fence import SupersededError, newest
from tuneloop.experiment.layout import RunLayout
from tuneloop.experiment.work import Verdict
from tuneloop.workers.inspect.request import COPY, Request, attempt_folder, read_request, write_verdict

DIGEST = "tuneloop_digest"  # in the log's metadata


def verify(arguments: Sequence[str]) -> int:
    """Return 0 for a good log, the exit code of inspect where it failed, 4 when a newer attempt goes, else 1."""
    parser = argparse.ArgumentParser(prog="verify")
    parser.add_argument("--exit-code", type=int, default=0, help="of `inspect eval`")
    code = parser.parse_args(arguments).exit_code
    attempt = attempt_folder()
    request = read_request(attempt / COPY)
    filed = RunLayout(Path.cwd()).eval_log(request.evaluation, request.epoch)
    log = _find_log(attempt, filed)
    verdict = judge(log, request, code)
    if verdict.ok and log is not None and log != filed:
        try:
            _file(log, filed, attempt)
        except SupersededError as error:
            verdict, code = Verdict(False, str(error)), error.exit_code
    write_verdict(attempt, verdict)
    print(f"verified: {verdict.reason}" if verdict.ok else f"not verified: {verdict.reason}")  # noqa: T201
    return 0 if verdict.ok else code or 1


def _file(log: Path, filed: Path, attempt: Path) -> None:
    """Put a log into its place. Raises SupersededError when a newer attempt at the evaluation has begun."""
    make_folder(filed.parent)
    with newest(attempt):
        log.replace(filed)


def judge(path: Path | None, request: Request, code: int = 0) -> Verdict:
    """Return whether the log at `path` is a whole answer to the request. `code` is the exit code of inspect."""
    ended = f" (exit code {code})" if code else ""
    if path is None:
        return Verdict(False, f"inspect wrote no log{ended}")
    log = _read(path)
    if log is None:
        return Verdict(False, f"the log cannot be read{ended}")
    facts = {"status": log.status, "inspect_ai": log.eval.packages.get("inspect_ai")}
    fault = next(_faults(log, path, request), None)
    if fault is None and code:
        fault = f"inspect ended with exit code {code}"
    if fault is not None:
        return Verdict(False, fault, facts)
    facts |= {"samples": request.samples, "metrics": _metrics(log), "chat_template": _template(log)}
    facts |= {"generation": generation(log), "scorers": _scorers(log)}
    return Verdict(True, f"{request.samples} samples, all scored", facts)


def _find_log(attempt: Path, filed: Path) -> Path | None:
    """Return the attempt's log; when an earlier verify was killed after filing it, the filed one."""
    logs = sorted(attempt.glob("*.eval"))
    if logs:
        return logs[-1]
    return filed if filed.is_file() else None


def _read(path: Path) -> Any:
    from inspect_ai.log import read_eval_log

    try:
        return read_eval_log(path, header_only=True)
    except Exception:  # noqa: BLE001 (a torn log fails in zip, JSON or pydantic)
        return None


def _faults(log: Any, path: Path, request: Request) -> Iterator[str]:
    if log.status != "success":
        said = f": {log.error.message.strip().splitlines()[0]}" if log.error and log.error.message.strip() else ""
        yield f"the evaluation ended with the status `{log.status}`{said}"
        return
    if (log.eval.metadata or {}).get(DIGEST) != request.digest:
        yield "the log belongs to another version of this evaluation"
    if log.results is None or not log.results.scores:
        yield "the log has no scores"
        return
    total, completed = log.results.total_samples, log.results.completed_samples
    if not total == completed == request.samples:
        yield f"{completed} of {request.samples} samples were completed"
    yield from _sample_faults(path, request, {item.name for item in log.eval.scorers or []})


def _sample_faults(path: Path, request: Request, scorers: set[str]) -> Iterator[str]:
    from inspect_ai.log import read_eval_log_sample_summaries

    samples = read_eval_log_sample_summaries(path)
    if len(samples) != request.samples:
        yield f"the log holds {len(samples)} of {request.samples} samples"
    errors = [sample for sample in samples if sample.error]
    if errors:
        first = str(errors[0].error).strip().splitlines()[0]
        yield f"{len(errors)} of {len(samples)} samples had an error, the first: {first}"
    unscored = [sample for sample in samples if not _scored(sample, scorers)]
    if unscored:
        yield f"{len(unscored)} of {len(samples)} samples were not scored"


def _scored(sample: Any, scorers: set[str]) -> bool:
    scores = sample.scores or {}
    if not scores or not len(scores) >= len(scorers):
        return False
    return not any(isinstance(score.value, float) and math.isnan(score.value) for score in scores.values())


def _metrics(log: Any) -> dict[str, float]:
    return {
        f"{score.name}/{name}": metric.value for score in log.results.scores for name, metric in score.metrics.items()
    }


def generation(log: Any) -> dict[str, Any]:
    """Return the generation settings that were used: those of the task under those of the request, as inspect merged
    them, and whether answers were sampled."""
    used: dict[str, Any] = log.plan.config.model_dump(mode="json", exclude_none=True)
    used.pop("max_connections", None)  # how many at once, which decides no answer
    sampled = (log.eval.model_args or {}).get("do_sample")
    return used if sampled is None else {**used, "do_sample": sampled}


def _scorers(log: Any) -> dict[str, Any]:
    """Return the options of each scorer that has some, such as a tolerance, or a judge with its settings."""
    return {item.name: item.options for item in log.eval.scorers or [] if item.options}


def _template(log: Any) -> str:
    return "the training's" if (log.eval.model_args or {}).get("chat_template") else "the model's own"
