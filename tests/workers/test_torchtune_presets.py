"""Presets: whatever the installed torchtune ships for our recipes and families can be scaffolded."""

from pathlib import Path

import pytest
import torchtune_case as case
from torchtune._recipe_registry import get_all_recipes

from tuneloop.documents.errors import InputError
from tuneloop.workers.torchtune import worker
from tuneloop.workers.torchtune.presets import RECIPES, read_preset, top_level_keys

UPDATES = {recipe: update for update, recipe in RECIPES.items()}
SHIPPED = [
    (UPDATES[recipe.name], config.name)
    for recipe in get_all_recipes()
    if recipe.name in UPDATES
    for config in recipe.configs
    if config.name.partition("/")[0] in ("qwen2", "qwen2_5", "llama3", "llama3_1", "llama3_2")
]


def test_the_installed_torchtune_ships_presets() -> None:
    assert len(SHIPPED) > 20


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return case.llama_folder(tmp_path_factory.mktemp("llama"))


@pytest.mark.parametrize("update, name", SHIPPED)
def test_a_shipped_preset_is_scaffolded_or_refused(tmp_path: Path, llama: Path, update: str, name: str) -> None:
    changes = {"preset": name, "method": {"update": update}, "variables": {}, "samples": 64, "controls": {}}
    changes["controls"] = {"batch_size": 2, "gradient_accumulation": 1}
    model = case.TINY if name.startswith("qwen") else llama
    done = worker.scaffold(case.order(tmp_path, model=str(model), **changes))
    refused = [fault.message for fault in done.faults]
    if "qlora" in name:
        assert refused == [f"the preset `{name}` is for qlora, which is not scaffolded yet"]
    elif "dora" in name:
        assert len(refused) == 1
    elif refused:  # an optimizer that is not installed here
        assert "bitsandbytes" in refused[0]
    else:
        (config,) = [file.text for file in done.files if file.path == "train/finetune.yaml"]
        assert "/tmp/" not in config.replace(str(tmp_path), "").replace(str(model), "")


@pytest.mark.parametrize(
    "name, kind", [("llama3/8B_dora_single_device", "dora"), ("gemma/2B_qlora_single_device", "qlora")]
)
def test_what_is_not_scaffolded_is_refused_by_name(name: str, kind: str) -> None:
    with pytest.raises(InputError, match=f"is for {kind}, which is not scaffolded yet"):
        read_preset(name, "lora")


def test_the_keys_of_a_recipe_are_those_that_it_ships() -> None:
    assert {"clip_grad_norm", "profiler", "save_adapter_weights_only"} <= top_level_keys(RECIPES["lora"])
    assert "optimizer_in_bwd" in top_level_keys(RECIPES["full"])
