"""Making a checkpoint folder of torchtune's one that transformers and peft load as it is, offline."""

import json
import os
import shutil
from pathlib import Path

from tuneloop.documents.files import read_text, write_json, write_text
from tuneloop.workers.torchtune.attempts import Setup
from tuneloop.workers.torchtune.weights import ADAPTER, ADAPTER_CONFIG, ADAPTER_STATE

# What transformers reads beside the weights, as far as the model folder has it. torchtune copies whatever lies
# there (scripts, pictures …) and writes the index of full weights itself.
COMPANIONS = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
)
_WEIGHTS = (".safetensors", ".pt", ".bin", ".index.json")


def finish(setup: Setup, folder: Path) -> None:
    """Complete the folder; doing it twice changes nothing."""
    # A folder with a config.json is a whole model to transformers 5: it would look for weights, not for the base.
    needed = [name for name in COMPANIONS if not (setup.lora and name == "config.json")]
    for name in needed:
        if (setup.model / name).is_file() and not (folder / name).is_file():
            shutil.copyfile(setup.model / name, folder / name)
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif not (path.name in needed or path.name == ADAPTER_CONFIG or path.name.endswith(_WEIGHTS)):
            path.unlink()
    write_text(folder / "chat_template.jinja", read_text(setup.run.chat_template))
    if setup.lora:
        _complete_adapter_config(setup, folder)
        if not setup["model"]["rotary_permuted"]:
            _rewrite_adapter(folder)


def _complete_adapter_config(setup: Setup, folder: Path) -> None:
    """Add what peft needs and torchtune leaves out.

    The base is named as the setup names it: absolute outside of the experiment, else from the run's folder.
    """
    path = folder / ADAPTER_CONFIG
    config = json.loads(read_text(path))
    config |= {"base_model_name_or_path": setup["model"]["path"], "task_type": "CAUSAL_LM"}
    config["lora_dropout"] = setup["settings"]["lora_dropout"]["value"]
    # A set in torchtune, so its order differs between processes.
    config["target_modules"] = sorted(config["target_modules"])
    write_json(path, config)


def _rewrite_adapter(folder: Path) -> None:
    """Write the adapter for peft again, without reordering.

    torchtune 0.6.1 permutes lora_B of q_proj and k_proj for every family, which only Llama's rotary layout needs;
    a Qwen2 adapter as torchtune writes it is another model (see tests/workers/test_torchtune_adapter.py).
    """
    import torch
    from safetensors.torch import save_file

    state = torch.load(folder / ADAPTER_STATE, map_location="cpu", weights_only=True)
    tensors = {peft_name(name): tensor.contiguous() for name, tensor in state.items()}
    beside = folder / f".{ADAPTER}.tmp"
    save_file(tensors, beside, metadata={"format": "pt"})
    os.replace(beside, folder / ADAPTER)  # noqa: PTH105


_PARTS = {
    "attn.output_proj": "self_attn.o_proj",
    "attn": "self_attn",
    "mlp.w1": "mlp.gate_proj",
    "mlp.w2": "mlp.down_proj",
    "mlp.w3": "mlp.up_proj",
}


def peft_name(name: str) -> str:
    """Return peft's name of a torchtune adapter weight.

    >>> peft_name("layers.0.attn.output_proj.lora_b.weight")
    'base_model.model.model.layers.0.self_attn.o_proj.lora_B.weight'
    """
    module, which, weight = name.rsplit(".", 2)
    which = {"lora_a": "lora_A", "lora_b": "lora_B"}[which]
    if module == "output":
        return f"base_model.model.lm_head.{which}.{weight}"
    layers, number, inner = module.split(".", 2)
    part = next(inner.replace(ours, theirs, 1) for ours, theirs in _PARTS.items() if inner.startswith(ours))
    return f"base_model.model.model.{layers}.{number}.{part}.{which}.{weight}"
