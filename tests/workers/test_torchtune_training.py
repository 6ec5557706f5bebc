"""Training by its numbers: real runs of torchtune on the CPU, through prepare, tune and verify."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

import torchtune_case as case
from tuneloop.loop.retention import remove_weights
from tuneloop.workers.torchtune import worker
from tuneloop.workers.torchtune.verify import weights_hash

pytestmark = pytest.mark.train

# One batch is the whole file, and the file is the validation split too: the loss that torchtune logs at step N+1
# is that of the weights after epoch N, which verify must find with transformers and peft.
ONE_BATCH = {
    "data": [case.head()["data"][0], {"split": "validation", "path": "data/train.jsonl"}],
    "controls": {"epochs": 3, "batch_size": 16, "lora_rank": 8},
    "variables": {"lr": [1e-2]},
}


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory) -> case.Script:
    done = case.script(case.order(tmp_path_factory.mktemp("lora"), **ONE_BATCH))
    done.all()
    return done


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> case.Script:
    changes = ONE_BATCH | {
        "method": {"update": "full"},
        "controls": {"epochs": 3, "batch_size": 16},
        "variables": {"lr": [1e-4]},
    }
    done = case.script(case.order(tmp_path_factory.mktemp("full"), **changes), update="full")
    done.all()
    return done


STORED: dict[str, list[float]] = {"lora": [2.81362, 1.69256, 0.91090], "full": [2.81362, 2.54985, 2.37901]}


def losses(script: case.Script) -> list[float]:
    return [line["loss"] for line in script.metrics()]


def validated(script: case.Script) -> list[float]:
    return [epoch["validation_loss"] for epoch in script.verdict()["facts"]["epochs"]]


def test_lora_losses_are_the_stored_ones(lora: case.Script) -> None:
    assert losses(lora) == pytest.approx(STORED["lora"], rel=1e-3)


def test_full_losses_are_the_stored_ones(full: case.Script) -> None:
    assert losses(full) == pytest.approx(STORED["full"], rel=1e-3)


def test_peft_loads_the_trained_adapter(lora: case.Script) -> None:
    assert validated(lora)[:-1] == pytest.approx(losses(lora)[1:], rel=1e-4)


def test_transformers_loads_the_full_weights(full: case.Script) -> None:
    assert validated(full)[:-1] == pytest.approx(losses(full)[1:], rel=1e-4)


# Two steps an epoch and the rest of a batch left over; warm-up reaches into the second epoch, so a schedule that
# began again would show.
SEVERAL: dict[str, Any] = {
    "samples": 84,
    "controls": {"epochs": 3, "batch_size": 8, "gradient_accumulation": 3, "warmup_steps": 5, "lora_rank": 8},
    "variables": {"lr": [1e-2]},
}


@pytest.mark.parametrize("update", ["lora", "full"])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, update: str) -> None:
    changes = SEVERAL | {"method": {"update": update}}
    if update == "full":
        changes["controls"] = {key: value for key, value in changes["controls"].items() if key != "lora_rank"}
        changes["variables"] = {"lr": [1e-4]}
    straight = case.script(case.order(tmp_path / "straight", **changes), update=update)
    straight.claim()
    straight.step("prepare")
    done = straight.tune()
    assert done is not None
    assert done.returncode == 0, done.stderr

    killed = case.script(case.order(tmp_path / "killed", **changes), update=update)
    killed.claim()
    killed.step("prepare")
    killed.tune_until(step=4)  # in the second epoch
    first = killed.attempt
    killed.all()

    assert first.joinpath("metrics.jsonl").exists()
    before = [json.loads(line) for line in (straight.attempt / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in killed.metrics()] == list(range(1, 10))
    for name in ("loss", "lr", "grad_norm"):
        assert [line[name] for line in killed.metrics()] == [line[name] for line in before]
    weights = "adapter_model.pt" if update == "lora" else "model-00001-of-00001.safetensors"
    for epoch in range(3):
        assert_same_weights(straight.attempt / f"epoch_{epoch}" / weights, killed.run / f"epoch_{epoch}", update)


def assert_same_weights(torchtune_file: Path, verified: Path, update: str) -> None:
    import torch

    from tuneloop.workers.torchtune.exporting import peft_name

    if update == "full":
        theirs = load_file(torchtune_file)
        ours = load_file(verified / torchtune_file.name)
    else:
        theirs = {peft_name(name): value for name, value in torch.load(torchtune_file, weights_only=True).items()}
        ours = load_file(verified / "adapter_model.safetensors")
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)


def test_llama_trains_and_loads_too(tmp_path: Path) -> None:
    model = case.llama_folder(tmp_path / "llama")
    script = case.script(case.order(tmp_path / "experiment", **ONE_BATCH | {"model": str(model)}))
    script.all()
    assert validated(script)[:-1] == pytest.approx(losses(script)[1:], rel=1e-4)


def test_a_packed_run_trains_the_end_of_turn(tmp_path: Path) -> None:
    controls = {"epochs": 1, "batch_size": 2, "packed": True, "max_seq_len": 128}
    script = case.script(case.order(tmp_path, samples=32, controls=controls))
    script.all()
    assert script.verdict()["ok"]
    assert len(losses(script)) == 5  # 3 samples of about 40 tokens a pack, 2 packs a batch


def test_packed_texts_train_as_they_are_verified(tmp_path: Path) -> None:
    """One pack holds the whole file: verify, which packs nothing, must find the loss that torchtune logs."""
    (tmp_path / "data").mkdir()
    rows = [{"text": f"{row['word']} {row['capitalized']}"} for row in case.words("text", 24)]
    (tmp_path / "data" / "text.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    entry = {"path": "data/text.jsonl", "format": "text"}
    script = case.script(
        case.order(
            tmp_path,
            data=[{"split": "train", **entry}, {"split": "validation", **entry}],
            controls={"epochs": 3, "batch_size": 1, "packed": True, "max_seq_len": 512},
            variables={"lr": [1e-2]},
        )
    )
    script.all()
    assert len(losses(script)) == 3
    assert losses(script)[2] < losses(script)[0]
    assert validated(script)[:-1] == pytest.approx(losses(script)[1:], rel=1e-4)


def test_several_files_train_by_their_weights(tmp_path: Path) -> None:
    train = case.head()["data"][0]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "more.csv").write_text("question,answer\ncapitalize: wOrd,Word\n")
    more = {"split": "train", "path": "data/more.csv", "columns": {"input": "question", "output": "answer"}}
    asked = case.order(
        tmp_path,
        data=[train | {"weight": 1.5}, more | {"prompt": "{input}", "weight": 8}],
        controls={"epochs": 1, "batch_size": 8},
    )
    script = case.script(asked)
    script.all()
    assert len(losses(script)) == 4  # 16 x 1.5 and 1 x 8 samples, 8 a step
    assert script.verdict()["ok"]


def test_rows_are_the_steps_and_the_epochs(lora: case.Script) -> None:
    asked = case.order(lora.run.parent, **ONE_BATCH)
    rows = worker.rows(asked)
    assert [row.value for row in rows if row.metric == "loss"] == losses(lora)
    assert [(row.epoch, row.value) for row in rows if row.metric == "validation_loss"] == list(
        enumerate(validated(lora))
    )


def test_nothing_is_trained_twice(lora: case.Script) -> None:
    before = (lora.run / "metrics.jsonl").read_text()
    lora.claim()
    assert lora.step("prepare").returncode == 0
    assert lora.tune() is None
    assert lora.step("verify").returncode == 0
    assert (lora.run / "metrics.jsonl").read_text() == before
    assert len(validated(lora)) == 3


def test_prepare_refuses_changed_data(lora: case.Script, tmp_path: Path) -> None:
    path = lora.run.parent / "data" / "train.jsonl"
    kept = path.read_text()
    path.write_text(kept + kept)
    lora.claim()
    done = lora.step("prepare")
    path.write_text(kept)
    assert done.returncode == 2
    assert f"{path}: the train data has changed since the run was scaffolded" in done.stderr


def copied(lora: case.Script, folder: Path) -> case.Script:
    """Copy a verified experiment, its epochs back in an attempt as training leaves them."""
    shutil.copytree(lora.run.parent, folder)
    run = folder / lora.run.name
    script = case.Script.__new__(case.Script)
    script.run, script.job, script.launch, script.count = run, lora.job, lora.launch, 50
    attempt = script.claim()
    for epoch in range(3):
        (run / f"epoch_{epoch}").rename(attempt / f"epoch_{epoch}")
        (attempt / f"epoch_{epoch}" / "verified.json").unlink()
    return script


def test_weights_that_are_not_finite_fail(lora: case.Script, tmp_path: Path) -> None:
    script = copied(lora, tmp_path / "copy")
    path = script.attempt / "epoch_1" / "adapter_model.safetensors"
    weights = load_file(path)
    next(iter(weights.values()))[0, 0] = float("nan")
    save_file(weights, path, metadata={"format": "pt"})
    done = script.step("verify")
    assert done.returncode == 1, done.stderr
    assert script.verdict()["reason"] == "epoch_1: the weights hold a value that is not finite"
    assert [epoch["epoch"] for epoch in script.verdict()["facts"]["epochs"]] == [0]
    assert (script.run / "epoch_0" / "verified.json").exists()


def test_an_adapter_without_a_weight_fails(lora: case.Script, tmp_path: Path) -> None:
    script = copied(lora, tmp_path / "copy")
    path = script.attempt / "epoch_0" / "adapter_model.safetensors"
    weights = load_file(path)
    weights.pop(next(iter(weights)))
    save_file(weights, path, metadata={"format": "pt"})
    assert script.step("verify").returncode == 1
    assert script.verdict()["reason"].startswith("epoch_0 lacks weights of its adapter:")


def test_a_missing_epoch_fails_at_once(lora: case.Script, tmp_path: Path) -> None:
    script = copied(lora, tmp_path / "copy")
    shutil.rmtree(script.attempt / "epoch_2")
    assert script.step("verify").returncode == 1
    assert script.verdict()["reason"] == "epoch_2 is missing: training did not get that far"


def test_prepare_takes_nothing_from_a_foreign_attempt(lora: case.Script, tmp_path: Path) -> None:
    script = copied(lora, tmp_path / "copy")
    (script.attempt / "start.json").write_text(json.dumps({"digest": "another"}))
    for path in (script.run / ".attempts" / "train").iterdir():
        if path != script.attempt:
            shutil.rmtree(path)
    script.claim()
    assert script.step("prepare").returncode == 0
    assert (script.attempt / "overrides").read_text() == "output_dir=.attempts/train/t51.0\n"


def test_a_torn_epoch_is_not_taken(lora: case.Script, tmp_path: Path) -> None:
    script = copied(lora, tmp_path / "copy")
    path = script.attempt / "epoch_1" / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    script.claim()
    assert script.step("prepare").returncode == 0
    assert not (script.attempt / "skip").exists()


def test_a_cleaned_epoch_is_trained_again_to_the_same_weights(lora: case.Script, tmp_path: Path) -> None:
    """Its script is the repair that `sample` and `export` name; the epochs that are there stay as they are."""
    script = copied(lora, tmp_path / "copy")
    assert script.step("verify").returncode == 0
    digests = [weights_hash(script.run / f"epoch_{epoch}") for epoch in range(3)]
    kept = (script.run / "epoch_2" / "verified.json").stat().st_ino
    for epoch in (0, 1):
        remove_weights(script.run / f"epoch_{epoch}", "keep last")
    setup = script.run / "setup_finetune.yaml"
    setup.write_text(setup.read_text().replace("rotary_permuted: true", "rotary_permuted: false"))
    script.all()
    assert [weights_hash(script.run / f"epoch_{epoch}") for epoch in range(3)] == digests
    assert (script.run / "epoch_2" / "verified.json").stat().st_ino == kept
    assert not list(script.run.glob("epoch_*/cleaned.json"))
    assert [line["step"] for line in script.metrics()] == [1, 2, 3]
