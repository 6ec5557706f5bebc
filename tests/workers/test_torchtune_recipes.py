"""Recipes: which one follows from a method, and what its config holds.

Those on one device and LoRA on two are trained in test_torchtune_training.py and test_torchtune_objectives.py.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

import torchtune_case as case
from tuneloop.documents.schema import validate
from tuneloop.documents.yamltext import load_yaml
from tuneloop.experiment.design import Method
from tuneloop.experiment.work import Fault
from tuneloop.workers.torchtune import worker
from tuneloop.workers.torchtune.fields import FIELDS
from tuneloop.workers.torchtune.presets import top_level_keys
from tuneloop.workers.torchtune.recipes import RECIPES, method_faults, recipe_of

BATCHES = {"epochs": 1, "batch_size": 4}
PAIRS: dict[str, Any] = {
    "split": "train",
    "path": "data/pairs.jsonl",
    "format": "preference",
    "columns": {"input": "word", "chosen": "capitalized", "rejected": "word"},
    "prompt": "capitalize: {input}",
}
SEVERAL = BATCHES | {"devices": 2, "batch_size": 2}
KD = {"objective": "distillation", "teacher": str(case.TINY)}
# What a design says, by the recipe that follows from it.
SINGLE: dict[str, dict[str, Any]] = {
    "lora_finetune_single_device": {"method": {"update": "lora"}},
    "full_finetune_single_device": {"method": {"update": "full"}},
    "lora_dpo_single_device": {"method": {"objective": "preference"}, "data": [PAIRS]},
    "ppo_full_finetune_single_device": {
        "method": {"objective": "rl", "update": "full", "reward_model": "../reward"},
        "controls": BATCHES | {"max_generated_tokens": 8, "ppo_batch_size": 2, "ppo_epochs": 2},
    },
    "knowledge_distillation_single_device": {"method": KD},
}
DISTRIBUTED: dict[str, dict[str, Any]] = {
    "lora_finetune_distributed": {"controls": SEVERAL},
    "full_finetune_distributed": {"method": {"update": "full"}, "controls": SEVERAL},
    "qat_distributed": {"method": {"update": "qat"}, "controls": BATCHES | {"groupsize": 128}},
    "qat_lora_finetune_distributed": {
        "method": {"update": "qat"},
        "controls": BATCHES | {"groupsize": 128, "lora_targets": ["output_proj", "mlp"]},
    },
    "lora_dpo_distributed": {"method": {"objective": "preference"}, "data": [PAIRS], "controls": SEVERAL},
    "full_dpo_distributed": {"method": {"objective": "preference", "update": "full"}, "data": [PAIRS]},
    "knowledge_distillation_distributed": {"method": KD, "controls": SEVERAL},
}


def asked_for(folder: Path, **changes: Any) -> case.Order:
    asked = case.order(folder / "experiment", **{"controls": BATCHES, "variables": {}} | changes)
    pairs = [row for row in case.words("train", 24) if row["word"] != row["capitalized"]][:16]
    (asked.path / "data" / "pairs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in pairs))
    return asked


def prepared(folder: Path, **changes: Any) -> Path:
    """Scaffold a design of one run and return the run's folder."""
    asked = asked_for(folder, **changes)
    case.scaffolded(asked)
    return asked.path / "train"


def tune(run: Path, program: str | None = None) -> list[dict[str, Any]]:
    """Train with the config as it was written, and return the logged steps.

    `program`, a file of the run's folder, runs in the place of the recipe, in two processes.
    """
    recipe = load_yaml((run / "setup_finetune.yaml").read_text())["recipe"]
    which = [recipe] if program is None else ["--nnodes", "1", "--nproc_per_node", "2", program]
    argv = [str(case.BIN / "tune"), "run", *which, "--config", "finetune.yaml"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(argv, cwd=run, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in (run / "output" / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def reward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return case.reward_folder(tmp_path_factory.mktemp("models") / "reward")


@pytest.fixture
def place(tmp_path: Path, reward: Path) -> Path:
    """Return a folder for an experiment, with the reward model beside it."""
    (tmp_path / "reward").symlink_to(reward)
    return tmp_path


def check_trained(run: Path, steps: list[dict[str, Any]]) -> None:
    setup = load_yaml((run / "setup_finetune.yaml").read_text())
    assert steps[-1]["step"] == setup["steps"]
    assert all(line["loss"] is not None for line in steps)
    assert (run / "output" / "epoch_0").is_dir()


@pytest.mark.train
def test_preferences_train_an_adapter_on_a_quantized_base(place: Path) -> None:
    run = prepared(
        place,
        model=str(case.wide_folder(place / "wide")),
        method={"objective": "preference", "update": "qlora"},
        controls=BATCHES | {"dtype": "bf16"},
        data=[PAIRS],
    )
    check_trained(run, tune(run))


def on_two_processes(place: Path, recipe: str) -> None:
    """Train with a distributed recipe. torchtune wants GPUs for it; a program of the test lets it run over gloo."""
    run = prepared(place, **DISTRIBUTED[recipe])
    check_trained(run, tune(run, case.over_gloo(run, recipe)))


@pytest.mark.soak
@pytest.mark.parametrize("recipe", [name for name in DISTRIBUTED if name != "lora_finetune_distributed"])
def test_the_other_distributed_recipes_train_on_two_processes(place: Path, recipe: str) -> None:
    on_two_processes(place, recipe)


@pytest.mark.parametrize("recipe", [*SINGLE, *DISTRIBUTED])
def test_a_config_has_what_its_recipe_reads_and_nothing_else(place: Path, recipe: str) -> None:
    changes = {**SINGLE, **DISTRIBUTED}[recipe]
    run = prepared(place, **changes)
    config = load_yaml((run / "finetune.yaml").read_text())
    assert set(config) <= top_level_keys(recipe)
    script = (run / "finetune.slurm").read_text()
    several = "--nproc_per_node 2 " if "distributed" in recipe else ""
    assert f"tune run {several}{recipe} --config finetune.yaml" in script
    assert ("#SBATCH --gpus-per-node=2" in script) == ("distributed" in recipe)


def test_every_recipe_is_asked_for() -> None:
    assert {*SINGLE, *DISTRIBUTED} == set(RECIPES)


def test_distributed_runs_are_told_to_need_gpus(place: Path) -> None:
    done = worker.scaffold(asked_for(place, **DISTRIBUTED["lora_finetune_distributed"]))
    (note,) = [note for note in done.notes if "distributed" in note]
    assert note == (
        "a distributed recipe needs GPUs, and there is none here: the config is validated, the job cannot run "
        "(`train`: lora_finetune_distributed on 2 devices)"
    )


@pytest.mark.parametrize("recipe", DISTRIBUTED)
def test_on_several_nodes_srun_starts_one_launcher_a_node(place: Path, recipe: str) -> None:
    changes = DISTRIBUTED[recipe]
    done = case.scaffolded(
        asked_for(place, **changes | {"controls": changes.get("controls", BATCHES) | {"nodes": 2, "devices": 2}})
    )
    (job,) = done.jobs
    assert (job.shape.nodes, job.shape.gpus) == (2, 2)
    script = (place / "experiment" / "train" / "finetune.slurm").read_text()
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    told = script.replace("\\\n", "").split()
    assert told.count("srun") == told.count("prepare") == told.count("verify") == 1
    assert f"--nodes=2 --ntasks-per-node=1 --cpus-per-task={job.shape.cpus} --export=ALL --kill-on-bad-exit=1" in (
        " ".join(told)
    )
    assert "python -m tuneloop.jobs.orphans tune run --nnodes 2 --nproc_per_node 2 --rdzv_id" in " ".join(told)
    assert told[told.index("--config") - 1] == recipe
    setup = load_yaml((place / "experiment" / "train" / "setup_finetune.yaml").read_text())
    assert (setup["nodes"], setup["devices"], setup["recipe"]) == (2, 2, recipe)


def test_how_many_processes_train_decides_the_steps_and_the_digest_and_not_where_they_are(place: Path) -> None:
    """Two nodes of one device train as one node of two."""
    cells = [{"devices": 2, "nodes": 1}, {"devices": 1, "nodes": 2}, {"devices": 2, "nodes": 2}]
    asked = asked_for(place, variables=cells, controls=BATCHES | {"batch_size": 2})
    done = case.scaffolded(asked)
    one, two, four = (
        load_yaml((asked.path / str(job.run) / "setup_finetune.yaml").read_text())["steps"] for job in done.jobs
    )
    assert (one, two, four) == (4, 4, 2)
    assert [job.digest == done.jobs[0].digest for job in done.jobs] == [True, True, False]
    estimated = worker.estimate(asked)
    in_one, in_two, in_four = (estimated[job.key].memory_mb for job in done.jobs)
    assert in_two < in_one, "half of the processes are elsewhere"
    assert in_two < in_four <= in_one


def test_runs_of_one_experiment_may_differ_in_devices(place: Path) -> None:
    asked = asked_for(place, variables={"devices": [1, 2]}, controls=BATCHES)
    done = case.scaffolded(asked)
    recipes = {run.name: load_yaml((asked.path / run.name / "setup_finetune.yaml").read_text()) for run in asked.runs}
    assert {setup["recipe"]: setup["steps"] for setup in recipes.values()} == {
        "lora_finetune_single_device": 4,
        "lora_finetune_distributed": 2,
    }
    assert len({job.digest for job in done.jobs}) == 2


def test_the_digest_knows_the_teacher(place: Path) -> None:
    teacher = case.copy_of(case.TINY, place / "teacher")
    changes = {"method": KD | {"teacher": str(teacher)}}
    (before,) = worker.scaffold(asked_for(place, **changes)).jobs
    (teacher / "generation_config.json").write_text("{}")
    (after,) = worker.scaffold(asked_for(place, **changes)).jobs
    assert before.digest != after.digest


METHODS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, []),
    ({"algorithm": "dpo"}, ["torchtune has no algorithm `dpo` for `objective: sft`; it needs none"]),
    ({"objective": "preference", "algorithm": "dpo"}, []),
    (
        {"objective": "preference", "algorithm": "orpo"},
        ["torchtune has no algorithm `orpo` for `objective: preference`; it knows dpo"],
    ),
    (
        {"objective": "rl"},
        ["`objective: rl` does not go with `update: lora`", "`objective: rl` needs a `reward_model`"],
    ),
    ({"objective": "distillation"}, ["`objective: distillation` needs a `teacher`"]),
    ({"teacher": "x"}, ["`teacher` has no meaning with `objective: sft`"]),
    (
        {"objective": "distillation", "teacher": "x", "reward_model": "y"},
        ["`reward_model` has no meaning with `objective: distillation`"],
    ),
]


@pytest.mark.parametrize("said, messages", METHODS)
def test_a_method_says_what_it_lacks(said: dict[str, Any], messages: list[str]) -> None:
    found = list(method_faults(validate(Method, said)))
    assert [fault.message for fault in found] == messages
    assert all(fault.hint for fault in found)


@pytest.mark.parametrize("devices, nodes", [(1, 1), (2, 1), (8, 1), (1, 2), (8, 4)])
@pytest.mark.parametrize("objective", ["sft", "preference", "rl", "distillation"])
@pytest.mark.parametrize("update", ["full", "lora", "qlora", "dora", "qat"])
@pytest.mark.parametrize("lora", [True, False])
def test_a_recipe_does_what_the_method_says_or_there_is_a_reason(
    objective: str, update: str, devices: int, nodes: int, lora: bool
) -> None:
    method = validate(Method, {"objective": objective, "update": update})
    found = recipe_of(method, devices, nodes, lora=lora)
    if isinstance(found, Fault):
        assert found.hint
        return
    assert found.objective == objective
    assert update in found.updates
    assert found.distributed == (devices * nodes > 1)
    assert found.adapter == (update in ("lora", "qlora", "dora") or (update == "qat" and lora))


# changes of the design, message, place, hint
FAULTS: list[tuple[dict[str, Any], str, tuple[str | int, ...], str]] = [
    (
        {"controls": BATCHES | {"beta": 0.1}},
        "`beta` has no meaning with `objective: sft`",
        ("controls", "beta"),
        "take it out, or set `method: {objective: preference}`",
    ),
    (
        {"controls": BATCHES | {"quantize_base": True}},
        "`quantize_base` has no meaning with `update: lora`",
        ("controls", "quantize_base"),
        "take it out, or set `method: {update: dora}`",
    ),
    (
        {"method": {"objective": "preference"}, "data": [PAIRS], "controls": BATCHES | {"clip_grad_norm": 1.0}},
        "`clip_grad_norm` has no meaning for torchtune's lora_dpo_single_device",
        ("controls", "clip_grad_norm"),
        "take it out",
    ),
    (
        {"method": {"update": "qat"}, "controls": BATCHES | {"devices": 1}},
        "torchtune has no recipe for `objective: sft` with `update: qat` on one device",
        ("controls", "devices"),
        "set `devices: 2` or more",
    ),
    (
        {
            "method": {"objective": "preference", "update": "dora"},
            "data": [PAIRS],
            "controls": BATCHES | {"devices": 1},
        },
        "torchtune has no recipe for `objective: preference` with `update: dora` on one device",
        ("controls", "devices"),
        "set `devices: 2` or more, or `update: lora`",
    ),
    (
        {"method": {"update": "qat"}},
        "`groupsize` of 256 does not divide the model's widths (128, 384)",
        (),
        "write one of 128, 64, 32",
    ),
    (
        {"method": {"update": "qat"}, "controls": BATCHES | {"groupsize": 128, "lora_rank": 4}},
        (
            "torchtune cannot train `q_proj`, `k_proj`, `v_proj` of a Qwen2 with quantization-aware LoRA: these layers "
            "have biases"
        ),
        (),
        "set `lora_targets: [output_proj, mlp]`, or take the LoRA fields out to train the whole model",
    ),
    (
        {"method": KD | {"teacher": "nowhere"}},
        "no model folder `nowhere`",
        ("method", "teacher"),
        "paths start at the experiment's folder",
    ),
    (
        {"method": {"objective": "rl", "update": "full", "reward_model": str(case.TINY)}},
        "the reward model is a Qwen2ForCausalLM, no classifier",
        ("method", "reward_model"),
        "train one with transformers' AutoModelForSequenceClassification and num_labels=1",
    ),
    (
        SINGLE["ppo_full_finetune_single_device"] | {"controls": BATCHES | {"ppo_batch_size": 3}},
        "`batch_size` of 4 is no multiple of `ppo_batch_size` of 3",
        ("controls", "ppo_batch_size"),
        "choose a `ppo_batch_size` that divides it",
    ),
    (
        SINGLE["ppo_full_finetune_single_device"] | {"controls": BATCHES | {"max_generated_tokens": 500}},
        "a prompt of 37 tokens and an answer of 500 exceed the model's 512 positions",
        ("controls", "max_generated_tokens"),
        "lower `max_generated_tokens`, or take such prompts out",
    ),
    (
        {"method": {"update": "full"}, "controls": BATCHES | {"torchtune": {"optimizer_in_bwd": True}}},
        "`optimizer_in_bwd` cannot clip gradients",
        (),
        "set `clip_grad_norm: null`",
    ),
    (
        {"controls": BATCHES | {"devices": "two"}},
        "`devices` should be a whole number of at least 1, found 'two'",
        ("controls", "devices"),
        "write it like `devices: 1`",
    ),
    (
        {"controls": BATCHES | {"nodes": 0}},
        "`nodes` should be a whole number of at least 1, found 0",
        ("controls", "nodes"),
        "write it like `nodes: 1`",
    ),
    (
        SINGLE["ppo_full_finetune_single_device"] | {"controls": BATCHES | {"nodes": 2}},
        "torchtune has no recipe for `objective: rl` with `update: full` on several nodes",
        ("controls", "nodes"),
        "set `nodes: 1`",
    ),
    (
        SINGLE["ppo_full_finetune_single_device"] | {"controls": BATCHES | {"nodes": 2, "devices": 2}},
        "torchtune has no recipe for `objective: rl` with `update: full` on several nodes",
        ("controls", "nodes"),
        "set `nodes: 1` and `devices: 1`",
    ),
    (
        {"controls": BATCHES | {"devices": 3, "nodes": 2, "batch_size": 4}},
        "16 training samples make no step of 4 x 1 on 6 devices",
        ("controls", "batch_size"),
        "torchtune drops an incomplete batch: lower `batch_size` or `gradient_accumulation`",
    ),
    (
        {"preset": "qwen2/0.5B_lora_single_device", "controls": BATCHES | {"nodes": 2}},
        (
            "the preset `qwen2/0.5B_lora_single_device` is for the recipe lora_finetune_single_device, not for "
            "lora_finetune_distributed"
        ),
        ("preset",),
        (
            "`devices: 1`, `nodes: 2`, `method` and `preset` must agree: change one, or choose another preset from "
            "`tune ls`"
        ),
    ),
    (
        {"controls": BATCHES | {"devices": 6, "batch_size": 4}},
        "16 training samples make no step of 4 x 1 on 6 devices",
        ("controls", "batch_size"),
        "torchtune drops an incomplete batch: lower `batch_size` or `gradient_accumulation`",
    ),
    (
        {"preset": "qwen2/0.5B_lora_single_device", "controls": BATCHES | {"devices": 2}},
        (
            "the preset `qwen2/0.5B_lora_single_device` is for the recipe lora_finetune_single_device, not for "
            "lora_finetune_distributed"
        ),
        ("preset",),
        "`devices: 2`, `method` and `preset` must agree: change one, or choose another preset from `tune ls`",
    ),
]


@pytest.mark.parametrize("changes, message, at, hint", FAULTS, ids=[row[1][:50] for row in FAULTS])
def test_a_fault_names_its_place(
    place: Path, changes: dict[str, Any], message: str, at: tuple[str | int, ...], hint: str
) -> None:
    found = worker.scaffold(asked_for(place, **changes)).faults
    assert [(fault.message, fault.at, fault.hint) for fault in found] == [(message, at, hint)]


@pytest.mark.parametrize("targets, refused", [(["q_proj", "v_proj", "mlp"], True), (["output_proj", "mlp"], False)])
def test_magnitudes_on_a_quantized_base_are_refused_for_layers_with_biases(
    place: Path, targets: list[str], refused: bool
) -> None:
    model = str(case.wide_folder(place / "wide"))
    controls = BATCHES | {"quantize_base": True, "lora_targets": targets, "dtype": "fp32"}
    found = worker.scaffold(asked_for(place, model=model, method={"update": "dora"}, controls=controls)).faults
    said = [(fault.message, fault.at, fault.hint) for fault in found]
    wanted = (
        "`q_proj`, `v_proj` of a Qwen2 cannot have DoRA on a quantized base: these layers have biases",
        ("controls", "quantize_base"),
        "set `quantize_base: false`, or `lora_targets: [output_proj, mlp]`",
    )
    assert said == ([wanted] if refused else [])


def test_a_teacher_of_another_vocabulary_is_refused(place: Path) -> None:
    teacher = case.copy_of(case.TINY, place / "teacher")
    config = json.loads((teacher / "config.json").read_text())
    (teacher / "config.json").write_text(json.dumps(config | {"vocab_size": 384}))
    (fault,) = worker.scaffold(asked_for(place, method=KD | {"teacher": str(teacher)})).faults
    assert fault.message == "the teacher has a vocabulary of 384 tokens, the model one of 320"


def test_a_field_has_a_meaning_somewhere() -> None:
    updates = ("full", "lora", "qlora", "dora", "qat")
    for field in FIELDS.values():
        assert any(field.serves(recipe, update) for recipe in RECIPES.values() for update in updates), field.name
