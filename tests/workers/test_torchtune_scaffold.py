"""Scaffolding: every fault at once with its words, every value with its origin, and texts that torchtune takes."""

import json
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from torchtune import config as torchtune_config

import torchtune_case as case
from tuneloop.documents.yamltext import load_yaml
from tuneloop.experiment.work import Fault, Machine, Site, Usage
from tuneloop.workers.torchtune import worker

TRAIN = case.head()["data"][0]
GOLDEN = Path(__file__).parent / "golden_torchtune"


def faults(folder: Path, **changes: Any) -> list[Fault]:
    return list(worker.scaffold(case.order(folder, **changes)).faults)


def controls(**said: Any) -> dict[str, Any]:
    return {"controls": {"epochs": 2, "batch_size": 8, **said}}


# changes of the design, message, place, hint
FAULTS: list[tuple[dict[str, Any], str, tuple[str | int, ...], str | None]] = [
    (controls(lrr=1), "unknown field `lrr`", ("controls", "lrr"), "did you mean `lr`?"),
    (
        {"variables": {"lora_rnk": [4]}},
        "unknown field `lora_rnk`",
        ("variables", "lora_rnk"),
        "did you mean `lora_rank`?",
    ),
    (
        {"variables": {"lr": ["high"]}},
        "`lr` should be a number above 0, found 'high'",
        ("variables", "lr"),
        "write it like `lr: [3e-4]`",
    ),
    (
        controls(epochs=1.5),
        "`epochs` should be a whole number of at least 1, found 1.5",
        ("controls", "epochs"),
        "write it like `epochs: 1`",
    ),
    (
        {"variables": {}, **controls(lr="1e-3")},
        "`lr` should be a number above 0, found '1e-3'",
        ("controls", "lr"),
        "write it like `lr: 3e-4`, without quotes",
    ),
    (
        {"variables": [{"lr": 1e-3}, {"lr": -1}]},
        "`lr` should be a number above 0, found -1",
        ("variables", 1, "lr"),
        "write it like `lr: 3e-4`",
    ),
    (
        controls(packed="yes"),
        "`packed` should be true or false, found 'yes'",
        ("controls", "packed"),
        "write it like `packed: false`",
    ),
    (
        controls(lora_targets=["q"]),
        "`lora_targets` should be a list of q_proj, k_proj, v_proj, output_proj, mlp, output, found ['q']",
        ("controls", "lora_targets"),
        "write it like `lora_targets: [q_proj, k_proj, v_proj, output_proj, mlp]`",
    ),
    (
        controls(lora_targets=["q_proj", "output"]),
        "`output` cannot be a LoRA target: the model's output shares the embedding's weights",
        ("controls", "lora_targets"),
        "take `output` out of `lora_targets`",
    ),
    (
        controls(packed=True),
        "`packed` needs `max_seq_len`",
        ("controls", "packed"),
        "set `max_seq_len`, 512 at most",
    ),
    (
        controls(max_seq_len=4096),
        "`max_seq_len` is 4096, the model has 512 positions",
        ("controls", "max_seq_len"),
        "write 512 or less",
    ),
    (
        controls(batch_size=17),
        "16 training samples make no step of 17 x 1",
        ("controls", "batch_size"),
        "torchtune drops an incomplete batch: lower `batch_size` or `gradient_accumulation`",
    ),
    (
        controls(max_steps=3),
        "`max_steps` of 3 does not divide into 2 epochs",
        ("controls", "max_steps"),
        "torchtune limits the steps of each epoch; choose a multiple",
    ),
    (
        {"method": {"update": "full"}, **controls(lora_rank=4)},
        "`lora_rank` has no meaning with `update: full`",
        ("controls", "lora_rank"),
        "take it out, or set `method: {update: lora}`",
    ),
    (
        {"method": {"update": "qlora"}},
        "the base cannot be quantized: its k_proj has 64 x 128 numbers, NF4 works on multiples of 16,384",
        ("method", "update"),
        "write `update: lora`",
    ),
    (
        {"method": {"objective": "distillation", "update": "full", "teacher": str(case.TINY)}},
        "`objective: distillation` does not go with `update: full`",
        ("method", "update"),
        "write `update:` with lora or qlora or dora",
    ),
    (
        {"model": "control@1"},
        "`control@1` is a run of this experiment, which cannot start from its own",
        ("model",),
        "write `EXPERIMENT/RUN@EPOCH`; all runs of one experiment start from the same model",
    ),
    (
        {"preset": "qwen2/0.5B_lora_single_devise"},
        "torchtune ships no config `qwen2/0.5B_lora_single_devise`",
        ("preset",),
        "did you mean `qwen2/0.5B_lora_single_device`?",
    ),
    (
        {"preset": "llama3_2/1B_lora_single_device"},
        "the preset `llama3_2/1B_lora_single_device` is for LLAMA3_2 models, the model folder is QWEN2",
        ("preset",),
        "choose one of the model's own family, or take `preset` out",
    ),
    (
        {"preset": "qwen2/0.5B_full_single_device"},
        "the preset `qwen2/0.5B_full_single_device` is for `objective: sft` with `update: full`, not for `sft` with `lora`",
        ("preset",),
        "set `method: {objective: sft, update: full}`, or choose another preset",
    ),
    (
        controls(torchtune={"optimizer.epz": 1e-6}),
        "`torch.optim.AdamW` takes no argument `epz`",
        ("controls", "torchtune", "optimizer.epz"),
        None,
    ),
    (
        controls(torchtune={"optimizer": {"epz": 1e-6}}),
        "`torch.optim.AdamW` takes no argument `epz`",
        ("controls", "torchtune", "optimizer", "epz"),
        None,
    ),
    (
        {"variables": {"torchtune.shufle": [True]}},
        "torchtune's lora_finetune_single_device has no key `shufle`",
        ("variables", "torchtune.shufle"),
        "did you mean `shuffle`?",
    ),
    (
        controls(optimizer="torch.optim.Nope"),
        "`torch.optim.Nope` cannot be imported",
        ("controls", "optimizer"),
        "check the name, or install torch",
    ),
    (
        controls(torchtune={"optimizer.lr": 1}),
        "`optimizer.lr` is the field `lr`",
        ("controls", "torchtune", "optimizer.lr"),
        "set `lr` instead",
    ),
    (
        controls(torchtune={"output_dir": "/x"}),
        "`output_dir` is written by the scaffold",
        ("controls", "torchtune", "output_dir"),
        "take it out",
    ),
    (
        controls(torchtune={"loss": None}),
        "`loss` is a section of torchtune's config",
        ("controls", "torchtune", "loss"),
        "write the keys of it that are to change, like `loss: {NAME: VALUE}`",
    ),
    (
        {"variables": {"torchtune.loss": [{}]}},
        "`loss` is a section of torchtune's config",
        ("variables", "torchtune.loss"),
        None,
    ),
    (
        controls(torchtune={"shuffle": {"often": True}}),
        "`shuffle` is a value of torchtune's config, not a section",
        ("controls", "torchtune", "shuffle", "often"),
        "set `shuffle` itself",
    ),
    (
        controls(**{"torchtune.optimizer": {"lr": 1.0}}),
        "`optimizer.lr` is the field `lr`",
        ("controls", "torchtune.optimizer", "lr"),
        "set `lr` instead",
    ),
    (
        controls(torchtune={"optimizer.": 1}),
        "`torchtune` should be a mapping of torchtune's keys",
        ("controls", "torchtune", "optimizer."),
        None,
    ),
    (
        controls(torchtune={"optimizer": {3: 1}}),
        "`torch.optim.AdamW` takes no argument `3`",
        ("controls", "torchtune", "optimizer", "3"),
        None,
    ),
    (
        {"data": [TRAIN | {"format": "preference"}]},
        "the objective `sft` does not train on the format `preference`",
        ("data", 0),
        "it takes `instruct`, `chat`, `text`: convert the file, or set `objective: preference`",
    ),
    (
        {"data": [TRAIN | {"columns": {"inputs": "word"}}]},
        "unknown column role `inputs`",
        ("data", 0),
        "did you mean `input`?",
    ),
]


@pytest.mark.parametrize("changes, message, at, hint", FAULTS, ids=[row[1][:40] for row in FAULTS])
def test_a_fault_names_its_place(
    tmp_path: Path, changes: dict[str, Any], message: str, at: tuple[str | int, ...], hint: str | None
) -> None:
    found = faults(tmp_path, **changes)
    assert [(fault.message, fault.at) for fault in found] == [(message, at)]
    if hint is not None:
        assert found[0].hint == hint


@pytest.mark.parametrize(
    "said",
    [
        {"torchtune": {"loss": {"num_output_chunks": 4}}},
        {"torchtune": {"loss.num_output_chunks": 4}},
        {"torchtune.loss": {"num_output_chunks": 4}},
        {"torchtune.loss.num_output_chunks": 4},
    ],
    ids=["nested", "below torchtune", "a mapping", "dotted"],
)
@pytest.mark.parametrize("place", ["controls", "variables"])
def test_a_key_of_a_section_is_merged_into_it(tmp_path: Path, place: str, said: dict[str, Any]) -> None:
    values = {name: [value] for name, value in said.items()} if place == "variables" else {"epochs": 2, **said}
    done = worker.scaffold(case.order(tmp_path, preset="qwen2/0.5B_lora_single_device", samples=64, **{place: values}))
    assert not done.faults
    config = load_yaml(next(file.text for file in done.files if file.path.endswith("/finetune.yaml")))
    assert config["loss"] == {"_component_": "torchtune.modules.loss.CEWithChunkedOutputLoss", "num_output_chunks": 4}


def test_a_section_without_a_component_is_torchtunes_business(tmp_path: Path) -> None:
    assert faults(tmp_path, **controls(torchtune={"profiler": {"enabled": False}})) == []


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    found = faults(tmp_path, variables={"lr": ["high", 1e-3], "lora_rank": [0, 4]}, controls={"lrr": 1})
    assert [fault.message for fault in found] == [
        "unknown field `lrr`",
        "`lr` should be a number above 0, found 'high'",
        "`lora_rank` should be a whole number of at least 1, found 0",
    ]


def test_a_wrong_value_that_all_runs_share_is_told_once(tmp_path: Path) -> None:
    found = faults(tmp_path, variables={"lora_rank": [2, 4, 8]}, **controls(scheduler="cosin", batch_size="many"))
    assert sorted(str(fault.at[-1]) for fault in found) == ["batch_size", "scheduler"]


def test_an_override_is_faulted_where_it_stands(tmp_path: Path) -> None:
    found = faults(tmp_path, runs=[{"name": "extra", "set": {"lr": -1}}])
    assert [fault.at for fault in found] == [("runs", 0, "set", "lr")]


def test_a_missing_model_folder_is_a_fault(tmp_path: Path) -> None:
    (found,) = faults(tmp_path, model="nowhere")
    assert (found.message, found.at) == ("no model folder `nowhere`", ("model",))


def test_an_unsupported_family_is_refused(tmp_path: Path) -> None:
    folder = case.copy_of(case.TINY, tmp_path / "model")
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen3"}))
    (found,) = faults(tmp_path / "experiment", model=str(folder))
    assert found.message == f"{folder}/config.json: the model family `qwen3` is not supported"


BROKEN = [
    ("", "data/train.jsonl: the file is empty"),
    ('{"word": "a", "capitalized": "A"}\n{"word": \n', "data/train.jsonl:2: not JSON: Expecting value"),
    ('{"wort": "a", "capitalized": "A"}\n', "data/train.jsonl:1: no column `word`"),
    ('{"word": 1, "capitalized": "A"}\n', "data/train.jsonl:1: column `word` is not text, it is a number"),
    ("[1]\n", "data/train.jsonl:1: expected an object with columns, found a number"),
]


@pytest.mark.parametrize("text, message", BROKEN, ids=[row[1][18:40] for row in BROKEN])
def test_a_broken_file_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.jsonl").write_text(text)
    (found,) = faults(tmp_path)
    assert (found.message, found.at) == (f"{tmp_path}/{message}", ("data", 0))
    assert found.hint is not None


def test_a_file_of_another_kind_is_one_fault(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("word\tcapitalized\na\tA\n")
    (found,) = faults(tmp_path, data=[TRAIN | {"path": "train.tsv"}])
    assert (found.message, found.at) == (
        f"{tmp_path}/train.tsv: neither a .json, .jsonl, .csv nor a .parquet file",
        ("data", 0, "path"),
    )
    assert found.hint is not None
    assert "JSON (a list of objects), JSONL (one object a line)" in found.hint


def test_the_bases_of_estimates_are_words(tmp_path: Path) -> None:
    asked = case.order(tmp_path, samples=800)
    one = replace(asked, machine=Machine("local", 0, 1, sys.executable))
    (estimate,) = worker.estimate(one).values()
    assert estimate.tokens is not None
    assert f"{estimate.tokens:,} tokens" in estimate.basis
    assert "(1 core x" in estimate.basis


def notes(folder: Path, samples: int = 16, **changes: Any) -> tuple[str, ...]:
    return worker.scaffold(case.order(folder, samples=samples, **changes)).notes


def test_warming_up_to_the_end_is_noted(tmp_path: Path) -> None:
    assert notes(tmp_path, **controls(warmup_steps=3)) == ()
    assert notes(tmp_path, variables={"lr": [1e-3, 1e-4]}, **controls(warmup_steps=4)) == (
        "the learning rate is still warming up when training ends (`lr1e-3`: 4 of 4 steps, and 1 more run)",
    )


def test_many_dropped_samples_are_noted(tmp_path: Path) -> None:
    assert notes(tmp_path / "few", samples=17) == ()  # 1 of 17
    assert notes(tmp_path / "limited", samples=23, **controls(max_steps=2)) == ()
    (found,) = notes(tmp_path / "many", samples=23)
    assert found.startswith("many samples of each epoch are not trained on")
    assert found.endswith("(`lr3e-3`: 30 % of them)")


def test_a_missing_data_file_is_a_fault(tmp_path: Path) -> None:
    (found,) = faults(tmp_path, data=[TRAIN | {"path": "data/gone.jsonl"}])
    assert (found.message, found.at) == (f"{tmp_path}/data/gone.jsonl: no such file", ("data", 0, "path"))


def test_what_a_split_inherits_is_faulted_once(tmp_path: Path) -> None:
    train = TRAIN | {"format": "preference"}
    assert len(faults(tmp_path, data=[train, {"split": "validation", "path": "data/validation.jsonl"}])) == 1


MORE = TRAIN | {"path": "data/validation.jsonl"}


def test_weights_are_counted_in_steps_and_tokens(tmp_path: Path) -> None:
    def estimated(*entries: dict[str, Any], **said: Any) -> tuple[int | None, int | None]:
        asked = case.order(tmp_path, data=list(entries), **controls(**said))
        (found,) = worker.estimate(asked).values()
        return found.steps, found.tokens

    steps, tokens = estimated(TRAIN)
    assert (steps, estimated(TRAIN | {"weight": 3})) == (4, (12, 3 * (tokens or 0)))
    assert estimated(TRAIN, MORE)[0] == 8
    assert estimated(TRAIN, MORE | {"weight": 0.5})[0] == 6
    packed = {"packed": True, "max_seq_len": 64, "batch_size": 2}
    assert estimated(TRAIN | {"weight": 2}, **packed)[0] == 2 * (estimated(TRAIN, **packed)[0] or 0)


def test_every_file_of_a_split_is_recorded(tmp_path: Path) -> None:
    done = worker.scaffold(case.order(tmp_path, data=[TRAIN, MORE | {"weight": 2, "system": "Be brief."}]))
    setup = load_yaml(next(file.text for file in done.files if file.path.endswith("setup_finetune.yaml")))
    one, other = setup["data"]["train"]
    assert (one["path"], other["path"]) == ("../data/train.jsonl", "../data/validation.jsonl")
    assert (other["weight"], other["system"], other["samples"]) == (2.0, "Be brief.", 16)
    assert "weight" not in one


def test_a_weight_that_takes_nothing_is_a_fault(tmp_path: Path) -> None:
    (found,) = faults(tmp_path, data=[TRAIN, MORE | {"weight": 0.01}])
    assert (found.at, found.message) == (
        ("data", 1, "weight"),
        f"a weight of 0.01 takes none of the 16 samples of {tmp_path}/data/validation.jsonl",
    )


def test_a_text_takes_no_train_on_input(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "text.csv").write_text("text\nOnce upon a time\n" + "and so on\n" * 20)
    data = [{"split": "train", "path": "data/text.csv", "format": "text"}]
    (found,) = faults(tmp_path, data=data, **controls(train_on_input=True))
    assert found.message == "`train_on_input` has no meaning for the format `text`"
    done = worker.scaffold(case.order(tmp_path, data=data))
    config = load_yaml(next(file.text for file in done.files if file.path.endswith("/finetune.yaml")))
    assert config["dataset"] == {
        "_component_": "tuneloop.workers.torchtune.components.dataset.text_dataset",
        "sources": [{"source": "../data/text.csv", "format": "text"}],
        "packed": False,
        "seed": "${seed}",
    }


def test_another_file_than_the_designs_is_a_fault(tmp_path: Path) -> None:
    (found,) = faults(tmp_path, data=[TRAIN | {"hash": "sha256:0"}])
    assert (found.message, found.at) == (
        f"{tmp_path}/data/train.jsonl is not the file that the design names",
        ("data", 0, "hash"),
    )


def test_every_setting_has_its_origin(tmp_path: Path) -> None:
    done = worker.scaffold(
        case.order(
            tmp_path,
            preset="qwen2/0.5B_lora_single_device",
            **controls(gradient_accumulation=1, torchtune={"optimizer.eps": 1e-6}),
        )
    )
    settings = done.settings["lr3e-3"]
    assert {name: (settings[name].value, settings[name].origin) for name in ORIGINS} == ORIGINS


ORIGINS = {
    "lr": (3e-3, "design: variables.lr"),
    "batch_size": (8, "design: controls.batch_size"),
    "seed": (1, "design: seeds"),
    "lora_rank": (32, "preset: qwen2/0.5B_lora_single_device"),
    "warmup_steps": (100, "preset: qwen2/0.5B_lora_single_device"),
    "clip_grad_norm": (None, "preset: qwen2/0.5B_lora_single_device"),
    "logger": ("none", "default"),
    "dtype": ("fp32", "machine: no CUDA device"),
    "torchtune.optimizer.eps": (1e-6, "design: controls.torchtune.optimizer.eps"),
    "model.rope_base": (10000.0, "model: config.json"),
}


def test_nothing_of_a_presets_places_is_left(tmp_path: Path) -> None:
    done = worker.scaffold(case.order(tmp_path, preset="qwen2/0.5B_lora_single_device", samples=64))
    config = next(file.text for file in done.files if file.path.endswith("finetune.yaml") and "setup" not in file.path)
    assert "/tmp/Qwen" not in config
    assert "/tmp/torchtune" not in config
    assert "alpaca" not in config
    assert load_yaml(config)["optimizer"]["fused"] is True


def test_alpha_is_twice_the_rank(tmp_path: Path) -> None:
    done = worker.scaffold(case.order(tmp_path, variables={"lora_rank": [4, 32]}))
    assert [run["lora_alpha"].value for run in done.settings.values()] == [8, 64]


def test_a_gpu_changes_device_and_dtype(tmp_path: Path) -> None:
    done = case.scaffolded(case.order(tmp_path, gpus=1))
    config = load_yaml((tmp_path / "lr3e-3" / "finetune.yaml").read_text())
    assert (config["device"], config["dtype"], config["log_peak_memory_stats"]) == ("cuda", "bf16", True)
    assert done.jobs[0].shape.gpus == 1
    assert "OMP_NUM_THREADS" not in (tmp_path / "lr3e-3" / "finetune.slurm").read_text()


def test_the_set_up_and_the_interpreter_decide_no_result(tmp_path: Path) -> None:
    order = case.order(tmp_path)
    site = Site(setup=("module load cuda",), memory_mb=9000, minutes=1)
    other = replace(order, machine=replace(order.machine, site=site, python="/other/bin/python"))
    before, after = worker.scaffold(order), worker.scaffold(other)
    assert [job.digest for job in after.jobs] == [job.digest for job in before.jobs]
    changed = [old.path for old, new in zip(before.files, after.files, strict=True) if old != new]
    assert {Path(path).suffix for path in changed} == {".slurm"}


@pytest.mark.parametrize(("resumes", "asked"), [(1, 1), (0, 15)])
def test_a_training_over_the_site_s_limit_asks_for_it_where_it_may_go_on_later(
    resumes: int, asked: int, tmp_path: Path
) -> None:
    order = case.order(tmp_path, policy={"resumes": resumes}, **controls(epochs=4))
    first = worker.scaffold(order).jobs[0]
    # Measured at a minute and a half, in four epochs.
    seen = {str(first.key): Usage(90.0, 90.0, 100.0)}
    order = replace(order, seen=seen, machine=replace(order.machine, site=Site(minutes=1)))
    result = worker.scaffold(order)
    assert result.jobs[0].shape.minutes == asked
    script = next(file.text for file in result.files if file.path.endswith("finetune.slurm"))
    assert f"#SBATCH --time=0-00:{asked:02d}:00\n" in script


def test_the_digest_follows_what_decides_the_result(tmp_path: Path) -> None:
    def digest(folder: str, **changes: Any) -> str:
        return worker.scaffold(case.order(tmp_path / folder, **changes)).jobs[0].digest

    same = digest("a")
    assert digest("b") == same  # a folder can be moved
    assert digest("c", **controls(logger="disk")) == same  # watching changes nothing
    assert digest("d", seeds=[2]) != same
    assert digest("e", samples=15) != same
    assert digest("f", **controls(warmup_steps=1)) != same
    assert digest("g", data=[TRAIN | {"weight": 2}, case.head()["data"][1]]) != same
    assert digest("h", data=[TRAIN | {"prompt": "say {input}"}, case.head()["data"][1]]) != same


def test_a_hostile_prompt_reaches_the_dataset_whole(tmp_path: Path) -> None:
    prompt = "say ${seed} 'twice' \"# {input}: {x}"
    case.scaffolded(case.order(tmp_path, data=[TRAIN | {"prompt": prompt}]))
    config = OmegaConf.load(tmp_path / "lr3e-3" / "finetune.yaml")
    assert config.dataset.sources[0].prompt == prompt


def test_the_steps_are_exact(tmp_path: Path) -> None:
    asked = case.order(tmp_path, samples=84, **controls(gradient_accumulation=3))
    (estimate,) = worker.estimate(asked).values()
    assert estimate.steps == 6  # 84 samples, 10 batches, 3 steps an epoch
    words = [json.loads(line)["word"] for line in (tmp_path / "data" / "train.jsonl").read_text().splitlines()]
    # A byte is a token, so are <|im_start|> and <|im_end|>; the last newline is not part of a sample.
    around = len("user\ncapitalize: " + "\n" + "assistant\n") + 4
    assert estimate.tokens == 2 * sum(around + 2 * len(word) for word in words)
    config = load_yaml(worker.scaffold(asked).files[1].text)
    assert config["max_steps_per_epoch"] == 3


def test_a_run_that_was_seen_corrects_the_others(tmp_path: Path) -> None:
    rates = {"lr": [1e-3, 2e-3]}
    first, second = worker.estimate(case.order(tmp_path, variables=rates)).items()
    seen = {first[0]: Usage(3 * first[1].seconds, 60.0, first[1].memory_mb / 2)}
    found = worker.estimate(case.order(tmp_path, variables=rates, seen=seen))
    assert found[first[0]].seconds == pytest.approx(3 * first[1].seconds)
    assert found[second[0]].seconds == pytest.approx(3 * second[1].seconds, rel=0.01)
    assert found[second[0]].memory_mb == pytest.approx(1.1 * second[1].memory_mb / 2, rel=0.01)
    assert found[second[0]].basis.endswith("; corrected by 1 job of this experiment: time x 3, memory x 0.55")


def test_a_thousand_runs_take_seconds(tmp_path: Path) -> None:
    rates = [round(1e-5 * step, 6) for step in range(1, 101)]
    asked = case.order(tmp_path, variables={"lr": rates, "lora_rank": list(range(1, 11))})
    begun = time.process_time()
    done = worker.scaffold(asked)
    assert len(done.jobs) == 1000
    assert time.process_time() - begun < 10


@pytest.mark.parametrize("update", ["lora", "full"])
@pytest.mark.parametrize("tied", [True, False])
def test_torchtune_builds_a_llama_of_either_kind(tmp_path: Path, update: str, tied: bool) -> None:
    model = case.llama_folder(tmp_path / "llama", tied=tied)
    case.scaffolded(case.order(tmp_path / "experiment", model=str(model), method={"update": update}))
    config = OmegaConf.load(tmp_path / "experiment" / "lr3e-3" / "finetune.yaml")
    built = torchtune_config.instantiate(config.model)
    assert config.model.scale_factor == (32.0 if tied else 8.0)
    assert built.layers[0].attn.pos_embeddings.base == 500000.0
    assert built.norm.eps == 1e-5


def test_rope_scaling_that_torchtune_cannot_build_is_refused(tmp_path: Path) -> None:
    model = case.llama_folder(tmp_path / "llama")
    config = json.loads((model / "config.json").read_text())
    key = "rope_parameters" if "rope_parameters" in config else "rope_scaling"
    config[key]["low_freq_factor"] = 2.0
    (model / "config.json").write_text(json.dumps(config))
    (found,) = faults(tmp_path / "experiment", model=str(model))
    assert found.message == (
        f"{model}/config.json: torchtune cannot build a Llama with `low_freq_factor: 2.0` in its rope scaling"
    )


def test_the_worker_is_light() -> None:
    code = "import sys; from tuneloop.workers.torchtune import worker; print('torch' in sys.modules, worker.name)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "torchtune"]


DEMO = {
    "variables": {"lora_rank": [4], "lr": [3e-4]},
    "controls": {"epochs": 2, "batch_size": 32, "lora_alpha": 64, "scheduler": "cosine", "warmup_steps": 10},
    "model": "tiny-base",
    "samples": 2000,
}


@pytest.mark.parametrize("name", ["setup_finetune.yaml", "finetune.yaml", "finetune.slurm"])
def test_texts_are_the_golden_ones(tmp_path: Path, name: str) -> None:
    case.copy_of(case.TINY, tmp_path / "tiny-base")
    done = worker.scaffold(case.order(tmp_path, **DEMO))
    text = next(file.text for file in done.files if file.path == f"rank4_lr3e-4/{name}")
    text = text.replace(str(Path(sys.executable).parent), "/BIN")
    # The weights may be made again; a digest of them is no part of the text's shape.
    text = re.sub(r"\b(sha256:)?[0-9a-f]{16}([0-9a-f]{48})?\b", "HASH", text)
    renewed = tmp_path / "golden_torchtune" / name
    renewed.parent.mkdir(exist_ok=True)
    renewed.write_text(text)
    golden = GOLDEN / name
    assert golden.exists(), f"to begin: cp {renewed} {golden}"
    assert text == golden.read_text(), f"to renew: cp {renewed} {golden}"


def test_a_run_folder_names_no_absolute_path(tmp_path: Path) -> None:
    case.copy_of(case.TINY, tmp_path / "tiny-base")
    done = worker.scaffold(case.order(tmp_path, **DEMO))
    for file in done.files:
        assert str(tmp_path) not in file.text
    shutil.rmtree(tmp_path / "tiny-base")
