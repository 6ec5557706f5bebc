"""Merging: a whole Hugging Face folder from a checkpoint, so that nobody needs the base model or peft to load it.

An adapter is added to the base model's weights; full weights are copied. The folder is filled beside its place
and renamed, so a kill leaves no half of it, and it carries a mark of what it was made from and of the files in it:
made again from the same it is left alone, and what no merge wrote is nobody's to replace.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import FailedError, Problem
from tuneloop.documents.files import new_folder, read_text, write_text
from tuneloop.experiment.identity import digest, model_hash
from tuneloop.workers.models import (
    MARK_SCHEMA,
    Exported,
    ExportRequest,
    mark_of,
    refuse_changed,
    sizes,
    stands,
    write_mark,
)
from tuneloop.workers.torchtune.finishing import BESIDE_WEIGHTS
from tuneloop.workers.torchtune.loading import pretrained, with_adapter
from tuneloop.workers.torchtune.weights import ADAPTER_CONFIG, INDEX, adapter_files, weight_files

_TEMPLATE = "chat_template.jinja"


def merge(
    checkpoint: Path,
    base: Path,
    target: Path,
    dtype: str | None = None,
    *,
    files: Mapping[str, str] | None = None,
    replace: bool = True,
) -> bool:
    """Make `target` the whole model of the folder `checkpoint`: config, weights, tokenizer and chat template.

    `base` is the model that an adapter belongs to; `dtype` is `bf16` or `fp32`, None for that of the weights;
    `files` are texts that go along, by name. Returns False when it was there already. With `replace` it takes the
    place of what was merged from something else: a checkpoint may be trained anew. Raises InputError when `target`
    holds something that would be lost, FailedError when the checkpoint does not load.
    """
    mark = {
        "schema": MARK_SCHEMA,
        "checkpoint": model_hash(checkpoint),
        "base": model_hash(base),
        "dtype": dtype,
        "files": digest(dict(files or {})),
    }
    if stands(target, mark, replace=replace):
        return False
    marked = mark_of(target) is not None
    with new_folder(target, replace=marked) as folder:
        _fill(folder, checkpoint, base, dtype)
        for name, text in (files or {}).items():
            write_text(folder / name, text, sync=False)
        write_mark(folder, mark)
        for path in folder.iterdir():
            path.chmod(0o644)  # safetensors writes for the owner alone
        if marked:
            refuse_changed(target)  # merging takes minutes, and a person may have begun to write in it
    return True


def export(request: ExportRequest) -> Exported:
    """Merge as asked. Raises as `merge` does."""
    checkpoint, target = Path(request.weights.folder), Path(request.target)
    base = base_of(checkpoint, Path(request.weights.base))
    made = merge(checkpoint, base, target, request.dtype, files=request.files, replace=request.replace)
    return Exported(sizes(target), made)


def base_of(checkpoint: Path, given: Path) -> Path:
    """Return the model that an adapter was trained on: the one it names where that is here, else the given one."""
    if not (checkpoint / ADAPTER_CONFIG).is_file():
        return given
    named = json.loads(read_text(checkpoint / ADAPTER_CONFIG)).get("base_model_name_or_path")
    # Inside an experiment it is named from the run's folder.
    folder = checkpoint.parent / named if named else given
    return folder.resolve() if folder.is_dir() else given


def _fill(folder: Path, checkpoint: Path, base: Path, dtype: str | None) -> None:
    adapter = (checkpoint / ADAPTER_CONFIG).is_file()
    if not adapter and dtype is None and weight_files(checkpoint):
        for path in [*weight_files(checkpoint), checkpoint / INDEX]:
            if path.is_file():
                shutil.copyfile(path, folder / path.name)
    else:
        _whole_model(checkpoint, base, dtype, adapter=adapter).save_pretrained(folder)
    for name in [*BESIDE_WEIGHTS, _TEMPLATE]:
        source = next((place / name for place in (checkpoint, base) if (place / name).is_file()), None)
        # The config that came with the weights tells their precision.
        if source is not None and not (name == "config.json" and (folder / name).is_file()):
            shutil.copyfile(source, folder / name)


def _whole_model(checkpoint: Path, base: Path, dtype: str | None, *, adapter: bool) -> Any:
    if adapter and not adapter_files(checkpoint):
        raise FailedError(Problem("the adapter has no weights", checkpoint))
    try:
        if not adapter:
            return pretrained(checkpoint, dtype)
        return with_adapter(pretrained(base, dtype), checkpoint).merge_and_unload(safe_merge=True)
    except FailedError:
        raise
    except Exception as error:
        raise FailedError(Problem(f"does not load: {type(error).__name__}: {error}", checkpoint)) from error
