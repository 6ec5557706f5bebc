"""Likely causes are recognised from what the tools really say: the real libraries are made to fail."""

import ast
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import own_words
import pytest
import real_failures
import recorded

from lab import as_json, cli, make_echo, plan_id, run, until
from places import fill
from tuneloop.documents.config import Profile
from tuneloop.experiment.design import DataEntry, Design, Evaluation
from tuneloop.experiment.layout import Layout
from tuneloop.experiment.script import directives
from tuneloop.experiment.work import JobSpec, Shape, Site, Token, train_key
from tuneloop.jobs.board import Board
from tuneloop.jobs.causes import TABLE, Evidence, likely_cause
from tuneloop.jobs.facts import Attempt
from tuneloop.jobs.failures import Failure, failures
from tuneloop.jobs.native import Native
from tuneloop.jobs.state import Intent, JobStatus
from tuneloop.workers.torchtune.fields import FIELDS

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "examples" / "tiny-base"
MEMORY, DISK, FIT = "out of memory", "the disk is full", "weights and model do not fit together"
TORN = "a weight file is damaged, cut off, or only a pointer to the real one"
CONFIG = "torchtune cannot build a component from the config"
HUB = "something asks the Hugging Face hub, and jobs run offline"
TEMPLATE = "the chat template fails on a conversation"
GPU = "it wants a GPU, and this torch or machine has none that works"
UNREADABLE = "transformers cannot read the model's config.json"
TOKENIZER = "the tokenizer's files cannot be read"
DATA = "a data file lacks a row, a column or a valid line"
NAN = "the loss or the weights are not numbers any more"
TASK = "the task's own code, a solver or a scorer, raised an error"

# What each failure of real_failures.py is taken for.
EXPECTED = {
    "a_huge_tensor": MEMORY,
    "a_huge_array": MEMORY,
    "a_python_object_beyond_the_limit": MEMORY,
    "weights_of_another_shape": FIT,
    "weights_of_another_model": FIT,
    "a_product_of_other_shapes": FIT,
    "a_token_beyond_the_vocabulary": "a token number lies outside the model's vocabulary",
    "a_gpu_that_torch_lacks": GPU,
    "a_torn_checkpoint": TORN,
    "sampling_from_nan": NAN,
    "a_package_that_is_not_there": "the work environment lacks a package, or has another version of it",
    "a_file_that_is_not_there": "a file is missing",
    "a_file_beyond_the_limit": "a file outgrew the limit on file sizes",
    "too_many_files": "too many files are open",
    "half_a_weight_file": TORN,
    "the_pointer_to_a_weight_file": TORN,
    "no_weight_file": "the model folder lacks a file",
    "a_config_of_another_size": FIT,
    "an_unknown_architecture": UNREADABLE,
    "half_a_config": UNREADABLE,
    "a_broken_tokenizer": TOKENIZER,
    "a_tokenizer_of_another_kind": TOKENIZER,
    "a_model_on_the_hub": HUB,
    "a_file_on_the_hub": HUB,
    "a_question_to_the_hub": HUB,
    "a_folder_that_is_not_there": "the model folder is not there",
    "a_template_with_a_slip": TEMPLATE,
    "a_template_that_refuses": TEMPLATE,
    "a_template_with_an_unknown_name": TEMPLATE,
    "no_template": TEMPLATE,
    "rows_that_are_not_json": DATA,
    "a_data_file_that_is_not_there": DATA,
    "a_component_of_no_module": CONFIG,
    "a_section_without_a_component": CONFIG,
    "an_argument_that_nobody_takes": CONFIG,
    "a_key_that_is_not_there": CONFIG,
    "a_value_that_nobody_gave": CONFIG,
    "an_interpolation_of_nothing": CONFIG,
    "bf16_where_there_is_none": "this machine cannot compute in bf16",
    "samples_without_an_input": DATA,
    "samples_that_are_not_json": DATA,
    "a_task_without_samples": DATA,
    "a_task_that_is_not_there": "the evaluation's task cannot be loaded",
    "a_grader_without_a_key": "the task asks a model behind an API, and its key is not set",
    "a_service_that_is_not_there": "it needs the network, and did not reach it",
    "text_on_a_full_disk": DISK,
    "a_checkpoint_on_a_full_disk": DISK,
    "an_adapter_on_a_full_disk": DISK,
}


def said(group: str, folder: Path) -> dict[str, str]:
    """Return what the failures of a group said, each by its name."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", real_failures.__file__, str(MODEL), str(folder), group],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


def causes(texts: dict[str, str]) -> dict[str, str | None]:
    return {name: likely_cause(Evidence(text))[0] for name, text in texts.items()}


def test_every_failure_is_expected() -> None:
    made = [function.__name__ for group in real_failures.GROUPS.values() for function in group]
    assert sorted(made) == sorted(EXPECTED)


@pytest.mark.slow
@pytest.mark.parametrize("group", ["torch", "transformers", "torchtune", "inspect"])
def test_real_messages(group: str, tmp_path: Path) -> None:
    found = causes(said(group, tmp_path))
    assert found == {name: EXPECTED[name] for name in found}


@pytest.mark.slow
def test_real_messages_of_a_full_disk(tiny_disk: Path) -> None:
    fill(tiny_disk)
    found = causes(said("disk", tiny_disk))
    assert found == dict.fromkeys(found, DISK)
    assert len(found) == 3


@pytest.mark.parametrize(
    "text, cause",
    [
        (recorded.CUDA_MEMORY, "out of memory on the GPU"),
        (recorded.CUDA_RUNTIME_MEMORY, "out of memory on the GPU"),
        (recorded.CUBLAS_MEMORY, "out of memory on the GPU"),
        (
            recorded.CUDA_ASSERT,
            "a token or label number lies outside what the model knows; CUDA stopped at an assertion",
        ),
        (recorded.NO_DRIVER, GPU),
        (recorded.NO_DEVICE, GPU),
        (recorded.SHARED_MEMORY, "the shared memory (/dev/shm) is full"),
        (recorded.TIME_LIMIT, "the time limit ended it"),
        (recorded.SLURM_MEMORY, "the kernel or the scheduler killed it: out of memory"),
        (recorded.KERNEL_MEMORY, "the kernel or the scheduler killed it: out of memory"),
    ],
)
def test_recorded_messages(text: str, cause: str) -> None:
    assert likely_cause(Evidence(f"before\n{text}\nafter"))[0] == cause


@pytest.mark.parametrize("file", own_words.OWN_WORDS)
def test_our_own_messages(file: str) -> None:
    source = (ROOT / "lib" / "tuneloop" / file).read_text()
    for words, cause in own_words.OWN_WORDS[file].items():
        assert words in source, "it says so no more"
        message = re.sub(r"\{(\w+)[^}]*\}", lambda found: OF_NAME.get(found[1], "3"), words)
        assert likely_cause(Evidence(f"before\n/a/place: {message}\nafter")) == (cause, hint_of(cause)), message


# What is filled in, where a number would not do.
OF_NAME = {"role": "'narrator'", "log": "error", "what": "reward model"}


@pytest.mark.parametrize("file", [file for file in own_words.OWN_WORDS if file.startswith("workers/")])
def test_every_error_of_a_step_is_listed(file: str) -> None:
    source = (ROOT / "lib" / "tuneloop" / file).read_text()
    listed = [*own_words.OWN_WORDS[file], *own_words.NOT_ITS_OWN]
    assert [words for words in errors_in(source) if not any(item in words for item in listed)] == []


def errors_in(source: str) -> Iterator[str]:
    """Yield the messages that are raised, collected, or given as a verdict or a fault, as they stand in the source."""
    for node in ast.walk(ast.parse(source)):
        call = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        said: list[ast.AST | None] = []
        if isinstance(node, ast.Call) and call.endswith(("Error", "Problem", ".add")):
            said = [*node.args[:1]]
        elif isinstance(node, ast.Call) and call == "Verdict" and ast.unparse(node.args[0]) == "False":
            said = [*node.args[1:2]]
        elif isinstance(node, ast.Yield):
            said = [node.value]
        for text in said:
            if isinstance(text, ast.Constant | ast.JoinedStr):
                yield ast.get_source_segment(source, text) or ""


def hint_of(cause: str) -> str:
    return next(row.hint for row in TABLE if row.cause == cause)


@pytest.mark.parametrize("width", [20, 40, 79])
def test_a_wrapped_message_is_recognised(width: int) -> None:
    """inspect wraps what it prints at the width of a terminal and fills each line up with blanks."""
    words = recorded.CUDA_MEMORY.split()
    lines = [""]
    for word in words:
        lines = [*lines[:-1], f"{lines[-1]} {word}"] if len(lines[-1]) + len(word) < width else [*lines, word]
    text = "\n".join(line.ljust(width) for line in lines)
    assert likely_cause(Evidence(text))[0] == "out of memory on the GPU"


def test_the_code_that_a_traceback_quotes_is_not_what_was_said() -> None:
    quoted = ["    raise MemoryError", "│ ❱ 12 │   except ModuleNotFoundError: No module named 'x' │"]
    text = "\n".join(['  File "x.py", line 3, in x', *quoted, "FileNotFoundError: x"])
    assert likely_cause(Evidence(text))[0] == "a file is missing"


def test_an_evaluation_has_its_own_repair() -> None:
    _, training = likely_cause(Evidence(recorded.CUDA_MEMORY))
    _, evaluating = likely_cause(Evidence(recorded.CUDA_MEMORY, evaluates=True))
    assert "batch_size" in (training or "")
    assert "max_connections" in (evaluating or "")


@pytest.mark.parametrize(
    "evidence, cause",
    [
        (Evidence("all is well", code=3), None),
        (Evidence("", nonfinite=True), NAN),
        (Evidence("killed", code=137), "something killed it: a person, or the kernel when memory ran out"),
        (Evidence("", code=137, peak_mb=100, memory_mb=8000), "something killed it"),
        (Evidence("", code=137, peak_mb=4096, memory_mb=8192), "the kernel killed it, most likely: out of memory"),
        (Evidence("", code=137, peak_mb=6500, memory_mb=8192, own_memory=True), "something killed it"),
        (
            Evidence("", code=137, peak_mb=8090, memory_mb=8192, own_memory=True),
            "the kernel killed it, most likely: out of memory (it held 7.9 of 8.0 GiB)",
        ),
        (Evidence("FileNotFoundError: a retry that went well", code=137), "something killed it"),
        (Evidence(recorded.TIME_LIMIT, code=143), "the time limit ended it"),
        (Evidence("the time limit ended it", code=143), "the time limit ended it"),
        (Evidence("step 3\nout of memory", code=None), "the kernel or the scheduler killed it: out of memory"),
        (Evidence("", code=143), "it was asked to end"),
        (Evidence("", code=139), "a library crashed"),
        (Evidence("terminate called after throwing an instance of 'std::bad_alloc'", code=134), MEMORY),
        (Evidence("", code=134), "a library gave up"),
        (Evidence("its process vanished", code=None), "all its processes ended without a word"),
    ],
)
def test_what_is_known_beside_the_log(evidence: Evidence, cause: str | None) -> None:
    found, hint = likely_cause(evidence)
    assert (found or "").startswith(cause or "")
    assert (found is None) == (cause is None)
    assert (hint is None) == (cause is None)


def test_repairs_name_fields_of_the_design() -> None:
    """What stands in backquotes is a field, `a: value` of one, or a line to type."""
    known = {*FIELDS, *Design.model_fields, *DataEntry.model_fields, *Evaluation.model_fields, *Profile.model_fields}
    known |= {"torchtune", "python"}
    hints = [hint for row in TABLE for hint in (row.hint, row.evaluating) if hint]
    named = [code for hint in hints for code in re.findall(r"`([^`]+)`", hint)]
    fields = [code for code in named if re.match(r"[a-z_]+(?:[:.]|$)", code)]
    assert len(fields) > 20
    assert [code for code in fields if re.split("[:.]", code)[0] not in known | {"evaluations", "system"}] == []


def killed(
    folder: Path, peak_mb: float, shape_mb: int = 8192, asked_mb: int | None = None, cluster: str | None = "site"
) -> Failure:
    """Return what is told of a training that SIGKILL ended at this peak, on a scheduler or (None) on this machine."""
    layout, key, token = Layout(folder), train_key("a"), Token("0123456789")
    attempt = folder / "a" / ".attempts" / "train" / f"{token}.0"
    attempt.mkdir(parents=True)
    (attempt / "usage.json").write_text(json.dumps({"wall_s": 1, "cpu_s": 1, "peak_memory_mb": peak_mb}))
    if asked_mb is not None:
        layout.submissions.mkdir(parents=True)
        lines = directives("train", Shape("site", memory_mb=shape_mb), Site(memory_mb=asked_mb))
        text = "".join(f"#SBATCH {line}\n" for line in lines)
        (layout.submissions / f"{token}.slurm").write_text(f"#!/bin/sh\n{text}")
    spec = JobSpec(
        key, "echo", "a", "s", "a/.attempts/train", (), (), "d",
        Shape(cluster or "local", memory_mb=shape_mb), resumable=True, seconds=1, log="a/slurm-*.out",
    )  # fmt: skip
    last = Attempt(attempt, token, 0, "1", "d", "", 1, None, None, alive=False, code=137)
    native = Native(cluster or "local", "7")
    status = JobStatus(key, "failed", "exit code 137", token, attempts=(last,), native=native)
    scheduled = frozenset() if cluster is None else frozenset({cluster})
    board = Board([spec], {key: status}, Intent(), frozenset(), frozenset(), {}, scheduled)
    (found,) = failures(layout, board)
    return found


@pytest.mark.parametrize("here_gb", [4, 512])
def test_a_job_of_a_cluster_is_judged_by_its_own_memory(
    here_gb: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"SC_PHYS_PAGES": here_gb * 2**18, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__)
    assert killed(tmp_path / "full", peak_mb=8090).out_of_memory
    assert not killed(tmp_path / "usual", peak_mb=6500).out_of_memory
    # What the profile asked for counts, not what was estimated.
    assert killed(tmp_path / "asked less", peak_mb=4000, asked_mb=4096).out_of_memory
    assert not killed(tmp_path / "asked more", peak_mb=8090, asked_mb=65536).out_of_memory


def test_a_job_of_this_machine_is_judged_by_the_machine_s_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 8 * 2**18, "SC_PAGE_SIZE": 4096}.__getitem__)
    assert killed(tmp_path / "much", peak_mb=4000, shape_mb=1 << 20, cluster=None).out_of_memory
    assert not killed(tmp_path / "little", peak_mb=1000, shape_mb=1000, cluster=None).out_of_memory


# Failures of real jobs reach whoever asks.


def failure_of(folder: Path, key: str) -> dict[str, Any]:
    return next(item for item in as_json("status", folder, "--all")["failures"] if item["key"] == key)


def assert_told(folder: Path, key: str, cause: str) -> None:
    """The cause and its repair stand in --json, in the text of `status` and in the summary."""
    found = failure_of(folder, key)
    assert found["cause"].startswith(cause)
    assert found["hint"]
    shown = cli("status", folder).stdout
    assert f"likely: {found['cause']}" in shown
    assert f"hint: {found['hint']}" in shown
    summary = Layout(folder).summary.read_text()
    assert f"Likely: {found['cause']}; {found['hint']}." in summary


@pytest.mark.slow
def test_a_killed_job_says_what_to_type(tmp_path: Path) -> None:
    folder = make_echo(
        tmp_path / "it's here", variables="{lr: [1e-3]}", controls="{epochs: 1, seconds: 30, steps: 400}"
    )
    run(folder, "--detach")
    attempts = folder / "lr1e-3" / ".attempts" / "train"
    until(lambda: bool(list(attempts.glob("*/metrics.jsonl"))), what="a running job")
    [group] = attempts.glob("*/group.json")
    os.killpg(json.loads(group.read_text())["group"], signal.SIGKILL)
    cli("wait", folder, "--timeout", "60", check=False)
    assert_told(folder, "train/lr1e-3", "something killed it")
    line = re.search(r"`(tuneloop retry .*)`", failure_of(folder, "train/lr1e-3")["hint"])
    assert line is not None
    done = subprocess.run(
        ["bash", "-c", f"{line[1].replace('tuneloop', f'{sys.executable} -m tuneloop', 1)} --dry-run"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"echo +1 ", done.stdout), "one training to do again"


_TASK = """
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import Score, accuracy, scorer
from inspect_ai.solver import generate


@scorer(metrics=[accuracy()])
def dividing():
    async def score(state, target):
        return Score(value=1 / 0)

    return score


@task
def broken():
    return Task(dataset=[Sample(input="a", target="A")], solver=generate(), scorer=dividing())
"""


@pytest.mark.train
def test_real_jobs_fail_with_their_cause(tmp_path: Path) -> None:
    """A learning rate that blows the weights up, and an evaluation whose scorer divides by zero."""
    folder = tmp_path / "exp"
    folder.mkdir()
    (folder / "task.py").write_text(_TASK)
    rows = [{"word": word, "answer": word.upper()} for word in ("one", "two", "three", "four")]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "design.yaml").write_text(
        f"schema: tuneloop.experiment/1\nname: exp\nquestion: How does it fail?\nmodel: {MODEL}\n"
        "data: [{split: train, path: train.jsonl, columns: {input: word, output: answer}}]\n"
        "controls: {lr: 1e+30, batch_size: 2, epochs: 1, clip_grad_norm: null, lora_rank: 4}\n"
        "evaluations: [{name: cap, task: task.py, generation: {max_tokens: 2}}]\n"
        "runs: [{name: control, kind: control}]\n"
    )
    cli("design-experiment", folder, "--from", folder / "design.yaml")
    cli("scaffold-experiment", folder)
    assert plan_id(folder) is not None
    run(folder, check=False)
    assert_told(folder, "train/train", NAN)
    assert "lr" in failure_of(folder, "train/train")["hint"]
    assert_told(folder, "eval/control/base/cap", TASK)
