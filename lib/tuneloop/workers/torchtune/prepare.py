"""The first step of a training script: are the inputs the ones that were scaffolded, and what is done already?

torchtune looks for weights and recipe state in its own output folder, which is a new one for every attempt. So the
last whole epoch of an earlier attempt is handed over: weights as hard links (nobody writes them again), the recipe
state as a copy (torchtune writes over it). Nothing is taken from a foreign attempt. When there is nothing to
resume, no torch is imported.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import FailedError
from tuneloop.documents.files import make_folder, write_json, write_text
from tuneloop.experiment.layout import RunLayout
from tuneloop.experiment.standstill import refuse_standstill
from tuneloop.experiment.work import Verdict, to_json
from tuneloop.workers.torchtune.attempts import (
    Attempt,
    Setup,
    check_digest,
    check_unchanged,
    others,
    read_setup,
    this_attempt,
)
from tuneloop.workers.torchtune.citing import materialise
from tuneloop.workers.torchtune.weights import resumable, weight_files, whole

_RESUMED = "tuneloop.workers.torchtune.components.schedule.resumed"


@dataclass(frozen=True)
class Found:
    """Where training can go on: after `epochs` whole epochs, whose checkpoints lie in these folders."""

    epochs: int
    checkpoints: tuple[Path, ...]
    source: Attempt | None  # whose steps count; None when all is verified in the run's folder
    finished: bool  # nothing is left to train


def prepare() -> int:
    """Check the inputs, hand over what is done, and say how to call torchtune. Returns 0.

    Raises InputError (exit 2) when an input has changed since the scaffold, FailedError when the time limit ended the
    attempt before this one and none of its epochs is whole.
    """
    setup, attempt = read_setup(Path.cwd()), this_attempt()
    check_digest(setup)
    check_unchanged(setup)
    materialise(setup)
    found = _taken_over(setup, attempt)
    _refuse_standstill(found, attempt)
    overrides = [f"output_dir={_output(setup, attempt)}", *_cited_weights(setup)]
    if found is not None:
        overrides += _resuming(found, setup, attempt)
        sys.stdout.write(f"going on after epoch {found.epochs - 1}, {found.epochs} of {setup.epochs} are whole\n")
    write_text(attempt.overrides, "".join(f"{line}\n" for line in overrides))
    if found is not None and found.finished:
        write_text(attempt.skip, "")
    return 0


def _taken_over(setup: Setup, attempt: Attempt) -> Found | None:
    """Hand over what is done, and return it. A process that a lost node left behind may go on beside it meanwhile."""
    while (found := _find(setup, attempt)) is not None:
        _hand_over(found, setup, attempt)
        if found.finished or _epochs_of_state(attempt.recipe_state) == found.epochs:
            break
        attempt.recipe_state.unlink()  # it was written anew while it was copied
    return found


def _refuse_standstill(found: Found | None, attempt: Attempt) -> None:
    try:
        refuse_standstill(attempt.folder, 0 if found is None else found.epochs)
    except FailedError as error:
        write_json(attempt.verdict, to_json(Verdict(False, str(error))))
        raise


def _output(setup: Setup, attempt: Attempt) -> str:
    """Return the attempt's folder from the run's: a `=` or a blank further up would confuse an override."""
    return os.path.relpath(attempt.folder, setup.run.folder)


def _cited_weights(setup: Setup) -> list[str]:
    """Name the files of a cited checkpoint, which the scaffold could only guess."""
    if "cited" not in setup["model"]:
        return []
    readers = (
        name for name in ("checkpointer", "ref_checkpointer", "ref_policy_checkpointer") if name in setup.config()
    )
    return [_files_override(name, setup.model) for name in readers]


def _find(setup: Setup, this: Attempt) -> Found | None:
    """Return the furthest point for which every file needed really loads, or None to begin anew."""
    sources = others(setup, this)
    whole = {epoch: folder for epoch in range(setup.epochs) if (folder := _whole(setup, sources, epoch))}
    if len(whole) == setup.epochs:
        folders = tuple(whole[epoch] for epoch in range(setup.epochs))
        owner = next((item for item in sources if folders[-1].parent == item.folder), None)
        return Found(setup.epochs, folders, owner, finished=True)
    best: Found | None = None
    for source in sources:
        epochs = _epochs_of_state(source.recipe_state)
        if epochs is None or (best is not None and epochs <= best.epochs):
            continue
        # The state belongs to the weights of its own attempt; earlier epochs may lie elsewhere.
        last = next(_candidates(setup, [source], epochs - 1, resumable), None)
        if _values_missing(setup, source, epochs - 1):
            continue
        if last is not None and all(epoch in whole for epoch in range(epochs - 1)):
            earlier = tuple(whole[epoch] for epoch in range(epochs - 1))
            best = Found(epochs, (*earlier, last), source, finished=False)
    return best


def _values_missing(setup: Setup, source: Attempt, epoch: int) -> bool:
    """PPO goes on with the value model of the same epoch, too."""
    return setup["objective"] == "rl" and not whole(RunLayout(source.values).checkpoint(epoch), lora=False)


def _whole(setup: Setup, sources: list[Attempt], epoch: int) -> Path | None:
    return next(_candidates(setup, sources, epoch, whole), None)


def _candidates(setup: Setup, sources: list[Attempt], epoch: int, good: Callable[[Path, bool], bool]) -> Iterator[Path]:
    """Yield the folders that hold an epoch's weights: the verified one, then the attempts'."""
    if setup.epoch_digest(epoch) == setup.digest and good(setup.run.checkpoint(epoch), setup.adapter):
        yield setup.run.checkpoint(epoch)
    for source in sources:
        if good(source.checkpoint(epoch), setup.adapter):
            yield source.checkpoint(epoch)


def _epochs_of_state(path: Path) -> int | None:
    """Return how many epochs a recipe state has seen, or None where it does not load."""
    if not path.is_file():
        return None
    import torch

    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return int(state["epochs_run"])
    except Exception:  # noqa: BLE001  (a torn file raises whatever the unpickler trips on)
        return None


def _hand_over(found: Found, setup: Setup, attempt: Attempt) -> None:
    for epoch, source in enumerate(found.checkpoints):
        verified = source == setup.run.checkpoint(epoch)
        if verified and (found.finished or epoch < found.epochs - 1):
            continue  # torchtune looks at the last one only
        _link(source, attempt.checkpoint(epoch))
    if found.source is not None and not found.finished:
        if setup["objective"] == "rl":
            last = found.epochs - 1
            _link(RunLayout(found.source.values).checkpoint(last), RunLayout(attempt.values).checkpoint(last))
        make_folder(attempt.recipe_state.parent)
        shutil.copyfile(found.source.recipe_state, attempt.recipe_state)
    steps = found.epochs * setup["steps_per_epoch"]
    write_json(attempt.resumed, {"epochs": found.epochs, "steps": steps, "from": _name(found)})


def _name(found: Found) -> str | None:
    return None if found.source is None else found.source.folder.name


def _link(source: Path, target: Path) -> None:
    if target.is_dir():
        return
    try:
        shutil.copytree(source, target, copy_function=os.link)
    except OSError:  # another file system, or one without hard links
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)


def _resuming(found: Found, setup: Setup, attempt: Attempt) -> list[str]:
    if found.finished:
        return []
    steps, config = found.epochs * setup["steps_per_epoch"], setup.config()
    overrides = ["resume_from_checkpoint=True", f"metric_logger.resumed_at={steps}"]
    if "lr_scheduler" in config:
        overrides += [
            f"lr_scheduler._component_={_RESUMED}",
            f"lr_scheduler.schedule={config['lr_scheduler']['_component_']}",
            f"lr_scheduler.resumed_at={steps}",
        ]
    if not setup.adapter:
        # torchtune looks for the weights to go on from straight in its output folder.
        last = found.epochs - 1
        overrides.append(_files_override("checkpointer", found.checkpoints[last], f"epoch_{last}/"))
    if setup["objective"] == "rl":
        values = RunLayout(attempt.values).checkpoint(found.epochs - 1)
        prompts = config["num_steps"] // setup.epochs * found.epochs
        overrides += [
            f"value_checkpointer.checkpoint_dir={os.path.relpath(values, setup.run.folder)}",
            _files_override("value_checkpointer", values),
            f"dataset.served={prompts}",
        ]
    return overrides


def _files_override(checkpointer: str, folder: Path, before: str = "") -> str:
    names = ",".join(f"{before}{path.name}" for path in weight_files(folder))
    return f"{checkpointer}.checkpoint_files=[{names}]"
