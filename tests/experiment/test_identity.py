"""Identity, stamps and references: what is the same, and what is no longer."""

import os
from pathlib import Path
from typing import Any

import pytest
from experiment_designs import SOUND, design
from hypothesis import given
from hypothesis import strategies as st

from tuneloop.documents.errors import InputError
from tuneloop.experiment.design import Design
from tuneloop.experiment.expand import expand
from tuneloop.experiment.identity import digest, file_hash, model_hash
from tuneloop.experiment.references import Reference, parse_reference
from tuneloop.experiment.stamp import Stamps
from tuneloop.experiment.work import COLLECT, JobKey, eval_key, evaluated_epoch, evaluation_of, run_of, train_key


@given(st.dictionaries(st.text(), st.integers() | st.text(), min_size=1))
def test_digest_ignores_the_order_of_keys(value: dict[str, Any]) -> None:
    assert digest(value) == digest(dict(reversed(value.items())))
    assert digest(value) != digest(value | {"one more key \ud7ff": 1})
    assert len(digest(value)) == 16


def test_digest_sees_order_of_items_and_kind_of_values() -> None:
    assert digest([1, 2]) != digest([2, 1])
    assert digest(1) != digest("1")


def test_changed_file_has_another_hash(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_text("one")
    before = file_hash(path)
    assert before == "sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    path.write_text("two")  # of the same size
    os.utime(path, ns=(1, 1))
    assert file_hash(path) != before


def test_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        file_hash(tmp_path / "gone")
    assert str(caught.value) == f"{tmp_path / 'gone'}: No such file or directory"
    with pytest.raises(InputError) as caught:
        model_hash(tmp_path / "gone")
    assert str(caught.value) == f"{tmp_path / 'gone'}: no such model folder"


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "chat_template.jinja"])
def test_model_is_known_by_config_tokenizer_and_weights(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "README.md").write_text("a model")
    before = model_hash(tmp_path)
    (tmp_path / "README.md").write_text("another word")
    assert model_hash(tmp_path) == before
    (tmp_path / name).write_text("changed")
    assert model_hash(tmp_path) != before


@pytest.mark.parametrize("offset", [0, -1])
def test_large_weights_are_known_by_their_edges(tmp_path: Path, offset: int) -> None:
    path = tmp_path / "model.safetensors"
    size = 65 * 2**20
    with path.open("wb") as file:
        file.truncate(size)  # sparse: takes no disk
    before = model_hash(tmp_path)
    with path.open("r+b") as file:
        file.seek(offset % size)
        file.write(b"x")
    assert model_hash(tmp_path) != before


def stamps(changed: Design) -> dict[JobKey, str]:
    """Return the stamps of all jobs: training, and evaluation at the first epoch, of the first run; the control's."""
    found = Stamps(changed)
    first, control = expand(changed)[0], expand(changed)[-1]
    keys = [(first, train_key(first.name))]
    for item in changed.evaluations:
        keys += [(first, eval_key(first.name, 0, item.name)), (control, eval_key(control.name, None, item.name))]
    return {key: found.of(run, key) for run, key in keys}


TRAIN, EVAL, CONTROL = "train/rank4_lr1e-5", "eval/rank4_lr1e-5/e0/cap", "eval/control/base/cap"
CAP = SOUND["evaluations"][0]
DATA = SOUND["data"]


@pytest.mark.parametrize(
    ("changes", "stale"),
    [
        ({"question": "Another?"}, set()),
        ({"hypothesis": "It does."}, set()),
        ({"budget": {"hours": 3}}, set()),
        ({"policy": {"retries": 3}}, set()),
        ({"metrics": {"primary": {"evaluation": "cap"}}}, set()),
        ({"name": "other"}, set()),
        ({"evaluations": [CAP, {"name": "more", "task": "more.py"}]}, set()),
        ({"variables": {"lora_rank": [4, 8, 16], "lr": [1e-5, 3e-4]}}, set()),
        ({"runs": [{"name": "rank8_lr1e-5", "set": {"epochs": 9}}, *SOUND["runs"]]}, set()),
        ({"data": [*DATA, {"split": "extra", "path": "extra.jsonl"}]}, set()),
        ({"evaluations": [CAP | {"limit": 5}]}, {EVAL, CONTROL}),
        ({"evaluations": [CAP | {"generation": {"max_tokens": 5}}]}, {EVAL, CONTROL}),
        ({"data": [*DATA[:2], DATA[2] | {"path": "other.jsonl"}]}, {EVAL, CONTROL}),
        ({"controls": {"epochs": 3}}, {TRAIN, EVAL}),
        ({"seeds": [2]}, {TRAIN, EVAL}),
        ({"runs": [{"name": "rank4_lr1e-5", "set": {"epochs": 9}}, *SOUND["runs"]]}, {TRAIN, EVAL}),
        ({"model": "models/other"}, {TRAIN, EVAL, CONTROL}),
        ({"data": [DATA[0] | {"prompt": "do {input}"}, *DATA[1:]]}, {TRAIN, EVAL, CONTROL}),
        ({"method": {"update": "full"}}, {TRAIN, EVAL, CONTROL}),
        ({"data": [*DATA, {"split": "train", "path": "more.jsonl"}]}, {TRAIN, EVAL, CONTROL}),
        ({"data": [DATA[0] | {"weight": 2}, *DATA[1:]]}, {TRAIN, EVAL, CONTROL}),
        ({"data": [DATA[0] | {"weight": 1}, *DATA[1:]]}, set()),
    ],
)
def test_only_jobs_whose_inputs_changed_are_stale(changes: dict[str, Any], stale: set[str]) -> None:
    before, after = stamps(design()), stamps(design(**changes))
    assert {key for key in before if before[key] != after[key]} == stale


def test_order_of_keys_changes_no_stamp() -> None:
    head = dict(reversed(SOUND.items()))
    assert stamps(Design.model_validate(head)) == stamps(design())


@pytest.mark.parametrize(
    ("key", "run", "epoch", "evaluation"),
    [
        (eval_key("a.e1", 12, "cap"), "a.e1", 12, "cap"),
        (eval_key("a", 0, "base"), "a", 0, "base"),
        (eval_key("e1", None, "cap"), "e1", None, "cap"),
        (train_key("e1"), "e1", None, None),
        (COLLECT, None, None, None),
    ],
)
def test_a_key_names_its_run_its_epoch_and_its_evaluation(
    key: JobKey, run: str | None, epoch: int | None, evaluation: str | None
) -> None:
    assert (run_of(key), evaluated_epoch(key), evaluation_of(key)) == (run, epoch, evaluation)


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("rank8_lr1e-5@2", Reference(None, "rank8_lr1e-5", 2)),
        ("../first/rank8@0", Reference("../first", "rank8", 0)),
        ("/abs/a b/rank8@10", Reference("/abs/a b", "rank8", 10)),
        ("models/base", None),
        ("meta-llama/Llama-3.2-1B", None),
        ("rank8", None),
        ("rank8@", None),
        ("rank8@last", None),
        ("rank8@-1", None),
        ("@1", None),
        ("a/../@1", None),
        ("rank8@1\n", None),
        ("rank8@1/x", None),
    ],
)
def test_reference_is_run_and_epoch(text: str, reference: Reference | None) -> None:
    assert parse_reference(text) == reference
