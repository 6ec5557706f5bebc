"""What is wrong between the keys of a design: exact words, lines and hints."""

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest
from experiment_designs import SOUND, design

from tuneloop.documents.errors import InputError
from tuneloop.documents.yamltext import lines_of, load_yaml
from tuneloop.experiment.design import Design, faults, sources
from tuneloop.experiment.layout import SUMMARY
from tuneloop.experiment.read import check_design, read_experiment

SOURCE = Path("design.yaml")


def written(changes: dict[str, Any]) -> str:
    """Return the sound design with these keys, one key a line; None takes a key out."""
    head = {key: value for key, value in (SOUND | changes).items() if value is not None}
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in head.items())


def told(text: str) -> str:
    """Return what is said of a design, '' where it is sound."""
    try:
        check_design(Design.model_validate(load_yaml(text)), SOURCE, lines_of(text))
    except InputError as error:
        return str(error)
    return ""


def test_sound_design_has_no_faults() -> None:
    assert list(faults(design())) == []
    assert told(written({})) == ""


TRAIN = {"split": "train", "path": "a"}
LOWEST = {"at": "lowest-validation-loss", "primary": {"evaluation": "cap"}}
CASES: list[tuple[str, dict[str, Any], str]] = [
    (
        "split twice",
        {"data": [{"split": "train", "path": "a"}, {"split": "Train", "path": "b"}], "evaluations": None},
        "design.yaml:5: `Train` stands twice in `data`\n  hint: names are compared without case",
    ),
    (
        "two formats",
        {"data": [TRAIN, {"split": "train", "path": "b", "format": "chat"}], "evaluations": None},
        (
            "design.yaml:5: the split `train` has both the formats `instruct` and `chat`\n"
            "  hint: give all its entries one format, or convert the file"
        ),
    ),
    (
        "file twice",
        {"data": [TRAIN, TRAIN], "evaluations": None},
        "design.yaml:5: `a` stands twice in the split `train`\n  hint: take it out; `weight: 2` takes each sample twice",
    ),
    (
        "weight where nothing is trained",
        {"data": [TRAIN, {"split": "validation", "path": "b", "weight": 2}], "evaluations": None},
        "design.yaml:5: a weight counts in training alone, not in the split `validation`\n  hint: take it out",
    ),
    (
        "evaluation on two files",
        {"data": [TRAIN, {"split": "test", "path": "b"}, {"split": "test", "path": "c"}]},
        (
            "design.yaml:8: the split `test` has 2 files, an evaluation reads one\n"
            "  hint: give the file to evaluate on a split of its own"
        ),
    ),
    (
        "prompt for chats",
        {"data": [TRAIN | {"format": "chat", "prompt": "do {input}"}], "evaluations": None},
        "design.yaml:5: `prompt` has no meaning for the format `chat`\n  hint: take it out",
    ),
    (
        "system for texts",
        {"data": [TRAIN | {"format": "text", "system": "Be brief"}], "evaluations": None},
        "design.yaml:5: `system` has no meaning for the format `text`\n  hint: take it out",
    ),
    (
        "run twice",
        {"runs": [{"name": "a", "kind": "control"}, {"name": "A", "kind": "control"}]},
        "design.yaml:9: `A` stands twice in `runs`\n  hint: names are compared without case",
    ),
    ("seed twice", {"seeds": [1, 1]}, "design.yaml:10: `1` stands twice in `seeds`\n  hint: take the second one out"),
    (
        "no values",
        {"variables": {"lr": []}},
        "design.yaml:6: variable `lr` has no values\n  hint: give at least one",
    ),
    (
        "value twice",
        {"variables": {"lr": [1, 2, 1]}},
        "design.yaml:6: variable `lr` repeats a value\n  hint: take the second one out",
    ),
    (
        "variable and control",
        {"controls": {"lr": 1, "epochs": 1}},
        "design.yaml:7: `lr` is both a variable and a control\n  hint: keep it in one of them",
    ),
    (
        "uneven cells",
        {"variables": [{"lr": 1}, {"epochs": 2}]},
        "design.yaml:6: the cells name different variables\n  hint: give each cell the same keys",
    ),
    (
        "cell twice",
        {"variables": [{"lr": 1, "rank": 2}, {"lr": 2, "rank": 2}, {"rank": 2, "lr": 1}]},
        "design.yaml:6: the cell repeats an earlier one\n  hint: take the second one out",
    ),
    (
        "lowest validation loss of prompts",
        {"metrics": LOWEST, "method": {"objective": "rl", "algorithm": "ppo"}},
        "design.yaml:10: the objective `rl` has no validation loss\n  hint: set `at: last`",
    ),
    (
        "lowest validation loss without one",
        {"data": [{"split": "train", "path": "a"}, {"split": "test", "path": "b"}], "metrics": LOWEST},
        (
            "design.yaml:10: no data has `split: validation`, so no epoch has a validation loss\n"
            "  hint: add `{split: validation, path: FILE}` to `data`, or set `at: last`"
        ),
    ),
    (
        "lowest validation loss, last epoch evaluated",
        {"evaluations": [{"name": "cap", "task": "cap.py", "epochs": "last"}], "metrics": LOWEST},
        (
            "design.yaml:8: `at: lowest-validation-loss` may choose epoch 0, which `cap` leaves out\n"
            "  hint: set `epochs: all`, or `at: last`"
        ),
    ),
    (
        "lowest validation loss, an epoch left out",
        {
            "variables": {"epochs": [2, 3]},
            "controls": {},
            "evaluations": [{"name": "cap", "task": "cap.py", "epochs": [0, 2]}],
            "metrics": LOWEST,
        },
        (
            "design.yaml:8: `at: lowest-validation-loss` may choose epoch 1, which `cap` leaves out\n"
            "  hint: set `epochs: all`, or `at: last`"
        ),
    ),
    (
        "prompt without input",
        {"data": [{"split": "train", "path": "a", "prompt": "do it"}], "evaluations": None},
        'design.yaml:5: the prompt needs `{input}` exactly once\n  hint: write it like "capitalize: {input}"',
    ),
    (
        "no train split",
        {"data": [{"split": "training", "path": "a"}], "evaluations": None},
        "design.yaml:5: no entry of `data` has `split: train`\n  hint: add one",
    ),
    (
        "unknown split",
        {"evaluations": [{"name": "cap", "task": "cap.py", "split": "tset"}]},
        "design.yaml:8: no data has the split `tset`\n  hint: did you mean `test`?",
    ),
    (
        "unknown primary",
        {"metrics": {"primary": {"evaluation": "cup"}}},
        "design.yaml:10: no evaluation `cup`\n  hint: did you mean `cap`?",
    ),
    (
        "unknown guardrail",
        {
            "metrics": {
                "primary": {"evaluation": "cap"},
                "guardrails": [{"evaluation": "mmlu", "tolerance": 0.1}],
            }
        },
        "design.yaml:10: no evaluation `mmlu`\n  hint: known: `cap`",
    ),
    (
        "primary without evaluations",
        {"evaluations": None, "metrics": {"primary": {"evaluation": "cap"}}},
        "design.yaml:9: no evaluation `cap`\n  hint: add it",
    ),
    (
        "eval-only without checkpoint",
        {"runs": [{"name": "old", "kind": "eval-only"}]},
        "design.yaml:9: eval-only run `old` has no checkpoint\n  hint: add `checkpoint: RUN@EPOCH`",
    ),
    (
        "checkpoint of a control run",
        {"runs": [{"name": "old", "kind": "control", "checkpoint": "a@1"}]},
        "design.yaml:9: only an eval-only run has a checkpoint\n  hint: take it out",
    ),
    (
        "run is in the matrix",
        {"runs": [{"name": "rank4_lr1e-5", "kind": "control"}]},
        "design.yaml:9: `rank4_lr1e-5` is a run of the matrix and a control run\n  hint: give the second one another name",
    ),
]


@pytest.mark.parametrize(("changes", "message"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_fault_has_line_and_hint(changes: dict[str, Any], message: str) -> None:
    assert told(written(changes)) == message


@pytest.mark.parametrize("epochs", ["all", [0, 1]])
def test_lowest_validation_loss_wants_every_epoch(epochs: Any) -> None:
    evaluations = [{"name": "cap", "task": "cap.py", "epochs": epochs}]
    assert list(faults(design(metrics=LOWEST, evaluations=evaluations))) == []


def test_numbers_that_are_not_finite_are_told_where_they_stand() -> None:
    found = faults(
        design(
            variables=[{"lr": 1e-3}, {"lr": math.inf}],
            controls={"weight_decay": math.nan, "torchtune": {"optimizer": {"betas": [0.9, -math.inf]}}},
            runs=[{"name": "extra", "set": {"lr": math.inf}}],
        )
    )
    assert [(fault.at, fault.message) for fault in found] == [
        (("variables", 1, "lr"), "`lr` is infinite"),
        (("controls", "weight_decay"), "`weight_decay` is not a number"),
        (("controls", "torchtune", "optimizer", "betas", 1), "`betas` is infinite"),
        (("runs", 0, "set", "lr"), "`lr` is infinite"),
    ]


def test_all_faults_come_at_once() -> None:
    text = written({"seeds": [1, 1], "controls": {"lr": 1}, "metrics": {"primary": {"evaluation": "x"}}})
    assert told(text).count("design.yaml:") == 3


@pytest.mark.parametrize(
    ("variables", "seeds", "count"),
    [
        ({"x": list(range(10_001))}, [1], "10,001"),
        ([{"x": number} for number in range(10_001)], [1], "10,001"),
        ({name: list(range(1000)) for name in "abcdefgh"}, [1, 2], f"{2 * 1000**8:,}"),
        ({"x": list(range(5001))}, [1, 2], "10,002"),
    ],
    ids=["grid", "list", "huge", "seeds"],
)
def test_too_many_runs_are_refused_quickly(variables: Any, seeds: list[int], count: str) -> None:
    large = design(variables=variables, seeds=seeds)
    began = time.monotonic()
    with pytest.raises(InputError) as caught:
        check_design(large, SOURCE, {("variables",): 9})
    assert time.monotonic() - began < 1
    assert str(caught.value) == (
        f"design.yaml:9: the design expands into {count} runs, more than 10,000\n"
        "  hint: vary fewer values, or list the cells you want"
    )


def test_ten_thousand_runs_are_accepted() -> None:
    check_design(design(variables={"x": list(range(10_000))}), SOURCE, {})


def test_data_inherit_from_the_first() -> None:
    first = {
        "split": "train",
        "path": "a",
        "format": "chat",
        "columns": {"messages": "m"},
        "prompt": "do {input}",
        "system": "be brief",
        "hash": "sha256:1",
    }
    own = {"split": "other", "path": "c", "format": "text", "columns": {}, "prompt": "{input}", "system": ""}
    found = sources(design(data=[first, {"split": "test", "path": "b"}, own]))
    (test,) = found["test"]
    assert (test.format, test.columns, test.prompt, test.system) == (
        "chat",
        {"messages": "m"},
        "do {input}",
        "be brief",
    )
    assert (test.path, test.hash) == ("b", None)
    (other,) = found["other"]
    assert (other.format, other.columns, other.prompt, other.system) == ("text", {}, "{input}", "")


def test_a_split_may_have_several_files() -> None:
    head = {"split": "train", "path": "a", "columns": {"input": "word"}, "prompt": "do {input}"}
    others = [{"split": "train", "path": "b", "weight": 2}, {"split": "train", "path": "c", "columns": {}}]
    data = [head, {"split": "test", "path": "t"}, *others]
    assert list(faults(design(data=data))) == []
    found = sources(design(data=data))["train"]
    assert [(item.index, item.path, item.weight) for item in found] == [(0, "a", 1), (2, "b", 2), (3, "c", 1)]
    assert [item.columns for item in found] == [{"input": "word"}, {"input": "word"}, {}]


def test_a_prompt_goes_around_every_input() -> None:
    head = {"split": "train", "path": "a", "format": "preference", "prompt": "do {input}"}
    test = {"split": "test", "path": "b", "format": "instruct", "columns": {"output": "answer"}}
    assert sources(design(data=[head, test], evaluations=None))["test"][0].prompt == "do {input}"


def test_columns_stay_within_a_format() -> None:
    head = {"split": "train", "path": "a", "columns": {"input": "word"}, "prompt": "do {input}", "system": "s"}
    data = [head, {"split": "validation", "path": "b", "format": "chat"}, {"split": "t", "path": "c", "format": "text"}]
    found = sources(design(data=data, evaluations=None))
    assert [(item.columns, item.prompt, item.system) for (item,) in found.values()] == [
        ({"input": "word"}, "do {input}", "s"),
        ({}, None, "s"),
        ({}, None, None),
    ]


@pytest.mark.parametrize("weight", [0, -1, math.inf, math.nan, 1001, "two"])
def test_a_weight_is_a_number_above_zero(weight: Any) -> None:
    with pytest.raises(ValueError, match="weight"):
        design(data=[TRAIN | {"weight": weight}])


def test_design_without_variables_or_evaluations_is_sound() -> None:
    assert list(faults(design(variables=None, evaluations=None, runs=None))) == []


def test_folder_without_a_design_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_experiment(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: no experiment here\n  hint: `tuneloop design-experiment {tmp_path} --help` makes one"
    )


def test_experiment_is_read_with_its_lines(tmp_path: Path) -> None:
    (tmp_path / SUMMARY).write_text(f"---\n{written({})}---\n# Notes\n")
    experiment = read_experiment(tmp_path)
    assert [run.name for run in experiment.runs][-1] == "control"
    problem = experiment.problem(("data", 1, "path"), "no such file")
    assert (problem.line, problem.key) == (6, "data.1.path")
    assert experiment.path("a/../b") == tmp_path / "b"
    assert experiment.path("/a") == Path("/a")
    with pytest.raises(InputError) as caught:
        experiment.run("controll")
    assert str(caught.value) == "no run `controll`\n  hint: did you mean `control`?"
