"""The last step of a training script: is what was trained there, whole, finite and what was asked for?

Every epoch is loaded as its users will load it (transformers, peft), its validation loss computed from the tokens
and masks of the training, and only then is it renamed into `<run>/epoch_N/`. Can be killed and run again anywhere:
an epoch is either still in the attempt or verified in the run. Only the newest attempt at the training gets that far
(`experiment/fence.py`). One process, and no torchtune in it: importing
that costs more than all the rest.
"""

import math
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import FailedError
from tuneloop.documents.files import write_json, write_text
from tuneloop.experiment.fence import SupersededError, look, newest
from tuneloop.experiment.identity import digest, file_hash
from tuneloop.experiment.work import Verdict, to_json
from tuneloop.workers.torchtune.attempts import (
    Attempt,
    Setup,
    others,
    read_json,
    read_setup,
    this_attempt,
    verified_of,
)
from tuneloop.workers.torchtune.auditing import Validation, audit, validated
from tuneloop.workers.torchtune.finishing import finish
from tuneloop.workers.torchtune.history import chain_of_metrics, metrics_text
from tuneloop.workers.torchtune.loading import Base, finite, load
from tuneloop.workers.torchtune.weights import ADAPTER_STATE, adapter_files, weight_files


def verify() -> int:
    """Verify every epoch of the run; return 0 when all are good, 1 when one is not, 4 when a newer attempt goes."""
    setup, attempt = read_setup(Path.cwd()), this_attempt()
    code = 1
    try:
        facts = _verify(setup, attempt)
        look(attempt.folder)
    except SupersededError as error:
        verdict, code = Verdict(False, str(error)), error.exit_code
    except FailedError as error:
        verdict = Verdict(False, " ".join(str(error).split()), {"epochs": _epochs(setup)})
    else:
        verdict, code = Verdict(True, f"{setup.epochs} of {setup.epochs} checkpoints load", {"epochs": facts}), 0
        _tidy(setup, attempt)
    write_json(attempt.verdict, to_json(verdict))
    sys.stdout.write(f"verify: {verdict.reason}\n")
    return code


def _verify(setup: Setup, attempt: Attempt) -> list[dict[str, Any]]:
    """Raises FailedError with what is wrong with the first epoch that is not good, SupersededError."""
    with newest(attempt.folder):
        write_text(setup.run.metrics, metrics_text(chain_of_metrics(setup, attempt)))
    todo = [epoch for epoch in range(setup.epochs) if setup.epoch_digest(epoch) != setup.digest]
    missing = [epoch for epoch in todo if not attempt.checkpoint(epoch).is_dir()]
    if missing:
        raise FailedError(f"epoch_{missing[0]} is missing: training did not get that far")
    if todo:
        validation = Validation.read(setup)
        base = Base(setup)
        for epoch in todo:
            _verify_epoch(setup, attempt, epoch, validation, base)
    return _epochs(setup)


def _verify_epoch(setup: Setup, attempt: Attempt, epoch: int, validation: Validation, base: Base) -> None:
    folder = attempt.checkpoint(epoch)
    finish(setup, folder)
    model = load(setup, folder, base)
    if not finite(model):
        raise FailedError(f"epoch_{epoch}: the weights hold a value that is not finite")
    fault = audit(validation, folder)
    if fault:
        raise FailedError(f"epoch_{epoch}: {fault}")
    found = validated(model, validation, base.reference)
    loss = found["validation_loss"]
    if loss is not None and not math.isfinite(loss):
        raise FailedError(f"epoch_{epoch}: the validation loss is not finite")
    facts = {"digest": setup.digest, "epoch": epoch, "sha256": weights_hash(folder), **found}
    write_json(verified_of(folder), facts)
    _install(folder, setup.run.checkpoint(epoch), attempt)


def weights_hash(folder: Path) -> str:
    """Return the sha256 of the weights; of several files, the digest of theirs."""
    paths = adapter_files(folder)[:1] or weight_files(folder)
    hashes = {path.name: file_hash(path) for path in paths}
    return next(iter(hashes.values())) if len(hashes) == 1 else f"sha256:{digest(hashes)}"


def _install(folder: Path, target: Path, attempt: Attempt) -> None:
    """Rename the folder into its place; what stands there under another digest moves into the attempt."""
    with newest(attempt.folder):
        if target.is_dir():
            target.rename(attempt.folder / f"replaced_{target.name}")
        folder.rename(target)


def _epochs(setup: Setup) -> list[dict[str, Any]]:
    return list(_verified(setup))


def _verified(setup: Setup) -> Iterator[dict[str, Any]]:
    for epoch in range(setup.epochs):
        facts = read_json(verified_of(setup.run.checkpoint(epoch)))
        if facts.get("digest") == setup.digest:
            yield {key: facts.get(key) for key in ("epoch", "validation_loss", "sha256")}


def _tidy(setup: Setup, attempt: Attempt) -> None:
    """Remove what only a resume needs: optimizer states, weights in torchtune's form, half-written epochs."""
    for item in [attempt, *others(setup, attempt)]:
        shutil.rmtree(item.recipe_state.parent, ignore_errors=True)
        shutil.rmtree(item.values, ignore_errors=True)
        for folder in [*item.folder.glob("epoch_*"), *item.folder.glob("replaced_epoch_*")]:
            shutil.rmtree(folder, ignore_errors=True)
    for epoch in range(setup.epochs):
        (setup.run.checkpoint(epoch) / ADAPTER_STATE).unlink(missing_ok=True)
