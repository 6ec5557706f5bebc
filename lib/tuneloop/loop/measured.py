"""What the jobs that are done have measured, as the analysis sees it: for a model card, and for which epoch is best."""

from dataclasses import dataclass

from tuneloop.analysis.choice import Primary, choose_primary
from tuneloop.analysis.scores import At, Scores, sort_rows
from tuneloop.experiment.expand import Run
from tuneloop.experiment.read import Experiment
from tuneloop.experiment.work import Row
from tuneloop.jobs.board import Board
from tuneloop.loop.analyze import collect_rows
from tuneloop.loop.orders import Crew


@dataclass(frozen=True)
class Measured:
    rows: tuple[Row, ...]
    scores: Scores
    primary: Primary | None


def measured(experiment: Experiment, board: Board) -> Measured:
    """Ask the workers for the rows of all jobs that are done: `analysis/` may be older than they are."""
    return sorted_rows(experiment, collect_rows(experiment, board, Crew(experiment)))


def sorted_rows(experiment: Experiment, rows: list[Row]) -> Measured:
    scores = sort_rows(rows)
    return Measured(tuple(rows), scores, choose_primary(experiment, scores))


def best_epoch(found: Measured, run: Run) -> tuple[int, str] | None:
    """Return the best epoch of a training run and by what it is; None where nothing tells. The first of equals.

    It is the one with the best mean on the primary metric, unless the design lets the validation loss decide or
    has no scores.
    """
    scores, losses = _means(found, run), _losses(found, run)
    loss_decides = found.primary is not None and found.primary.at == "lowest-validation-loss"
    if scores and not (loss_decides and losses):
        assert found.primary is not None
        sign = 1 if found.primary.direction == "maximize" else -1
        epoch = max(scores, key=lambda at: (sign * scores[at], -at))
        return epoch, f"{found.primary.series.name} {scores[epoch]:.3g}"
    if losses:
        epoch = min(losses, key=lambda at: (losses[at], at))
        return epoch, f"validation loss {losses[epoch]:.4g}"
    return None


def _means(found: Measured, run: Run) -> dict[int, float]:
    if found.primary is None:
        return {}
    items = {epoch: found.primary.series.items.get(At(run.name, epoch)) for epoch in range(run.epochs)}
    return {epoch: sum(scored.values()) / len(scored) for epoch, scored in items.items() if scored}


def _losses(found: Measured, run: Run) -> dict[int, float]:
    training = found.scores.training.get(run.name)
    return {} if training is None else dict(training.validation)
