"""Weight files of a checkpoint folder: which ones there are, and whether they load.

A safetensors file is judged by its header and length, which needs no torch; a pickle has to be loaded.
"""

import json
from pathlib import Path

ADAPTER = "adapter_model.safetensors"
ADAPTER_STATE = "adapter_model.pt"  # torchtune's own names of the weights; a resume starts from it
ADAPTER_CONFIG = "adapter_config.json"
INDEX = "model.safetensors.index.json"  # of weights in several files
_HEADER_LENGTH = 8  # bytes, little endian


def weight_files(folder: Path) -> list[Path]:
    """Return the files of full weights; none where one that the index names is missing."""
    index = folder / INDEX
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError):
            return []
        paths = [folder / name for name in names]
        return paths if all(path.is_file() for path in paths) else []
    return sorted(path for path in folder.glob("*.safetensors") if not path.name.startswith("adapter"))


def adapter_files(folder: Path) -> list[Path]:
    """Return the files that peft needs; none where one of them is missing."""
    paths = [folder / name for name in (ADAPTER, ADAPTER_CONFIG)]
    return paths if all(path.is_file() for path in paths) else []


def whole(folder: Path, lora: bool) -> bool:
    """Tell whether the checkpoint is all there and loads; an adapter may still be in torchtune's form alone."""
    needed = adapter_files(folder) if lora else weight_files(folder)
    if lora and not any((folder / name).exists() for name in (ADAPTER, ADAPTER_CONFIG)):
        needed = [folder / ADAPTER_STATE]
    return bool(needed) and all(loads(path) for path in needed)


def resumable(folder: Path, lora: bool) -> bool:
    """Tell whether training can go on from the checkpoint: an adapter in torchtune's form is needed, too."""
    return whole(folder, lora) and (not lora or loads(folder / ADAPTER_STATE))


def loads(path: Path) -> bool:
    """Tell whether a weight or config file is whole."""
    try:
        if path.suffix == ".safetensors":
            return _whole_safetensors(path)
        if path.suffix == ".json":
            return isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
        import torch

        return isinstance(torch.load(path, map_location="cpu", weights_only=True), dict)
    except Exception:  # noqa: BLE001  (a torn file raises whatever its reader trips on)
        return False


def _whole_safetensors(path: Path) -> bool:
    """Tell whether the file is as long as its header says; torchtune does not write beside and rename."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_HEADER_LENGTH), "little")
        header = json.loads(file.read(length))
    end = max(item["data_offsets"][1] for name, item in header.items() if name != "__metadata__")
    return path.stat().st_size == int(_HEADER_LENGTH + length + end)
