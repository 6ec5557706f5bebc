"""Reward and value models for PPO: a family's decoder with one number a token in place of the vocabulary.

torchtune ships such a builder for Llama 2 and Mistral, and a conversion of weights for Llama's layout alone. Here
the decoder comes from the family's own builder and its weights go through the family's own conversion.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchtune.training import MODEL_KEY, FullModelHFCheckpointer

_HEAD, _OUTPUT = "score.weight", "lm_head.weight"  # of a classifier and of a language model, both in transformers


def classifier(builder: str, **dimensions: Any) -> nn.Module:
    """Return the model that `builder` makes, its output layer giving one number (batch x tokens x 1)."""
    from torchtune.config._utils import _get_component_from_path

    model: nn.Module = _get_component_from_path(builder)(**dimensions)
    model.output = nn.Linear(int(dimensions["embed_dim"]), 1, bias=False)
    return model


class ClassifierCheckpointer(FullModelHFCheckpointer):  # type: ignore[misc]  # torchtune ships no types
    """Reads and writes what transformers' AutoModelForSequenceClassification saves, for one label.

    `model_type` is the decoder's own: it decides how weights are converted.
    """

    def load_checkpoint(self) -> dict[str, Any]:
        """Return the classifier in torchtune's names. Raises ValueError where the files hold no classifier."""
        from torchtune.training.checkpointing._utils import safe_torch_load

        state: dict[str, torch.Tensor] = {}
        for path in self._checkpoint_paths:
            state |= safe_torch_load(path)
        if _HEAD not in state:
            raise ValueError(f"no {_HEAD} in {self._checkpoint_dir}: not a classifier of transformers")
        state[_OUTPUT] = state.pop(_HEAD)
        to_torchtune, _ = _conversions(self._model_type.name)
        return {MODEL_KEY: to_torchtune(state, **self._shape())}

    def save_checkpoint(
        self, state_dict: dict[str, Any], epoch: int, intermediate_checkpoint: bool = False, adapter_only: bool = False
    ) -> None:
        """Write the weights and the config to `epoch_N`, so that transformers and this class can read them."""
        from safetensors.torch import save_file

        del intermediate_checkpoint, adapter_only
        _, to_transformers = _conversions(self._model_type.name)
        state = to_transformers(state_dict[MODEL_KEY], **self._shape())
        state[_HEAD] = state.pop(_OUTPUT)
        folder = Path(self._output_dir) / f"epoch_{epoch}"
        folder.mkdir(parents=True, exist_ok=True)
        save_file(
            {name: value.contiguous() for name, value in state.items()},
            folder / "model.safetensors",
            metadata={"format": "pt"},
        )
        shutil.copyfile(Path(self._checkpoint_dir) / "config.json", folder / "config.json")

    def _shape(self) -> dict[str, Any]:
        heads = self._config["num_attention_heads"]
        return {
            "num_heads": heads,
            "num_kv_heads": self._config.get("num_key_value_heads", heads),
            "dim": self._config["hidden_size"],
            "head_dim": self._config.get("head_dim"),
        }


def _conversions(model_type: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the functions from transformers' names and layout to torchtune's, and back."""
    if model_type == "QWEN2":
        from torchtune.models.qwen2._convert_weights import qwen2_hf_to_tune, qwen2_tune_to_hf

        return qwen2_hf_to_tune, qwen2_tune_to_hf
    from torchtune.models.convert_weights import hf_to_tune, tune_to_hf

    return hf_to_tune, tune_to_hf
