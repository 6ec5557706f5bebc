"""Which epoch is best: by the primary metric in its direction, or by the validation loss; the first of equals."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneloop.documents.schema import validate
from tuneloop.experiment.design import Design
from tuneloop.experiment.layout import Layout
from tuneloop.experiment.read import Experiment
from tuneloop.experiment.work import Row
from tuneloop.loop.measured import best_epoch, sorted_rows

HEAD = {
    "schema": "tuneloop.experiment/1",
    "name": "case",
    "question": "Which?",
    "model": "model",
    "data": [{"split": "train", "path": "train.jsonl"}, {"split": "validation", "path": "validation.jsonl"}],
    "evaluations": [{"name": "cap", "task": "cap.py"}],
}


def experiment(epochs: int = 3, **metrics: str) -> Experiment:
    direction = metrics.pop("direction", "maximize")
    head = HEAD | {"controls": {"epochs": epochs}}
    head["metrics"] = {"primary": {"evaluation": "cap", "direction": direction}, **metrics}
    return Experiment(Layout(Path("/none")), validate(Design, head), {})


def scored(values: list[float]) -> list[Row]:
    """Return the score of one item for each epoch."""
    return [Row("train", "cap", "score", value, epoch, None, "match", "1") for epoch, value in enumerate(values)]


def lost(values: list[float]) -> list[Row]:
    return [Row("train", "train", "validation_loss", value, epoch=epoch) for epoch, value in enumerate(values)]


@pytest.mark.parametrize(
    ("rows", "metrics", "best"),
    [
        (scored([0.1, 0.9, 0.5]), {}, (1, "cap (match) 0.9")),
        (scored([0.4, 0.9, 0.2]), {"direction": "minimize"}, (2, "cap (match) 0.2")),
        (scored([0.9, 0.9, 0.5]), {}, (0, "cap (match) 0.9")),
        (lost([2.0, 1.5, 1.75]), {}, (1, "validation loss 1.5")),
        (scored([0.1, 0.2, 0.9]) + lost([2.0, 1.5, 1.75]), {}, (2, "cap (match) 0.9")),
        (
            scored([0.1, 0.2, 0.9]) + lost([2.0, 1.5, 1.75]),
            {"at": "lowest-validation-loss"},
            (1, "validation loss 1.5"),
        ),
        ([], {}, None),
    ],
)
def test_the_best_epoch_is_told_with_its_reason(
    rows: list[Row], metrics: dict[str, str], best: tuple[int, str] | None
) -> None:
    case = experiment(**metrics)
    assert best_epoch(sorted_rows(case, rows), case.runs[0]) == best


@given(st.lists(st.floats(0, 10), min_size=1, max_size=8))
def test_no_epoch_has_a_lower_validation_loss_than_the_best(losses: list[float]) -> None:
    case = experiment(len(losses))
    best = best_epoch(sorted_rows(case, lost(losses)), case.runs[0])
    assert best is not None
    assert losses[best[0]] == min(losses)
    assert best[0] == losses.index(min(losses))
