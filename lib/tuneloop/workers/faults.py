"""Faults that several workers can find in a design: told in the same words, they reach the person once."""

from pathlib import Path

from tuneloop.experiment.layout import cleaned_in
from tuneloop.experiment.work import Fault


def model_folder_fault(text: str, folder: Path, at: tuple[str | int, ...]) -> Fault | None:
    """Return what is wrong with `folder`, which the design names `text`, as a model; None where it may be one."""
    if not folder.is_dir():
        return Fault(f"no model folder `{text}`", at, "paths start at the experiment's folder")
    if cleaned_in(folder).is_file():
        return Fault(f"the weights of `{text}` were cleaned away", at, "cite another epoch, or train it again")
    if not any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
        hint = "name the folder that transformers' save_pretrained wrote"
        return Fault(f"`{text}` is not a model folder: no config.json in it", at, hint)
    return None
