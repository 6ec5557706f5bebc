"""Presets: every text-model config that the installed torchtune ships for training can be scaffolded, cleanly."""

import ast
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_torchtune_recipes import SINGLE
from torchtune._recipe_registry import get_all_recipes

import torchtune_case as case
from tuneloop.documents.errors import InputError
from tuneloop.documents.yamltext import load_yaml
from tuneloop.workers.torchtune import worker
from tuneloop.workers.torchtune.presets import _folder, read_preset, top_level_keys
from tuneloop.workers.torchtune.recipes import RECIPES, TRAIT_KEYS

SHIPPED = {config.name: recipe.name for recipe in get_all_recipes() for config in recipe.configs}
TRAINING = {
    name: recipe for name, recipe in SHIPPED.items() if not re.search("generate|eval|quantize$|^quantize", recipe)
}
README = (case.ROOT / "README.md").read_text()
RUN = {*SINGLE, "lora_finetune_distributed"}  # by the tests that are no soak
UNSHIPPED = "llama2/7B_full_early_exit"
VISION = [name for name in TRAINING if "vision" in name or name == "dev/11B_lora_multi_dataset"]
TEXT = [name for name in TRAINING if name not in VISION and name != UNSHIPPED]
# What must not be left of a preset: places, owners of models on the hub, data, loggers.
LEFT_OVER = re.compile(
    r"/tmp/|meta-llama|Llama-[23]|Qwen/|Qwen2-|google/|gemma-|microsoft/|Phi-[34]|mistralai|Mistral-7B|alpaca|trl-|"
    r"stack_exchange|DiskLogger|StdoutLogger|WandBLogger|seed: null|profiler"
)
TOKENS = {
    "llama3": ("begin_of_text", "end_of_text", "finetune_right_pad_id", "start_header_id", "end_header_id", "eot_id"),
    "qwen2": ("endoftext", "im_start", "im_end"),
    "phi3": ("endoftext", "assistant", "user", "system", "end"),
}
GEMMA = ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>")
SCALED = {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0}
SHAPE = {
    "vocab_size": 512,
    "hidden_size": 512,
    "intermediate_size": 1024,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
}


def _angled(name: str) -> tuple[str, ...]:
    return tuple(f"<|{token}|>" for token in TOKENS[name])


# By torchtune's model type: what a config.json of such a model says, and the special tokens of its tokenizer.
MODELS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "LLAMA2": ({"model_type": "llama"}, ("<unk>", "<s>", "</s>")),
    "LLAMA3": ({"model_type": "llama", "rope_theta": 500000.0}, _angled("llama3")),
    "LLAMA3_2": (
        {
            "model_type": "llama",
            "rope_theta": 500000.0,
            "tie_word_embeddings": True,
            "rope_scaling": {**SCALED, "factor": 32.0, "original_max_position_embeddings": 8192},
        },
        _angled("llama3"),
    ),
    "QWEN2": ({"model_type": "qwen2"}, _angled("qwen2")),
    "MISTRAL": ({"model_type": "mistral", "sliding_window": None}, ("<unk>", "<s>", "</s>", "[INST]", "[/INST]")),
    "GEMMA": ({"model_type": "gemma", "head_dim": 128, "tie_word_embeddings": True}, GEMMA),
    "GEMMA2": (
        {
            "model_type": "gemma2",
            "head_dim": 128,
            "query_pre_attn_scalar": 128,
            "sliding_window": 4096,
            "attn_logit_softcapping": 50.0,
            "final_logit_softcapping": 30.0,
            "hidden_activation": "gelu_pytorch_tanh",
            "tie_word_embeddings": True,
        },
        GEMMA,
    ),
    "PHI3_MINI": ({"model_type": "phi3", "sliding_window": None}, _angled("phi3")),
    "PHI4": ({"model_type": "phi3", "sliding_window": None}, _angled("phi3")),
}
Folders = Callable[[str], Path]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Return the folder of a model of a type: all that a scaffold looks at, and no weights to speak of."""
    root = tmp_path_factory.mktemp("models")

    def folder(model_type: str, *, reward: bool = False) -> Path:
        path = root / f"{model_type}{'-reward' if reward else ''}"
        if not path.exists():
            write_model(path, *MODELS[model_type], reward=reward)
        return path

    return folder


def write_model(path: Path, said: dict[str, Any], tokens: tuple[str, ...], *, reward: bool) -> None:
    path.mkdir()
    config = {**SHAPE, **said}
    if reward:
        config |= {"architectures": [f"{said['model_type'].title()}ForSequenceClassification"], "id2label": {"0": ""}}
    (path / "config.json").write_text(json.dumps(config))
    (path / "model.safetensors").write_bytes(b"")
    tokenizer = json.loads((case.TINY / "tokenizer.json").read_text())
    added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    tokenizer["added_tokens"] = [{"id": 256 + i, "content": token, **added} for i, token in enumerate(tokens)]
    tokenizer["post_processor"] = None
    (path / "tokenizer.json").write_text(json.dumps(tokenizer))


def asked_for(name: str, folders: Folders) -> dict[str, Any]:
    """Return the design that uses a preset, its model of the preset's own family."""
    preset = read_preset(name)
    recipe = preset.recipe
    changes: dict[str, Any] = {
        "preset": name,
        "method": {"objective": recipe.objective, "update": preset.update},
        "model": str(folders(preset.model_type)),
        "variables": {},
        "controls": {"batch_size": 2, "gradient_accumulation": 1, "max_steps": 2},
    }
    if recipe.objective == "preference":
        columns = {"input": "word", "chosen": "capitalized", "rejected": "word"}
        changes["data"] = [{"split": "train", "path": "data/train.jsonl", "format": "preference", "columns": columns}]
    if recipe.objective == "distillation":
        changes["method"]["teacher"] = str(folders("LLAMA3" if preset.model_type == "LLAMA3_2" else preset.model_type))
    if recipe.objective == "rl":
        changes["method"]["reward_model"] = str(folders(preset.model_type, reward=True))
        changes["controls"] = {"batch_size": 2, "ppo_batch_size": 2, "forward_batch_size": 2}
    return changes


def test_the_presets_are_counted() -> None:
    assert len(TRAINING) == 139
    assert len(VISION) == 10
    assert len(TEXT) == 128
    assert {TRAINING[name] for name in TEXT} == set(RECIPES)


@pytest.mark.parametrize("name", TEXT)
def test_a_shipped_preset_is_scaffolded_and_nothing_of_its_own_places_is_left(
    tmp_path: Path, folders: Folders, name: str
) -> None:
    changes = asked_for(name, folders)
    asked = case.order(tmp_path, **changes)
    pairs = [row for row in case.words("train", 200) if row["word"] != row["capitalized"]][:120]
    (tmp_path / "data" / "train.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in pairs))
    done = worker.scaffold(asked)
    assert not done.faults, done.faults
    (text,) = [file.text for file in done.files if file.path == "train/finetune.yaml"]
    (job,) = done.jobs
    said = text
    for place in (str(tmp_path), *(str(folder) for folder in Path(changes["model"]).parent.iterdir())):
        said = said.replace(place, "PLACE")
    assert not LEFT_OVER.findall(said)
    config = load_yaml(text)
    assert config["seed"] == 1
    assert config["metric_logger"]["_component_"].startswith("tuneloop.")
    shipped = load_yaml((_folder() / "configs" / f"{name}.yaml").read_text())
    assert config["optimizer"]["_component_"] == shipped["optimizer"]["_component_"]
    assert config["optimizer"]["lr"] == shipped["optimizer"]["lr"]
    assert job.shape.gpus == (2 if "distributed" in TRAINING[name] else 0)


@pytest.mark.parametrize("name", [name for name in TEXT if "distributed" in TRAINING[name]])
def test_a_distributed_preset_is_scaffolded_on_two_nodes_with_the_same_config(
    tmp_path: Path, folders: Folders, name: str
) -> None:
    changes = asked_for(name, folders)
    changes["controls"] |= {"batch_size": 1}
    several = changes | {"controls": changes["controls"] | {"nodes": 2}}
    orders = [case.order(tmp_path, **said) for said in (changes, several)]
    pairs = [row for row in case.words("train", 400) if row["word"] != row["capitalized"]][:240]
    (tmp_path / "data" / "train.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in pairs))
    (one, two) = (worker.scaffold(order) for order in orders)
    assert (one.faults, two.faults) == ((), ())
    assert [job.shape.nodes for job in (*one.jobs, *two.jobs)] == [1, 2]
    assert two.jobs[0].shape.gpus == one.jobs[0].shape.gpus == 2
    first, second = (
        next(file.text for file in done.files if file.path == "train/finetune.yaml").partition("# Written")[2]
        for done in (one, two)
    )
    assert first == second, "how many nodes there are is the launcher's business"


@pytest.mark.parametrize("name", VISION)
def test_a_vision_preset_is_refused_by_name(name: str) -> None:
    with pytest.raises(InputError, match=f"the preset `{name}` is for a vision model"):
        read_preset(name)


def test_the_preset_without_a_file_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=f"`{UNSHIPPED}` is on torchtune's list, but its file is not in the installed"):
        read_preset(UNSHIPPED)


@pytest.mark.parametrize("name", sorted(set(SHIPPED) - set(TRAINING) - {"llama3_2_vision/11B_generation_v2"}))
def test_what_trains_nothing_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"which trains nothing|is for a vision model"):
        read_preset(name)


def test_the_readme_tells_each_recipe_and_counts_its_presets() -> None:
    rows = re.findall(r"^\| ([\w/]+(?: [\w ]+)?) \|(.*)\| (\d+) \| ([\w ]+)(?::.*)? \|$", README, re.MULTILINE)
    told = {name: (method, int(count), tested) for name, method, count, tested in rows}
    assert {name for name in told if name in RECIPES} == set(RECIPES)
    for name, recipe in RECIPES.items():
        method, count, tested = told[name]
        assert count == sum(TRAINING[preset] == name for preset in TEXT), name
        assert all(update in method for update in recipe.updates), name
        assert ("objective" not in method) == (recipe.objective == "sft"), name
        assert tested == ("run in tests" if name in RUN else "run in soak tests"), name
    refused = {name: count for name, (_, count, tested) in told.items() if tested == "refused"}
    assert refused == {TRAINING[UNSHIPPED]: 1, "vision configs of any recipe": len(VISION)}
    assert sum(count for _, count, _ in told.values()) == len(TRAINING)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_reads_the_keys_of_its_traits_and_no_others(recipe: str) -> None:
    keys = top_level_keys(recipe)
    for trait, key in TRAIT_KEYS.items():
        assert (trait in RECIPES[recipe].traits) == (key in keys), key


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_keys_of_a_recipe_are_those_that_its_program_takes_from_the_config(recipe: str) -> None:
    """The same question, put to Python's own parser."""
    found = set()
    for node in ast.walk(ast.parse((_folder() / f"{recipe}.py").read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "cfg":
            found.add(node.attr)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            named = node.args[0]
            if (
                isinstance(node.func.value, ast.Name)
                and node.func.value.id == "cfg"
                and isinstance(named, ast.Constant)
            ):
                found.add(named.value)
    assert top_level_keys(recipe) - {"profiler"} == found - {"get"}
