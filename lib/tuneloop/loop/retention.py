"""clean: which checkpoints are kept, and removing the weights of the others. Nothing else is ever touched.

The merged models of cited checkpoints are weights too: they go when no adapter that stays belongs to them, and the
next job that needs one merges it again.

A removed checkpoint keeps its folder with the verdict of its verification, and `cleaned.json` says what the weights
were. Logs, metrics, results and the facts of attempts stay, so a cleaned run is as done as before.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tuneloop.documents.errors import BusyError, InputError, Problem
from tuneloop.documents.files import write_json
from tuneloop.documents.logs import EventLog, timestamp
from tuneloop.documents.shell import typed
from tuneloop.experiment.expand import Run
from tuneloop.experiment.identity import digest, model_hash
from tuneloop.experiment.layout import KEPT_WITHOUT_WEIGHTS, Layout, cleaned_in
from tuneloop.experiment.read import Experiment
from tuneloop.experiment.references import parse_reference
from tuneloop.experiment.work import COLLECT, JobSpec, evaluated_epoch, run_of, train_key
from tuneloop.jobs.board import Board
from tuneloop.loop.measured import Measured, best_epoch

Keep = Literal["best", "last", "none"]
_ADAPTER = "adapter_config.json"  # peft's name, of whichever worker


@dataclass(frozen=True)
class Kept:
    """What stays of one run, and why; `epoch` is None where nothing does."""

    run: str
    epoch: int | None
    why: str


@dataclass(frozen=True)
class CleanPlan:
    id: str
    keep: Keep
    kept: tuple[Kept, ...]
    left: tuple[Kept, ...]  # runs of which everything stays, with the reason
    checkpoints: tuple[Path, ...]  # to lose their weights
    rest: tuple[Path, ...]  # what only a resume needed, in attempts that ended, and merged models of cited checkpoints
    bytes: int


def plan_clean(experiment: Experiment, board: Board, keep: Keep, found: Measured | None) -> CleanPlan:
    """Return what would be removed. Writes nothing; `found` is needed to keep the best.

    Raises BusyError while jobs are going, InputError when a job that is not done needs what would go.
    """
    refuse_going(experiment, board)
    kept: list[Kept] = []
    left: list[Kept] = []
    checkpoints: list[Path] = []
    rest: list[Path] = []
    layout = experiment.layout
    for run in experiment.runs:
        status = board.states.get(train_key(run.name))
        if run.kind != "train" or status is None:
            continue
        if status.state != "done":
            left.append(Kept(run.name, None, f"its training is {status.state}"))
            continue
        choice = _choice(run, keep, found)
        if choice is None:
            left.append(Kept(run.name, None, "nothing tells which epoch is best"))
            continue
        kept.append(choice)
        own = layout.run(run.name)
        checkpoints += [own.checkpoint(epoch) for epoch in range(run.epochs) if epoch != choice.epoch]
        rest += resume_files(layout.folder / board.spec(status.key).attempts)
    checkpoints = [path for path in checkpoints if weights_in(path)]
    _refuse_needed(experiment, board, checkpoints)
    replaced = list(_replaced(layout))
    checkpoints += [path for path in replaced if weights_in(path)]
    needed = _bases(layout, gone=set(checkpoints))
    rest += [path for path in merged_models(layout) if path not in needed]
    sizes = {layout.relative(path): size_of(path) for path in [*checkpoints, *rest]}
    mark = digest([keep, sizes])[:8]
    return CleanPlan(mark, keep, tuple(kept), tuple(left), tuple(checkpoints), tuple(rest), sum(sizes.values()))


def clean(experiment: Experiment, plan: CleanPlan) -> None:
    """Remove what the plan names. Killed anywhere, the next plan holds what was left."""
    for folder in plan.checkpoints:
        remove_weights(folder, f"keep {plan.keep}")
    for path in plan.rest:
        shutil.rmtree(path, ignore_errors=True)
    words = f"keep {plan.keep}: removed the weights of {len(plan.checkpoints)} checkpoints, {plan.bytes / 1e6:.1f} MB"
    EventLog(experiment.layout.folder, "run-experiment").event(words)


def remove_weights(folder: Path, why: str) -> None:
    """Remove the files of a checkpoint but its verdict; what they were is on record before the first one goes."""
    if not cleaned_in(folder).is_file():
        write_json(cleaned_in(folder), cleaned_record(folder, why))
    for path in weights_in(folder):
        path.unlink()


def cleaned_record(folder: Path, why: str) -> dict[str, object]:
    files = {path.relative_to(folder).as_posix(): path.stat().st_size for path in weights_in(folder)}
    # A large file counts by its size and its ends: reading gigabytes to throw them away would cost minutes.
    return {"schema": "tuneloop.cleaned/1", "time": timestamp(), "why": why, "hash": model_hash(folder), "files": files}


def weights_in(checkpoint: Path) -> list[Path]:
    """Return the files of a checkpoint's folder that are no record of it."""
    found = [path for path in checkpoint.rglob("*") if path.is_file() or path.is_symlink()]
    return sorted(path for path in found if path.parent != checkpoint or path.name not in KEPT_WITHOUT_WEIGHTS)


def resume_files(attempts: Path) -> list[Path]:
    """Return the folders of a job's attempts that hold weights or optimizer states."""
    found = [
        path
        for pattern in ("epoch_*", ".epoch_*", "replaced_epoch_*", "recipe_state")
        for path in attempts.glob(f"*/{pattern}")
    ]
    return sorted(path for path in found if path.is_dir())


def merged_models(layout: Layout) -> list[Path]:
    """Return the folders of cited checkpoints that were merged here, also what a killed merge left."""
    found = layout.cited_models.iterdir() if layout.cited_models.is_dir() else iter(())
    return sorted(path for path in found if path.is_dir() and not path.is_symlink())


def _bases(layout: Layout, *, gone: set[Path]) -> set[Path]:
    """Return the models that the adapters which stay belong to: without them no adapter can be used."""
    found = set()
    for path in layout.folder.glob(f"*/epoch_*/{_ADAPTER}"):
        if path.parent in gone:
            continue
        try:
            named = json.loads(path.read_bytes()).get("base_model_name_or_path")
        except (OSError, ValueError, AttributeError):
            continue  # not an adapter that anyone could use
        if isinstance(named, str):
            found.add((path.parents[1] / named).resolve())  # named from the run's folder
    return found


def refuse_going(experiment: Experiment, board: Board) -> None:
    """Raise BusyError while a job is going; the one that collects may clean up behind itself."""
    going = [status for status in board.going if status.key != COLLECT]
    if going:
        folder = typed(experiment.layout.folder)
        message = f"{len(going)} jobs are going, such as `{going[0].key}`"
        hint = f"`tuneloop wait {folder}` or `tuneloop cancel {folder}` first"
        raise BusyError(Problem(message, experiment.layout.summary, hint=hint))


def _choice(run: Run, keep: Keep, found: Measured | None) -> Kept | None:
    if keep == "none":
        return Kept(run.name, None, "keep none")
    if keep == "last":
        return Kept(run.name, run.epochs - 1, "the last one")
    best = None if found is None else best_epoch(found, run)
    return None if best is None else Kept(run.name, best[0], f"best {best[1]}")


def _refuse_needed(experiment: Experiment, board: Board, checkpoints: Sequence[Path]) -> None:
    """Raise InputError with every job that is not done and needs one of the checkpoints."""
    needed: dict[str, str] = {}
    for spec in board.specs:
        status = board.states[spec.key]
        if status.state == "done" or spec.key == COLLECT:
            continue
        read = {path for path in _reads(experiment, spec) if any(path in (item, item.parent) for item in checkpoints)}
        if read:
            needed[spec.key] = status.state
    if needed:
        folder = typed(experiment.layout.folder)
        hint = f"`tuneloop run-experiment {folder}` or `tuneloop retry {folder} --failed` first"
        raise InputError(
            [
                Problem(f"`{key}` is {state} and needs weights that would go", experiment.layout.summary, hint=hint)
                for key, state in needed.items()
            ]
        )


def _reads(experiment: Experiment, spec: JobSpec) -> Iterator[Path]:
    """Yield the checkpoints that a job reads; a run's folder where any of them may be meant."""
    layout = experiment.layout
    run = next((item for item in experiment.runs if item.name == spec.run), None)
    reference = None if run is None else parse_reference(run.checkpoint or "")
    if run is not None and run.kind == "eval-only":
        if reference is not None and reference.experiment is None:
            yield layout.run(reference.run).checkpoint(reference.epoch)
        return
    epoch = evaluated_epoch(spec.key)
    for need in spec.needs:
        name = run_of(need.job)
        if name is not None and need.job == train_key(name):
            own = layout.run(name)
            yield own.folder if name != spec.run or epoch is None else own.checkpoint(epoch)


def _replaced(layout: Layout) -> Iterator[Path]:
    """Yield the checkpoints among results that were set aside; their logs and facts stay."""
    for pattern in ("*/*/epoch_*", "*/*/.attempts/*/*/epoch_*"):
        yield from (path for path in sorted(layout.replaced.glob(pattern)) if path.is_dir())


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in weights_in(folder) if not path.is_symlink())


def as_data(plan: CleanPlan, layout: Layout) -> Mapping[str, object]:
    return {
        "plan": plan.id,
        "keep": plan.keep,
        "bytes": plan.bytes,
        "kept": [{"run": item.run, "epoch": item.epoch, "why": item.why} for item in plan.kept],
        "left": [{"run": item.run, "why": item.why} for item in plan.left],
        "checkpoints": [layout.relative(path) for path in plan.checkpoints],
        "rest": [layout.relative(path) for path in plan.rest],
    }
