"""From a design to its runs."""

from typing import Any

import pytest
from experiment_designs import design

from tuneloop.documents.errors import InputError
from tuneloop.experiment.expand import expand


def names(**changes: Any) -> list[str]:
    return [run.name for run in expand(design(**changes))]


def test_grid_is_named_by_its_values() -> None:
    assert names() == ["rank4_lr1e-5", "rank4_lr3e-4", "rank8_lr1e-5", "rank8_lr3e-4", "control"]


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (1e-5, "1e-5"),
        (3e-4, "3e-4"),
        (1.5e-6, "1.5e-6"),
        (0.05, "0.05"),
        (0.0, "0"),
        (2.0, "2"),
        (16, "16"),
        (True, "true"),
        (None, "none"),
        ("cosine", "cosine"),
        ("torch.optim.AdamW", "torch.optim.AdamW"),
        ("a b/c", "a-b-c"),
        (["q_proj", "v_proj"], "q_proj-v_proj"),
    ],
)
def test_values_are_written_as_people_do(value: Any, word: str) -> None:
    assert names(variables={"x": [value]}, runs=[]) == [f"x{word}"]


@pytest.mark.parametrize(
    ("field", "short"),
    [("lora_rank", "rank"), ("lora_alpha", "alpha"), ("batch_size", "batch"), ("weight_decay", "wd"), ("lr", "lr")],
)
def test_fields_have_short_names(field: str, short: str) -> None:
    assert names(variables={field: [2]}, runs=[]) == [f"{short}2"]


def test_raw_keys_are_named_by_their_last_part() -> None:
    assert names(variables={"torchtune.optimizer.eps": [1]}, runs=[]) == ["eps1"]


def test_seed_is_named_only_where_several() -> None:
    variables = {"lora_rank": [4]}
    assert names(variables=variables, seeds=[7], runs=[]) == ["rank4"]
    assert names(variables=variables, seeds=[1, 2], runs=[]) == ["rank4_s1", "rank4_s2"]
    assert [run.seed for run in expand(design(variables=variables, seeds=[1, 2], runs=[]))] == [1, 2]


def test_list_of_cells_is_no_grid() -> None:
    cells = [{"lora_rank": 4, "lr": 1e-5}, {"lora_rank": 8, "lr": 3e-4}]
    runs = expand(design(variables=cells, runs=[]))
    assert [run.name for run in runs] == ["rank4_lr1e-5", "rank8_lr3e-4"]
    assert [dict(run.cell) for run in runs] == cells


def test_no_variables_is_one_run() -> None:
    assert names(variables=None, runs=[]) == ["train"]
    assert names(variables=None, runs=[], seeds=[1, 2]) == ["train_s1", "train_s2"]


@pytest.mark.parametrize(
    "variables",
    [
        {"system": ["be brief " * 20, "be long " * 20]},
        {"x": ["a b", "a-b"]},
        {"x": ["A", "a"]},
        {"lr/../x": [1, 2]},
        {"$(touch x)": [1, 2]},
    ],
    ids=["too long", "not unique", "not unique without case", "path", "command"],
)
def test_runs_are_numbered_where_names_fail(variables: dict[str, list[Any]]) -> None:
    assert names(variables=variables, runs=[]) == ["r001", "r002"]


def test_long_matrices_have_wide_numbers() -> None:
    found = names(variables={"x": [f"{number} " * 40 for number in range(1200)]}, runs=[])
    assert (found[0], found[-1]) == ("r0001", "r1200")


def test_every_field_has_an_origin() -> None:
    override = {"name": "rank8_lr1e-5", "set": {"epochs": 5}}
    run = next(run for run in expand(design(runs=[override])) if run.name == "rank8_lr1e-5")
    assert {key: (item.value, item.origin) for key, item in run.fields.items()} == {
        "epochs": (5, "design: runs.rank8_lr1e-5.set.epochs"),
        "lora_rank": (8, "design: variables.lora_rank"),
        "lr": (1e-5, "design: variables.lr"),
        "seed": (1, "design: seeds"),
    }
    assert run.epochs == 5


def test_override_changes_one_run_and_adds_none() -> None:
    runs = expand(design(runs=[{"name": "rank8_lr1e-5", "set": {"epochs": 5}}]))
    assert [run.epochs for run in runs] == [2, 2, 5, 2]


def test_run_beside_the_matrix_has_the_controls() -> None:
    extra = {"name": "long", "set": {"epochs": 9, "lora_rank": 64}}
    run = expand(design(runs=[extra]))[-1]
    assert (run.name, run.kind, run.seed, run.epochs) == ("long", "train", 1, 9)
    assert dict(run.cell) == {"lora_rank": 64}


def test_control_run_trains_nothing() -> None:
    run = expand(design())[-1]
    assert (run.name, run.kind, run.seed, run.epochs, dict(run.cell), dict(run.fields)) == (
        "control",
        "control",
        None,
        0,
        {},
        {},
    )


def test_eval_only_run_has_its_checkpoint() -> None:
    run = expand(design(runs=[{"name": "old", "kind": "eval-only", "checkpoint": "../a/rank4@1"}]))[-1]
    assert (run.kind, run.checkpoint, run.epochs) == ("eval-only", "../a/rank4@1", 0)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (
            {"name": "rank4_lr1e-5", "kind": "control"},
            "`rank4_lr1e-5` is a run of the matrix and a control run\n  hint: give the second one another name",
        ),
        (
            {"name": "Rank4_LR1e-5", "kind": "control"},
            "`rank4_lr1e-5` and `Rank4_LR1e-5` are two runs\n  hint: names are compared without case",
        ),
    ],
)
def test_clash_of_names_is_refused(extra: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        expand(design(runs=[extra]))
    assert str(caught.value) == message
