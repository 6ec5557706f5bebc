"""Loading a checkpoint as its users will: an adapter with peft on the base model, full weights with transformers."""

import logging
import os
import warnings
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import FailedError
from tuneloop.workers.adapters import hide_old_torchao
from tuneloop.workers.torchtune.attempts import Setup


class Base:
    """The base model of a run's adapters: loaded when first asked for, then it wears one adapter after another."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._worn: Any = None

    def wear(self, folder: Path) -> Any:
        """Return the base with the adapter in `folder`. Raises FailedError when a weight of it is missing."""
        if self._worn is None:
            self._worn = with_adapter(_as_trained(self._setup, self._setup.model), folder)
        else:
            before = self._worn.active_adapter
            result = self._worn.load_adapter(str(folder), adapter_name=folder.name)
            _check_missing(folder, result.missing_keys)
            self._worn.set_adapter(folder.name)
            self._worn.delete_adapter(before)
        return self._worn


def load(setup: Setup, folder: Path, base: Base) -> Any:
    """Return the model in evaluation mode. Raises FailedError when the folder does not load."""
    try:
        return (base.wear(folder) if setup.lora else _as_trained(setup, folder)).eval()
    except FailedError:
        raise
    except Exception as error:
        raise FailedError(f"{folder.name} does not load: {type(error).__name__}: {error}") from error


def finite(model: Any) -> bool:
    import torch

    return all(bool(torch.isfinite(weight).all()) for weight in model.parameters())


def with_adapter(base: Any, folder: Path) -> Any:
    """Return the base model with the adapter in `folder`. Raises FailedError when a weight of it is missing."""
    hide_old_torchao()
    from peft import PeftModel

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model = PeftModel.from_pretrained(base, str(folder), adapter_name=folder.name)
    _check_missing(folder, [str(item.message) for item in said if "missing adapter keys" in str(item.message)])
    return model


def _check_missing(folder: Path, missing: list[str]) -> None:
    """peft goes on with fresh, random weights where an adapter lacks some."""
    lacking = [name for name in missing if "lora_" in name]
    if lacking:
        raise FailedError(f"{folder.name} lacks weights of its adapter: {lacking[0].splitlines()[0]}")


def pretrained(folder: Path, dtype: str | None = None) -> Any:
    """Return the full model in `folder` on the CPU, as `bf16` or `fp32`; None: as it is on disk.

    Raises FailedError when it lacks weights.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()
    kinds = {"bf16": torch.bfloat16, "fp32": torch.float32, None: "auto"}
    model, loaded = AutoModelForCausalLM.from_pretrained(
        folder, dtype=kinds[dtype], local_files_only=True, output_loading_info=True
    )
    # transformers fills a missing weight with random values and goes on.
    bad = [*loaded["missing_keys"], *loaded.get("mismatched_keys", [])]
    if bad:
        raise FailedError(f"{folder.name} lacks weights: {', '.join(map(str, bad[:3]))}")
    return model


def _as_trained(setup: Setup, folder: Path) -> Any:
    """Return a full model of a run, in the precision and on the device of its training."""
    settings = setup["settings"]
    dtype = "bf16" if settings["dtype"]["value"] == "bf16" else "fp32"
    return pretrained(folder, dtype).to(settings["device"]["value"])
