"""What prepare refuses, which logs verify accepts, and what rows reads from them.

The logs are inspect's own, made with its built-in model that answers without weights.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inspect_support import HEAD, make_experiment, order_of, step, verdict, write

from tuneloop.experiment.fence import entering
from tuneloop.experiment.work import Row, Verdict, from_json
from tuneloop.workers.inspect import worker
from tuneloop.workers.inspect.request import Request, read_request
from tuneloop.workers.inspect.rows import log_rows
from tuneloop.workers.inspect.verify import judge, verify

pytestmark = pytest.mark.slow

TASK = """\
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import Score, accuracy, mean, match, scorer, stderr
from inspect_ai.solver import generate, solver

@solver
def answer(fail_at=None):
    async def solve(state, generate):
        if state.sample_id == fail_at:
            raise ValueError("the tool broke")
        state.output.completion = "Yes" if int(state.sample_id) <= 6 else "No"
        return state
    return solve

@scorer(metrics={"length": [mean()], "vowels": [mean(), stderr()]})
def shape():
    async def score(state, target):
        text = state.output.completion
        return Score(value={"length": len(text), "vowels": sum(letter in "aeiou" for letter in text)})
    return score

@scorer(metrics=[accuracy()])
def graded():
    async def score(state, target):
        # A repeat of a sample is graded differently.
        return Score(value="C" if state.epoch == 1 else "P" if state.epoch == 2 else "N")
    return score

@task
def small(count: int = 8, fail_at: int | None = None, epochs: int = 1, tolerant: bool = False):
    long = "x" * 200
    return Task(
        dataset=[Sample(id=n, input=f"{long} {n}", target="Yes") for n in range(1, count + 1)],
        solver=answer(fail_at),
        scorer=[match(location="exact"), shape(), graded()],
        epochs=epochs,
        fail_on_error=not tolerant,
    )
"""


def requested(**changes: Any) -> Request:
    values: dict[str, Any] = {
        "schema": "tuneloop.inspect/1",
        "run": "control",
        "evaluation": "cap",
        "epoch": None,
        "digest": "d1",
        "task": "small",
        "args": {},
        "files": {},
        "model": {"path": "m", "tokenizer": "m", "chat_template": None, "device": "cpu"},
        "generation": {},
        "sampling": False,
        "samples": 8,
        "limit": None,
    }
    request: Request = from_json(Request, values | changes)
    return request


# In a process of its own: an evaluation leaves streams open, and here warnings are errors.
MAKE_LOGS = """\
import json, pathlib, sys
from inspect_ai import eval as evaluate

folder, asked = sys.argv[1], json.loads(sys.argv[2])
for arguments in asked:
    name = json.dumps(arguments, sort_keys=True)
    [log] = evaluate(
        f"{folder}/small.py@small",
        model="mockllm/model",
        task_args=arguments,
        log_dir=folder,
        metadata={"tuneloop_digest": "d1"},
        display="none",
    )
    pathlib.Path(log.location).rename(f"{folder}/{asked.index(arguments)}.eval")
"""
LOGS: list[dict[str, Any]] = [
    {},
    {"epochs": 3},
    {"fail_at": 3},
    {"fail_at": 3, "tolerant": True},
    {"count": 10},
    {"count": 9},
]


@pytest.fixture(scope="module")
def make_log(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function from the arguments of the small task to a copy of its log."""
    folder = tmp_path_factory.mktemp("logs")
    (folder / "small.py").write_text(TASK)
    argv = [sys.executable, "-c", MAKE_LOGS, str(folder), json.dumps(LOGS)]
    subprocess.run(argv, env=os.environ | {"XDG_DATA_HOME": str(folder)}, check=True)

    def make(**arguments: Any) -> Path:
        made = folder / f"{LOGS.index(arguments)}.eval"
        return Path(shutil.copy(made, tmp_path_factory.mktemp("log") / "log.eval"))

    return make


def changed(log: Path, change: Any) -> Path:
    """Write the log again with a change made to it."""
    from inspect_ai.log import read_eval_log, write_eval_log

    value = read_eval_log(log)
    change(value)
    path = log.with_name("changed.eval")
    write_eval_log(value, path)
    return path


def test_a_whole_log_is_verified(make_log: Callable[..., Path]) -> None:
    found = judge(make_log(), requested())
    assert (found.ok, found.reason) == (True, "8 samples, all scored")
    assert found.facts["samples"] == 8
    assert found.facts["metrics"] | {"match/accuracy": 0.75, "length/mean": 2.75} == found.facts["metrics"]
    assert found.facts["chat_template"] == "the model's own"
    assert found.facts["generation"] == {}
    assert found.facts["scorers"] == {"match": {"location": "exact"}}


def test_every_repeat_of_a_sample_counts(make_log: Callable[..., Path]) -> None:
    log = make_log(epochs=3)
    assert judge(log, requested(samples=24)).ok
    assert judge(log, requested(samples=8)).reason == "24 of 8 samples were completed"


def test_an_errored_sample_fails_the_evaluation(make_log: Callable[..., Path]) -> None:
    found = judge(make_log(fail_at=3), requested(), code=1)
    assert not found.ok
    assert found.reason == "the evaluation ended with the status `error`: ValueError('the tool broke')"


def test_a_tolerant_task_fails_all_the_same(make_log: Callable[..., Path]) -> None:
    found = judge(make_log(fail_at=3, tolerant=True), requested())
    assert found.reason == "7 of 8 samples were completed"


@pytest.mark.parametrize("status", ["started", "cancelled", "error"])
def test_only_the_status_success_counts(make_log: Callable[..., Path], status: str) -> None:
    def change(log: Any) -> None:
        log.status = status

    assert judge(changed(make_log(), change), requested()).reason == f"the evaluation ended with the status `{status}`"


def drop_a_sample(log: Any) -> None:
    del log.samples[2]


def drop_a_score(log: Any) -> None:
    del log.samples[2].scores["match"]


def drop_all_scores(log: Any) -> None:
    log.samples[2].scores = {}


def hide_an_error(log: Any) -> None:
    from inspect_ai.log import EvalError

    log.samples[2].error = EvalError(message="out of memory", traceback="", traceback_ansi="")


def score_nothing(log: Any) -> None:
    log.samples[2].scores["match"].value = float("nan")


def belong_elsewhere(log: Any) -> None:
    log.eval.metadata = {"tuneloop_digest": "d0"}


def forget_results(log: Any) -> None:
    log.results.scores = []


@pytest.mark.parametrize(
    "change, reason",
    [
        (drop_a_sample, "the log holds 7 of 8 samples"),
        (drop_a_score, "1 of 8 samples were not scored"),
        (drop_all_scores, "1 of 8 samples were not scored"),
        (hide_an_error, "1 of 8 samples had an error, the first: out of memory"),
        (score_nothing, "1 of 8 samples were not scored"),
        (belong_elsewhere, "the log belongs to another version of this evaluation"),
        (forget_results, "the log has no scores"),
    ],
)
def test_metrics_alone_prove_nothing(make_log: Callable[..., Path], change: Any, reason: str) -> None:
    found = judge(changed(make_log(), change), requested())
    assert (found.ok, found.reason) == (False, reason)


def test_a_torn_log_is_no_log(make_log: Callable[..., Path], tmp_path: Path) -> None:
    torn = tmp_path / "torn.eval"
    torn.write_bytes(make_log().read_bytes()[:-200])
    assert judge(torn, requested()) == Verdict(False, "the log cannot be read")
    assert judge(None, requested(), code=137) == Verdict(False, "inspect wrote no log (exit code 137)")


def test_a_failed_command_is_never_verified(make_log: Callable[..., Path]) -> None:
    assert judge(make_log(), requested(), code=3).reason == "inspect ended with exit code 3"


def test_rows_say_what_inspect_counted(make_log: Callable[..., Path]) -> None:
    found = list(log_rows(make_log(), "d1", "r", "cap", 1))
    samples = [row for row in found if row.sample is not None]
    assert {row.scorer for row in samples} == {"match", "shape/length", "shape/vowels", "graded"}
    first = next(row for row in samples if row.sample == "1" and row.scorer == "match")
    # The long input is not a reference to an attachment.
    assert first == Row("r", "cap", "score", 1.0, 1, None, "match", "1", f"{'x' * 200} 1", "Yes", "Yes")
    assert [row.value for row in samples if row.scorer == "match"] == [1.0] * 6 + [0.0] * 2
    assert [row.value for row in samples if row.scorer == "shape/length"] == [3.0] * 6 + [2.0] * 2
    totals = {(row.scorer, row.metric): row.value for row in found if row.sample is None}
    assert totals[("match", "accuracy")] == 0.75
    assert totals[("shape/length", "mean")] == 2.75
    assert {metric for scorer, metric in totals if scorer == "shape/vowels"} == {"mean", "stderr"}


def test_repeats_become_their_mean(make_log: Callable[..., Path]) -> None:
    found = [row for row in log_rows(make_log(epochs=3), "d1", "r", "cap", 1) if row.sample is not None]
    assert len(found) == 8 * 4
    assert {row.value for row in found if row.scorer == "graded"} == {0.5}  # of C, P and N


def test_stale_and_missing_logs_have_no_rows(make_log: Callable[..., Path], tmp_path: Path) -> None:
    assert list(log_rows(make_log(), "d2", "r", "cap", 1)) == []
    assert list(log_rows(make_log(), None, "r", "cap", 1)) == []
    assert list(log_rows(tmp_path / "none.eval", "d1", "r", "cap", 1)) == []
    assert list(log_rows(make_log(fail_at=3), "d1", "r", "cap", 1)) == []


@pytest.fixture
def control(tmp_path: Path) -> Path:
    """Return the folder of a scaffolded control run."""
    order = order_of(make_experiment(tmp_path / "x"))
    write(tmp_path / "x", worker.scaffold(order))
    return tmp_path / "x/control"


def test_prepare_writes_inspects_own_files(control: Path, tmp_path: Path) -> None:
    (control.parent / "rank4/chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    done = step(control, tmp_path / "a", "prepare", "eval/cap_base.json")
    assert (done.returncode, done.stderr) == (0, "")
    model = json.loads((tmp_path / "a/model.json").read_text())
    assert model == {
        "model_path": HEAD["model"],
        "tokenizer_path": HEAD["model"],
        "device": "cpu",
        "do_sample": False,
        "chat_template": "{{ messages[0]['content'] }}",
        "tokenizer_call_args": {"add_special_tokens": False},
    }
    task = json.loads((tmp_path / "a/task.json").read_text())
    assert task["data"] == str(control.parent / "data/test.jsonl")
    assert json.loads((tmp_path / "a/generate.json").read_text())["max_tokens"] == 8
    assert read_request(tmp_path / "a/request.json") == read_request(control / "eval/cap_base.json")


def test_prepare_refuses_other_data(control: Path, tmp_path: Path) -> None:
    with (control.parent / "data/test.jsonl").open("a") as file:
        file.write('{"word": "a", "capitalized": "A"}\n')
    done = step(control, tmp_path / "a", "prepare", "eval/cap_base.json")
    assert done.returncode == 1
    assert done.stderr == (
        "error: ../data/test.jsonl: changed since it was scaffolded\n"
        "  hint: scaffold again; results from the old one are stale\n"
    )
    assert json.loads((tmp_path / "a/verified.json").read_text())["reason"] == "changed since it was scaffolded"


def test_prepare_refuses_another_digest(control: Path, tmp_path: Path) -> None:
    done = step(control, tmp_path / "a", "prepare", "eval/cap_base.json", TUNELOOP_DIGEST="older")
    assert done.returncode == 1
    assert "scaffolded again after this job was handed over" in done.stderr


@pytest.mark.parametrize(
    "files, reason",
    [
        (None, "no such model folder"),
        ({"model.safetensors": ""}, "no config.json in the model folder"),
        ({"adapter_config.json": "{}"}, "the adapter does not name its base model"),
        (
            {"adapter_config.json": '{"base_model_name_or_path": "/gone/away"}'},
            "the adapter's base model is not there: /gone/away",
        ),
    ],
)
def test_prepare_refuses_what_is_no_model(
    control: Path, tmp_path: Path, files: dict[str, str] | None, reason: str
) -> None:
    run = control.parent / "rank4"
    for name, text in (files or {}).items():
        (run / "epoch_0").mkdir(exist_ok=True)
        (run / "epoch_0" / name).write_text(text)
    done = step(run, tmp_path / "a", "prepare", "eval/cap_epoch0.json")
    assert done.returncode == 1
    assert json.loads((tmp_path / "a/verified.json").read_text()) == {"ok": False, "reason": reason, "facts": {}}


def test_steps_belong_to_an_attempt(control: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TUNELOOP_ATTEMPT"}
    argv = [sys.executable, "-m", "tuneloop.workers.inspect", "verify"]
    done = subprocess.run(argv, cwd=control, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: no attempt claimed")


def place_log(run: Path, attempt: Path, log: Path) -> None:
    """Put a log where `inspect eval` would have left it, with the digest of the request."""
    request = read_request(run / "eval/cap_base.json")

    def change(value: Any) -> None:
        value.eval.metadata = {"tuneloop_digest": request.digest}

    changed(log, change).rename(attempt / "2026_cap.eval")


@pytest.fixture
def verified(control: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Return the step verify, called in this process: inspect takes a second to import."""

    def call(attempt: Path, *arguments: str) -> int:
        monkeypatch.chdir(control)
        monkeypatch.setenv("TUNELOOP_ATTEMPT", str(attempt))
        return verify(arguments)

    return call


def test_verify_killed_after_filing_runs_again(
    control: Path, verified: Callable[..., int], make_log: Callable[..., Path]
) -> None:
    attempt = control / ".attempts/cap_base/t.0"
    assert step(control, attempt, "prepare", "eval/cap_base.json").returncode == 0
    place_log(control, attempt, make_log(count=10))
    assert verified(attempt) == 0
    assert verdict(control)["ok"]
    assert (control / "eval/logs/cap_base.eval").is_file()
    (attempt / "verified.json").unlink()
    assert verified(attempt) == 0
    assert verdict(control)["ok"]


def test_a_bad_log_never_replaces_a_good_one(
    control: Path, verified: Callable[..., int], make_log: Callable[..., Path]
) -> None:
    good, bad = control / ".attempts/cap_base/t.0", control / ".attempts/cap_base/t.1"
    for attempt, count in ((good, 10), (bad, 9)):
        step(control, attempt, "prepare", "eval/cap_base.json")
        place_log(control, attempt, make_log(count=count))
    assert verified(good) == 0
    filed = (control / "eval/logs/cap_base.eval").read_bytes()
    assert verified(bad, "--exit-code", "0") == 1
    assert (control / "eval/logs/cap_base.eval").read_bytes() == filed
    assert verdict(control)["reason"] == "9 of 10 samples were completed"


def test_a_superseded_attempt_files_nothing(
    control: Path, verified: Callable[..., int], make_log: Callable[..., Path]
) -> None:
    older, newer = control / ".attempts/cap_base/t.0", control / ".attempts/cap_base/t.1"
    for attempt in (older, newer):
        step(control, attempt, "prepare", "eval/cap_base.json")
        place_log(control, attempt, make_log(count=10))
        with entering(attempt.parent, attempt.name):
            pass
    assert verified(older) == 4
    assert json.loads((older / "verified.json").read_text())["reason"] == "superseded by t.1"
    assert not (control / "eval/logs/cap_base.eval").exists()
    assert verified(newer) == 0
    assert (control / "eval/logs/cap_base.eval").is_file()


def test_verify_passes_the_exit_code_on(control: Path) -> None:
    attempt = control / ".attempts/cap_base/t.0"
    step(control, attempt, "prepare", "eval/cap_base.json")
    done = step(control, attempt, "verify", "--exit-code", "137")
    assert (done.returncode, done.stdout) == (137, "not verified: inspect wrote no log (exit code 137)\n")
    assert verdict(control)["reason"] == "inspect wrote no log (exit code 137)"
