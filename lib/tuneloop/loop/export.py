"""export: a checkpoint becomes a folder of its own, with a model card written from the records."""

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from tuneloop.documents.errors import InputError, MissingError, Problem
from tuneloop.documents.shell import typed
from tuneloop.experiment.identity import digest, model_hash
from tuneloop.loop.card import card
from tuneloop.loop.checkpoints import Model
from tuneloop.loop.measured import measured
from tuneloop.loop.orders import Crew
from tuneloop.workers.models import Exported, ExportRequest, Precision, stands

CARD = "README.md"


@dataclass(frozen=True)
class ExportPlan:
    model: Model
    target: Path
    dtype: Precision | None
    card: str
    replace: bool
    there: bool  # already, made from the same


def plan_export(model: Model, target: Path, dtype: str | None = None, *, replace: bool = False) -> ExportPlan:
    """Return what an export would write. Writes nothing.

    Raises InputError when `target` holds something that would be lost, or there is nothing to export.
    """
    precisions: dict[str | None, Precision | None] = {None: None, **{word: word for word in get_args(Precision)}}
    if dtype not in precisions:
        raise InputError(
            f"no precision `{dtype}`", hint=f"known: {', '.join(f'`{word}`' for word in precisions if word)}"
        )
    if model.run.kind == "control":
        hint = f"copy its folder: `cp -r {typed(model.folder)} {typed(target)}`"
        raise InputError(Problem(f"`{model.name}` is the base model as it is: nothing to export", hint=hint))
    try:
        text = card(model, measured(model.experiment, model.board))
    except ModuleNotFoundError as error:
        message = f"the model card needs {error.name} for its intervals"
        raise MissingError(message, hint="pip install 'tuneloop[analysis]'") from None
    # The worker compares the base model too, which it alone finds.
    mark = {"checkpoint": model_hash(model.folder), "dtype": dtype, "files": digest({CARD: text})}
    there = stands(target, mark, replace=replace)
    return ExportPlan(model, target.resolve(), precisions[dtype], text, replace, there)


def write_export(plan: ExportPlan) -> Exported:
    """Write the folder, whole or not at all, unless it is there already."""
    crew = Crew(plan.model.experiment)
    request = ExportRequest(plan.model.weights(crew), str(plan.target), plan.dtype, {CARD: plan.card}, plan.replace)
    return crew.remote(crew.trainer).export(request)
