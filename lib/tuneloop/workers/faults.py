"""Faults that several workers can find in a design: told in the same words, they reach the person once."""

from pathlib import Path

from tuneloop.experiment.layout import cleaned_in
from tuneloop.experiment.work import Fault
from tuneloop.workers.hub import is_hub_id


def model_folder_fault(text: str, folder: Path, at: tuple[str | int, ...]) -> Fault | None:
    """Return what is wrong with `folder`, which the design names `text`, as a model; None where it may be one."""
    if not folder.is_dir():
        hint = "paths start at the experiment's folder"
        if not is_hub_id(text):
            return Fault(f"no model folder `{text}`", at, hint)
        fetch = f"to fetch a model from the hub: `tune download {text} --output-dir DIR`, then `model: DIR`"
        return Fault(f"no model folder `{text}`, and none in the local Hugging Face cache", at, f"{fetch}; {hint}")
    if cleaned_in(folder).is_file():
        return Fault(f"the weights of `{text}` were cleaned away", at, "cite another epoch, or train it again")
    if not any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
        hint = "name the folder that transformers' save_pretrained wrote"
        return Fault(f"`{text}` is not a model folder: no config.json in it", at, hint)
    return None
