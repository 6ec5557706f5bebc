"""Training from a checkpoint of another experiment: what the model is before it exists, and making it usable.

torchtune trains whole models. So an adapter is merged into its base once, by the first job that needs it, into
`.tuneloop/models/` of the citing experiment; a full checkpoint is read where it lies.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from tuneloop.documents.files import make_folder, read_text
from tuneloop.documents.locks import exclusive
from tuneloop.experiment.layout import Layout
from tuneloop.workers.checkpoints import Cited
from tuneloop.workers.torchtune.attempts import Setup, read_setup
from tuneloop.workers.torchtune.families import ModelFolder, read_model
from tuneloop.workers.torchtune.merging import merge
from tuneloop.workers.torchtune.weights import ADAPTER_CONFIG

_MERGING_S = 3600.0  # the runs of one experiment start together, and the first of them merges for all


def start_from(cited: Cited, layout: Layout) -> ModelFolder:
    """Return the cited checkpoint as the model folder that training will find. Raises InputError."""
    base = read_model(cited.base)
    if read_setup(cited.run.folder).lora:
        path = layout.cited_model(cited.digest, cited.epoch)
        weights: tuple[str, ...] = ("model.safetensors",)
    else:
        # As torchtune names full weights: one file for each file of the model that was trained.
        count = len(base.weights)
        path = cited.folder
        weights = tuple(f"model-{number:05}-of-{count:05}.safetensors" for number in range(1, count + 1))
    return replace(base, path=path, weights=weights, described=base.path)


def record(cited: Cited) -> dict[str, Any]:
    """Return what a run's setup says of the checkpoint that it starts from."""
    return {"checkpoint": str(cited.folder), "digest": cited.digest, "epoch": cited.epoch}


def materialise(setup: Setup) -> None:
    """Merge a cited adapter into its base, unless that is done; a full checkpoint needs nothing."""
    cited = setup["model"].get("cited")
    if cited is None or setup.model == Path(cited["checkpoint"]):
        return
    folder = Path(cited["checkpoint"])
    # Its base is named as its own run's folder sees it.
    named = json.loads(read_text(folder / ADAPTER_CONFIG))["base_model_name_or_path"]
    make_folder(setup.model.parent)
    with exclusive(setup.model.with_suffix(".lock"), wait=_MERGING_S, busy="another job merges the same checkpoint"):
        merge(folder, (folder.parent / named).resolve(), setup.model)
