"""The inspect worker's scaffold: which jobs, which texts, which faults. Nothing is evaluated here."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from inspect_support import BASE, HEAD, make_experiment, order_of, training_job

from tuneloop.experiment.work import JobKey, Scaffolded, Site, Usage
from tuneloop.workers import Order
from tuneloop.workers.inspect import worker

GOLDEN = Path(__file__).parent / "golden"


def scaffolded(folder: Path, **changes: Any) -> Scaffolded:
    return worker.scaffold(order_of(make_experiment(folder, **changes)))


def evaluation(**changes: Any) -> list[dict[str, Any]]:
    return [HEAD["evaluations"][0] | changes]


def request(result: Scaffolded, path: str) -> dict[str, Any]:
    text = next(file.text for file in result.files if file.path == path)
    value: dict[str, Any] = json.loads(text)
    return value


def test_every_epoch_and_the_base_are_evaluated(tmp_path: Path) -> None:
    result = scaffolded(tmp_path)
    assert [job.key for job in result.jobs] == [
        "eval/rank4/e0/cap",
        "eval/rank4/e1/cap",
        "eval/rank8/e0/cap",
        "eval/rank8/e1/cap",
        "eval/control/base/cap",
    ]
    assert [[need.job for need in job.needs] for job in result.jobs] == [
        ["train/rank4"],
        ["train/rank4"],
        ["train/rank8"],
        ["train/rank8"],
        [],
    ]
    assert result.jobs[0].makes == ("evaluation:rank4/e0/cap",)
    assert result.jobs[4].makes == ("evaluation:control/base/cap",)
    assert {job.log for job in result.jobs[:2]} == {"rank4/eval/slurm-*.out"}
    assert not any(job.resumable for job in result.jobs)


@pytest.mark.parametrize(
    "epochs, expected",
    [
        ("all", ["e0", "e1"]),
        ("last", ["e1"]),
        ([0], ["e0"]),
        ([1, 0, 1], ["e0", "e1"]),
    ],
)
def test_the_design_chooses_the_epochs(tmp_path: Path, epochs: Any, expected: list[str]) -> None:
    result = scaffolded(tmp_path, evaluations=evaluation(epochs=epochs))
    assert [job.key.split("/")[2] for job in result.jobs if job.run == "rank4"] == expected


def test_scaffolding_leaves_no_trace(tmp_path: Path) -> None:
    make_experiment(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    worker.scaffold(order_of(tmp_path))
    assert sorted(tmp_path.rglob("*")) == before


def test_script_is_as_recorded(tmp_path: Path) -> None:
    result = scaffolded(tmp_path)
    text = next(file.text for file in result.files if file.path == "rank4/eval/cap_epoch1.slurm")
    digest = next(job.digest for job in result.jobs if job.key == "eval/rank4/e1/cap")
    bin_folder = text.partition("export PATH=")[2].partition(":")[0]
    text = text.replace(digest, "DIGEST").replace(bin_folder, "BIN")
    golden = GOLDEN / "inspect_cap_epoch1.slurm"
    assert text == golden.read_text(), f"if the change is meant, write the new text to {golden}"


def test_everything_inside_is_relative(tmp_path: Path) -> None:
    result = scaffolded(tmp_path)
    assert not any(str(tmp_path) in file.text for file in result.files)
    asked = request(result, "rank4/eval/cap_epoch1.json")
    assert asked["task"] == "../capitalization.py@capitalization"
    assert asked["model"] == {
        "path": "epoch_1",
        "tokenizer": str(BASE),
        "chat_template": "chat_template.jinja",
        "device": "cpu",
    }
    assert set(asked["files"]) == {"../data/test.jsonl", "../capitalization.py"}


def test_the_data_entry_reaches_the_task(tmp_path: Path) -> None:
    data = [HEAD["data"][0], {"split": "test", "path": "data/test.jsonl", "system": "Answer in one word."}]
    result = scaffolded(tmp_path, data=data, evaluations=evaluation(args={"prompt": "Capital: {input}"}))
    assert request(result, "control/eval/cap_base.json")["args"] == {
        "data": "../data/test.jsonl",
        "input": "word",
        "target": "capitalized",
        "prompt": "Capital: {input}",  # the evaluation's own argument wins
        "system": "Answer in one word.",
    }


def test_a_control_run_answers_under_the_trained_template(tmp_path: Path) -> None:
    result = scaffolded(tmp_path)
    assert request(result, "control/eval/cap_base.json")["model"] == {
        "path": str(BASE),
        "tokenizer": str(BASE),
        "chat_template": "../rank4/chat_template.jinja",
        "device": "cpu",
    }


@pytest.mark.parametrize(
    "generation, sampling, passed",
    [
        ({}, False, {"seed": 1, "max_connections": 10}),
        ({"temperature": 0}, False, {"seed": 1, "max_connections": 10}),
        ({"temperature": 0.7, "top_k": 20}, True, {"seed": 1, "temperature": 0.7, "top_k": 20, "max_connections": 10}),
        ({"seed": 3, "max_connections": 4}, False, {"seed": 3, "max_connections": 4}),
    ],
)
def test_greedy_unless_a_temperature_is_given(
    tmp_path: Path, generation: dict[str, Any], sampling: bool, passed: dict[str, Any]
) -> None:
    result = scaffolded(tmp_path, evaluations=evaluation(generation=generation))
    asked = request(result, "control/eval/cap_base.json")
    assert asked["sampling"] is sampling
    assert asked["generation"] == passed


def test_batches_are_made_equal(tmp_path: Path) -> None:
    make_experiment(tmp_path, evaluations=evaluation(limit=None))
    rows = "".join(f'{{"word": "w{number}", "capitalized": "W{number}"}}\n' for number in range(300))
    (tmp_path / "data/test.jsonl").write_text(rows)
    result = worker.scaffold(order_of(tmp_path))
    assert request(result, "control/eval/cap_base.json")["generation"]["max_connections"] == 100


def test_one_gpu_means_cuda(tmp_path: Path) -> None:
    result = worker.scaffold(order_of(make_experiment(tmp_path), gpus=1))
    assert request(result, "control/eval/cap_base.json")["model"]["device"] == "cuda"
    assert result.jobs[0].shape.gpus == 1


def test_an_eval_only_run_waits_for_its_checkpoint(tmp_path: Path) -> None:
    result = scaffolded(tmp_path, runs=[{"name": "again", "kind": "eval-only", "checkpoint": "rank8@1"}])
    job = next(job for job in result.jobs if job.run == "again")
    assert job.key == "eval/again/base/cap"
    assert [need.job for need in job.needs] == ["train/rank8"]
    model = request(result, "again/eval/cap_base.json")["model"]
    assert (model["path"], model["chat_template"]) == ("../rank8/epoch_1", "../rank8/chat_template.jinja")


def test_an_eval_only_folder_needs_no_job(tmp_path: Path) -> None:
    result = scaffolded(tmp_path, runs=[{"name": "given", "kind": "eval-only", "checkpoint": str(BASE)}])
    job = next(job for job in result.jobs if job.run == "given")
    assert job.needs == ()
    model = request(result, "given/eval/cap_base.json")["model"]
    assert (model["path"], model["chat_template"]) == (str(BASE), None)


def test_the_set_up_and_the_interpreter_decide_no_result(tmp_path: Path) -> None:
    order = order_of(make_experiment(tmp_path))
    machine = replace(order.machine, site=Site(setup=("module load cuda",)), python="/other/bin/python")
    assert digests(replace(order, machine=machine)) == digests(order)


def digests(order: Order) -> dict[str, str]:
    return {job.key: job.digest for job in worker.scaffold(order).jobs}


@pytest.mark.parametrize(
    "changes",
    [
        {"evaluations": evaluation(generation={"max_tokens": 9})},
        {"evaluations": evaluation(limit=9)},
        {"evaluations": evaluation(args={"prompt": "Capital: {input}"})},
        {"data": [HEAD["data"][0] | {"prompt": "Capital: {input}"}, HEAD["data"][1]]},
        {"data": [HEAD["data"][0], HEAD["data"][1] | {"path": "data/train.jsonl"}]},
    ],
)
def test_what_decides_a_result_changes_its_digest(tmp_path: Path, changes: dict[str, Any]) -> None:
    before = digests(order_of(make_experiment(tmp_path)))
    after = digests(order_of(make_experiment(tmp_path, **changes)))
    assert before.keys() == after.keys()
    assert not set(before.values()) & set(after.values())


@pytest.mark.parametrize(
    "changes",
    [
        {"question": "Another one?"},
        {"evaluations": evaluation(epochs=[0, 1])},
        {"evaluations": evaluation(generation={"max_tokens": 8, "max_connections": 2})},
    ],
)
def test_what_decides_nothing_leaves_the_digest(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert digests(order_of(make_experiment(tmp_path, **changes))) == digests(order_of(make_experiment(tmp_path)))


def test_digests_follow_task_training_and_base(tmp_path: Path) -> None:
    before = digests(order_of(make_experiment(tmp_path)))
    order = order_of(tmp_path)
    retrained = {**order.trained, "rank4": training_job("rank4", "another")}
    after = digests(Order(order.folder, order.design, order.runs, order.machine, retrained))
    assert {key for key in before if before[key] != after[key]} == {"eval/rank4/e0/cap", "eval/rank4/e1/cap"}
    with (tmp_path / "capitalization.py").open("a") as file:
        file.write("# changed\n")
    assert not set(digests(order).values()) & set(before.values())


def test_a_moved_experiment_keeps_its_digests(tmp_path: Path) -> None:
    here, there = make_experiment(tmp_path / "here"), make_experiment(tmp_path / "there" / "deeper")
    assert digests(order_of(here)) == digests(order_of(there))


TASKS = """\
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig

@task
def fixed():
    return Task(dataset=[Sample(input="a", target="A")])

@task
def own_model():
    return Task(dataset=[Sample(input="a", target="A")], model="mockllm/model")

@task
def empty(data: str):
    return Task(dataset=MemoryDataset([]))

@task
def needy(data: str, judge: str):
    return Task(dataset=[Sample(input=judge, target="A")])

@task
def one_answer(data: str):
    return Task(dataset=[Sample(input="a", target="A")], config=GenerateConfig(top_k=1))
"""

FAULTS: list[tuple[dict[str, Any], tuple[str | int, ...], str, str | None]] = [
    (
        {"task": "missing.py"},
        ("evaluations", 0, "task"),
        "no task file `missing.py`",
        "paths start at the experiment's folder",
    ),
    (
        {"task": "several.py"},
        ("evaluations", 0, "task"),
        "`several.py` has 5 tasks",
        "name one: "
        + ", ".join(f"`several.py@{name}`" for name in ("fixed", "own_model", "empty", "needy", "one_answer")),
    ),
    (
        {"task": "several.py@fixd"},
        ("evaluations", 0, "task"),
        "`several.py` has no task `fixd`",
        "did you mean `fixed`?",
    ),
    (
        {"task": "broken.py"},
        ("evaluations", 0, "task"),
        "`broken.py` cannot be loaded: ModuleNotFoundError: No module named 'nowhere_to_be_found'",
        None,
    ),
    (
        {"task": "plain.py"},
        ("evaluations", 0, "task"),
        "`plain.py` has no @task",
        "decorate the function that returns the Task",
    ),
    (
        {"task": "no_package/task"},
        ("evaluations", 0, "task"),
        "no task `no_package/task`",
        "write FILE.py, FILE.py@TASK or PACKAGE/TASK of an installed package",
    ),
    (
        {"task": "several.py@fixed"},
        ("evaluations", 0, "split"),
        "task `fixed` takes no `data`, so `split: test` would be ignored",
        "give the task a parameter `data`, or take `split` out",
    ),
    (
        {"task": "several.py@own_model", "split": None},
        ("evaluations", 0, "task"),
        "task `own_model` names its own model, mockllm/model: the run's would not be evaluated",
        "take `model=` out of the task",
    ),
    (
        {"task": "several.py@empty"},
        ("evaluations", 0),
        "task `empty` cannot be built: ValueError: The specified dataset is empty (has no samples)",
        None,
    ),
    ({"task": "several.py@needy"}, ("evaluations", 0), "task `needy` needs `judge`", "add it under `args:`"),
    (
        {"split": None},
        ("evaluations", 0),
        "task `capitalization` needs `data`",
        "name the `split` it reads",
    ),
    (
        {"args": {"promt": "x"}},
        ("evaluations", 0, "args", "promt"),
        "task `capitalization` has no parameter `promt`",
        "did you mean `prompt`?",
    ),
    (
        {"args": {"colour": "x"}},
        ("evaluations", 0, "args", "colour"),
        "task `capitalization` has no parameter `colour`",
        "known: `data`, `input`, `target`, `prompt`, `system`, `limit`",
    ),
    (
        {"args": {"input": "wrod"}},
        ("evaluations", 0),
        "task `capitalization` cannot be built: ValueError: data/test.jsonl:1: no column `wrod`; columns: word, capitalized",
        None,
    ),
    (
        {"generation": {"max_token": 8}},
        ("evaluations", 0, "generation", "max_token"),
        "inspect has no generation setting `max_token`",
        "did you mean `max_tokens`?",
    ),
    (
        {"generation": {"max_tokens": "many"}},
        ("evaluations", 0, "generation", "max_tokens"),
        "`max_tokens` should be a valid integer, unable to parse string as an integer, found 'many'",
        "correct `max_tokens`, or take it out: then the task's own value holds",
    ),
    (
        {"task": "several.py@one_answer", "generation": {"temperature": 0.7}},
        ("evaluations", 0, "generation"),
        "task `one_answer` sets top_k to 1, so the temperature would have no effect",
        "add `top_k:`, 50 for example",
    ),
    (
        {"epochs": [0, 2]},
        ("evaluations", 0, "epochs"),
        "`rank4` has no epoch 2",
        "epochs count from 0; the last is 1",
    ),
]


@pytest.mark.parametrize("changes, at, message, hint", FAULTS, ids=[fault[2][:40] for fault in FAULTS])
def test_faults_are_found_before_compute(
    tmp_path: Path, changes: dict[str, Any], at: tuple[str | int, ...], message: str, hint: str | None
) -> None:
    make_experiment(tmp_path, evaluations=evaluation(**changes))
    (tmp_path / "several.py").write_text(TASKS)
    (tmp_path / "broken.py").write_text("from nowhere_to_be_found import task\n\n@task\ndef t(): ...\n")
    (tmp_path / "plain.py").write_text("def nothing(): ...\n")
    result = worker.scaffold(order_of(tmp_path))
    found = [(fault.at, fault.message.replace(f"{tmp_path}/", ""), fault.hint) for fault in result.faults]
    assert found == [(at, message, hint)]
    assert result.jobs == result.files == ()


def test_all_faults_come_at_once(tmp_path: Path) -> None:
    result = scaffolded(
        tmp_path,
        model="no/such/model",
        data=[HEAD["data"][0], {"split": "test", "path": "data/gone.jsonl"}],
        evaluations=[
            HEAD["evaluations"][0] | {"name": "a", "task": "gone.py", "split": None},
            HEAD["evaluations"][0] | {"name": "b"},
            HEAD["evaluations"][0] | {"name": "c", "split": "train", "args": {"colour": "x"}},
        ],
        runs=[
            {"name": "control", "kind": "control"},
            {"name": "x", "kind": "eval-only", "checkpoint": "rank9@0"},
            {"name": "y", "kind": "eval-only", "checkpoint": "rank8@7"},
        ],
    )
    assert [(fault.at, fault.message.replace(f"{tmp_path}/", "")) for fault in result.faults] == [
        (("evaluations", 0, "task"), "no task file `gone.py`"),
        (("evaluations", 1, "split"), "data/gone.jsonl: No such file or directory"),
        (("evaluations", 2, "args", "colour"), "task `capitalization` has no parameter `colour`"),
        (("model",), "no model folder `no/such/model`"),
        (("runs", 1, "checkpoint"), "no run `rank9` trains"),
        (("runs", 2, "checkpoint"), "`rank8` has no epoch 7"),
    ]


def test_a_run_that_nobody_trains_is_a_fault(tmp_path: Path) -> None:
    order = order_of(make_experiment(tmp_path))
    result = worker.scaffold(Order(order.folder, order.design, order.runs, order.machine, {}))
    assert [fault.message for fault in result.faults] == ["no job trains `rank4`", "no job trains `rank8`"]


def test_evaluations_of_others_are_left_to_them(tmp_path: Path) -> None:
    result = scaffolded(tmp_path, evaluations=evaluation(backend="somebody"))
    assert result == Scaffolded()


def test_many_tasks_of_one_name_are_kept_apart(tmp_path: Path) -> None:
    make_experiment(tmp_path, evaluations=[*evaluation(), *evaluation(name="other", task="again.py", split=None)])
    text = TASKS.partition("@task\ndef own_model")[0].replace("fixed()", "capitalization(shown: int = 2)")
    (tmp_path / "again.py").write_text(text)
    result = worker.scaffold(order_of(tmp_path))
    assert request(result, "control/eval/other_base.json")["samples"] == 1
    assert request(result, "control/eval/cap_base.json")["samples"] == 10


def test_a_thousand_runs_take_seconds(tmp_path: Path) -> None:
    import time

    evaluations = [HEAD["evaluations"][0] | {"name": name, "epochs": "last"} for name in ("one", "two")]
    order = order_of(make_experiment(tmp_path, seeds=list(range(500)), evaluations=evaluations))
    began = time.monotonic()
    result = worker.scaffold(order)
    assert len(result.jobs) == 2002
    assert time.monotonic() - began < 10  # measured: 1.3 s


def test_an_earlier_attempt_gives_the_estimate(tmp_path: Path) -> None:
    order = order_of(make_experiment(tmp_path))
    key = JobKey("eval/control/base/cap")
    seen = Order(order.folder, order.design, order.runs, order.machine, order.trained, {key: Usage(33.0, 20.0, 700.0)})
    guessed, measured = worker.estimate(order)[key], worker.estimate(seen)[key]
    assert 5 < guessed.seconds < 60
    assert guessed.basis == f"10 samples, about {guessed.tokens:,} tokens"
    assert (measured.seconds, measured.memory_mb, measured.basis) == (
        33.0,
        701,
        "measured in an earlier attempt of the job",
    )
    jobs = {job.key: job for job in worker.scaffold(seen).jobs}
    assert jobs[key].seconds == 33.0
    assert set(worker.estimate(order)) == {job.key for job in worker.scaffold(order).jobs}


def test_checks_name_every_package(tmp_path: Path) -> None:
    found = {check.name: check for check in worker.checks(order_of(make_experiment(tmp_path)))}
    assert all(check.ok for check in found.values())
    assert set(worker.versions()) < set(found)
    assert found["evaluation device"].message == "CPU, 2 cores a job"


@pytest.mark.parametrize("name", ["it's", "two words", "$HOME", "a;b", "é@1"])
def test_hostile_folders_are_quoted(tmp_path: Path, name: str) -> None:
    result = scaffolded(tmp_path / name, evaluations=evaluation(task="capitalization.py@capitalization"))
    for file in result.files:
        if file.executable:
            subprocess.run(["bash", "-n"], input=file.text, text=True, check=True)
