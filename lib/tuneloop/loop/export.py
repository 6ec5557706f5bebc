"""export: a checkpoint becomes a folder of its own, with a model card written from the records."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from tuneloop.documents.errors import InputError, MissingError, Problem
from tuneloop.documents.shell import typed
from tuneloop.loop.card import card
from tuneloop.loop.checkpoints import Model
from tuneloop.loop.measured import measured
from tuneloop.loop.orders import Crew
from tuneloop.workers.models import ExportRequest, Precision, refuse_foreign

CARD = "README.md"


@dataclass(frozen=True)
class ExportPlan:
    model: Model
    target: Path
    dtype: Precision | None
    card: str


def plan_export(model: Model, target: Path, dtype: str | None = None) -> ExportPlan:
    """Return what an export would write. Writes nothing.

    Raises InputError when `target` holds something else, or there is nothing to export.
    """
    precisions: dict[str | None, Precision | None] = {None: None, **{word: word for word in get_args(Precision)}}
    if dtype not in precisions:
        raise InputError(
            f"no precision `{dtype}`", hint=f"known: {', '.join(f'`{word}`' for word in precisions if word)}"
        )
    if model.run.kind == "control":
        hint = f"copy its folder: `cp -r {typed(model.folder)} {typed(target)}`"
        raise InputError(Problem(f"`{model.name}` is the base model as it is: nothing to export", hint=hint))
    refuse_foreign(target)
    try:
        text = card(model, measured(model.experiment, model.board))
    except ModuleNotFoundError as error:
        message = f"the model card needs {error.name} for its intervals"
        raise MissingError(message, hint="pip install 'tuneloop[analysis]'") from None
    return ExportPlan(model, target.resolve(), precisions[dtype], text)


def write_export(plan: ExportPlan) -> Mapping[str, int]:
    """Write the folder, whole or not at all; return its files with their bytes."""
    crew = Crew(plan.model.experiment)
    request = ExportRequest(plan.model.weights(crew), str(plan.target), plan.dtype, {CARD: plan.card})
    return crew.remote(crew.trainer).export(request).files
