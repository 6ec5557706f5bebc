"""Model families: from a Hugging Face config.json to torchtune's component builders, one module a family."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import InputError, Problem, Problems
from tuneloop.documents.files import read_text
from tuneloop.workers.torchtune.families import common
from tuneloop.workers.torchtune.families.common import Chat, Family, Layout
from tuneloop.workers.torchtune.families.gemma import gemma, gemma2
from tuneloop.workers.torchtune.families.llama import llama
from tuneloop.workers.torchtune.families.mistral import mistral
from tuneloop.workers.torchtune.families.phi3 import phi3
from tuneloop.workers.torchtune.families.qwen2 import qwen2

__all__ = ["KNOWN", "Chat", "Family", "Layout", "ModelFolder", "read_model"]

Reader = Callable[[Mapping[str, Any], Path, frozenset[str]], Family]
# By the `model_type` of a config.json. A reader gets the config, its place and the tokenizer's special tokens.
KNOWN: Mapping[str, Reader] = {
    "gemma": gemma,
    "gemma2": gemma2,
    "llama": llama,
    "mistral": mistral,
    "phi3": phi3,
    "qwen2": qwen2,
}


@dataclass(frozen=True)
class ModelFolder:
    path: Path
    config: Mapping[str, Any]
    family: Family
    weights: tuple[str, ...]  # file names
    pad: str
    described: Path | None = None  # where config and tokenizer lie, when `path` is still to be trained

    @property
    def tokenizer(self) -> Path:
        return (self.described or self.path) / "tokenizer.json"

    @property
    def parameters(self) -> int:
        return self.family.parameters

    @property
    def max_positions(self) -> int:
        return self.family.max_positions


def read_model(folder: Path) -> ModelFolder:
    """Return what the folder says of itself. Raises InputError with every reason why it cannot be trained."""
    if not folder.is_dir():
        raise InputError(Problem("no such model folder", folder, hint="set `model:` to a Hugging Face model folder"))
    config_file = folder / "config.json"
    if not config_file.is_file():
        raise InputError(Problem("no config.json in the model folder", folder))
    config = _json(config_file)
    problems = Problems()
    tokenizer = folder / "tokenizer.json"
    if not tokenizer.is_file():
        problems.add(
            "no tokenizer.json in the model folder",
            source=folder,
            hint="save it once with transformers: AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)",
        )
    weights = _weight_files(folder)
    if not weights:
        problems.add("no weights (*.safetensors or *.bin) in the model folder", source=folder)
    for name in weights:
        if not (folder / name).is_file():
            problems.add(f"the index of the weights names {name}, which is not there", source=folder)
    try:
        reader = _reader(config, config_file)
    except InputError as error:
        problems.extend(error)
    problems.raise_if_any()
    ids = {item["content"]: item["id"] for item in _json(tokenizer).get("added_tokens", [])}
    family = reader(config, config_file, frozenset(ids))
    pad = next(token for token in family.chat.pads if token in ids)
    return ModelFolder(folder, config, family, weights, pad)


def _reader(config: Mapping[str, Any], source: Path) -> Reader:
    """Return the reader of the model's family. Raises InputError for another, or a config without dimensions."""
    kind = str(config.get("model_type"))
    if kind not in KNOWN:
        hint = f"models of the families {', '.join(KNOWN)} can be trained"
        raise InputError(Problem(f"the model family `{kind}` is not supported", source, hint=hint))
    common.check_required(config, source)
    return KNOWN[kind]


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise InputError(Problem(f"not JSON: {error.msg}", path, error.lineno)) from None
    if not isinstance(found, dict):
        raise InputError(Problem("not a JSON object", path))
    return found


def _weight_files(folder: Path) -> tuple[str, ...]:
    for index in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        if (folder / index).is_file():
            return tuple(sorted(set(json.loads(read_text(folder / index))["weight_map"].values())))
    found = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    return tuple(path.name for path in found if not path.name.startswith("adapter"))
