"""Making a checkpoint folder of torchtune's one that transformers and peft load as it is, offline."""

import json
import os
import shutil
from pathlib import Path

from tuneloop.documents.errors import FailedError
from tuneloop.documents.files import read_text, write_json, write_text
from tuneloop.workers.torchtune.attempts import Setup
from tuneloop.workers.torchtune.exporting import exported
from tuneloop.workers.torchtune.families.common import Layout
from tuneloop.workers.torchtune.weights import ADAPTER, ADAPTER_CONFIG, ADAPTER_STATE

GENERATION = "generation_config.json"
# What transformers reads beside the weights, as far as the model folder has it. torchtune copies whatever lies
# there (scripts, pictures …) and writes the index of full weights itself.
BESIDE_WEIGHTS = (
    "config.json",
    GENERATION,
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
)
_WEIGHTS = (".safetensors", ".pt", ".bin", ".index.json")


def stop_ids(folder: Path) -> list[int]:
    """Return the ids at which transformers stops to generate with the model in `folder`."""
    source = next((folder / name for name in (GENERATION, "config.json") if (folder / name).is_file()), None)
    found = None if source is None else json.loads(read_text(source)).get("eos_token_id")
    return found if isinstance(found, list) else [] if found is None else [found]


def finish(setup: Setup, folder: Path) -> None:
    """Complete the folder; doing it twice changes nothing."""
    # A folder with a config.json is a whole model to transformers 5: it would look for weights, not for the base.
    needed = [name for name in BESIDE_WEIGHTS if not (setup.adapter and name == "config.json")]
    for name in needed:
        if (setup.model / name).is_file() and not (folder / name).is_file():
            shutil.copyfile(setup.model / name, folder / name)
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif not (path.name in needed or path.name == ADAPTER_CONFIG or path.name.endswith(_WEIGHTS)):
            path.unlink()
    write_text(folder / "chat_template.jinja", read_text(setup.run.chat_template))
    _end_answers(setup, folder)
    if setup.adapter:
        _export_adapter(setup, folder)


def _end_answers(setup: Setup, folder: Path) -> None:
    """Let generating end where the trained turn ends: a base model's own config knows its end of text alone."""
    config = setup.config()
    if str(config["dataset"]["_component_"]).endswith(".text_dataset"):
        return
    added = json.loads(read_text(folder / "tokenizer.json"))["added_tokens"]
    end = next(item["id"] for item in added if item["content"] == config["tokenizer"]["end_of_turn"])
    path = folder / GENERATION
    said = json.loads(read_text(path)) if path.is_file() else {}
    ends = stop_ids(setup.model)
    if end not in ends:
        write_json(path, {**said, "eos_token_id": [*ends, end]})


def _export_adapter(setup: Setup, folder: Path) -> None:
    """Write the adapter as peft loads it, from torchtune's own file; its config comes last and says that it is done.

    The base is named as the setup names it: absolute outside of the experiment, else from the run's folder.
    Raises FailedError where the file is missing or peft cannot hold the adapter.
    """
    config = folder / ADAPTER_CONFIG
    if not (folder / ADAPTER_STATE).is_file():
        if config.is_file() and "task_type" in json.loads(read_text(config)):
            return
        raise FailedError(f"{folder.name} has no {ADAPTER_STATE}: training did not write it whole")
    import torch
    from safetensors.torch import save_file

    settings = setup["settings"]
    state = torch.load(folder / ADAPTER_STATE, map_location="cpu", weights_only=True)
    made = exported(state, Layout(**setup["model"]["layout"]), settings["lora_alpha"]["value"])
    beside = folder / f".{ADAPTER}.tmp"
    save_file(dict(made.tensors), beside, metadata={"format": "pt"})
    os.replace(beside, folder / ADAPTER)  # noqa: PTH105
    said = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": setup["model"]["path"],
        "lora_dropout": settings["lora_dropout"]["value"],
    }
    write_json(config, {**said, **made.config})
