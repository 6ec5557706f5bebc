"""Training numbers in long form: a row for each step's metric and for each epoch's validation loss."""

from collections.abc import Iterator, Sequence

from tuneloop.experiment.layout import Layout, RunLayout
from tuneloop.experiment.work import Row
from tuneloop.workers import Order
from tuneloop.workers.torchtune.attempts import read_json, read_metrics, verified_of

_METRICS = ("loss", "lr", "tokens_per_second", "grad_norm", "peak_memory_mb")
_VALIDATED = ("validation_loss", "validation_accuracy")  # the second one of preferences alone


def rows(order: Order) -> Sequence[Row]:
    """Return the numbers of the verified training runs; a run without a verified epoch has none."""
    layout = Layout(order.path)
    found: list[Row] = []
    for run in order.runs:
        if run.kind == "train":
            found += _rows_of(run.name, run.epochs, layout.run(run.name))
    return found


def _rows_of(name: str, epochs: int, run: RunLayout) -> Iterator[Row]:
    verified = [read_json(verified_of(run.checkpoint(epoch))) for epoch in range(epochs)]
    if not any(verified):
        return
    for line in read_metrics(run.metrics):
        for metric in _METRICS:
            if metric in line:
                yield Row(name, "train", metric, line[metric], step=line["step"])
    for epoch, facts in enumerate(verified):
        if facts:
            for metric in _VALIDATED:
                if metric in facts:
                    yield Row(name, "train", metric, facts[metric], epoch=epoch)
