"""Tables of jobs: the status blocks in `experiment_summary.md`, a row a run."""

from collections.abc import Mapping, Sequence

from tuneloop.experiment.layout import Layout
from tuneloop.experiment.work import JobKey, JobSpec, State, evaluated_epoch, evaluation_of
from tuneloop.jobs.board import Board
from tuneloop.jobs.failures import failures
from tuneloop.jobs.state import JobStatus
from tuneloop.jobs.summary import update_block

_MOST_FAILURES = 5


def refresh_status(layout: Layout, board: Board) -> None:
    """Bring the block `status` of the summary up to date; every byte around it survives."""
    update_block(layout, "status", "\n\n".join([status_tables(board), *_failures(layout, board)]))


def status_tables(board: Board) -> str:
    """Return the training table and the evaluation table as Markdown."""
    training = [spec for spec in board.specs if evaluation_of(spec.key) is None and spec.run is not None]
    evaluations = [spec for spec in board.specs if evaluation_of(spec.key) is not None]
    parts = []
    if training:
        rows = [[spec.run or "", *_cells(board.states[spec.key])] for spec in training]
        parts.append("### Training\n\n" + markdown(["run", "state", "attempts", "started", "ended"], rows))
    if evaluations:
        parts.append("### Evaluation\n\n" + _evaluations(board, evaluations))
    return "\n\n".join(parts) or "Nothing is scaffolded yet."


def _failures(layout: Layout, board: Board) -> list[str]:
    """Return a section a failed job: why, the likely cause, the end of its log."""
    parts = []
    for item in failures(layout, board)[:_MOST_FAILURES]:
        text = f"### {item.key} {item.state}: {item.reason}"
        if item.cause:
            text += f"\n\nLikely: {item.cause}; {item.hint}."
        if item.log:
            # Indented, so that whatever a log says stays text; a marker in it would end the block.
            quoted = "\n".join(f"    {line}" for line in item.last_lines).replace("<!--", "<! --")
            text += f"\n\nThe end of `{layout.relative(item.log)}`:\n\n{quoted}"
        parts.append(text)
    return parts


def _evaluations(board: Board, specs: Sequence[JobSpec]) -> str:
    """A row a run and epoch, a column an evaluation."""
    names = list(dict.fromkeys(evaluation_of(spec.key) or "" for spec in specs))
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for spec in specs:
        number, name = evaluated_epoch(spec.key), evaluation_of(spec.key) or ""
        epoch = "base" if number is None else str(number)
        rows.setdefault((spec.run or "", epoch), {})[name] = _words(board.states[spec.key])
    lines = [[run, epoch, *(cells.get(name, "") for name in names)] for (run, epoch), cells in rows.items()]
    return markdown(["run", "epoch", *names], lines)


def _cells(status: JobStatus) -> list[str]:
    last = status.last
    return (
        [_words(status), str(len(status.attempts)), _short(last.started), _short(last.ended)]
        if last
        else [_words(status), "0", "", ""]
    )


def _short(time: str | None) -> str:
    """Return a time without its fraction of a second."""
    return "" if time is None else f"{time[:19]}Z"


def _words(status: JobStatus) -> str:
    return f"{status.state} ({status.reason})" if status.reason else status.state


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; a `|` in a cell is escaped."""
    cells = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in cells)


def counts(statuses: Mapping[JobKey, JobStatus]) -> dict[State, int]:
    """Return how many jobs are in each state, states without any left out."""
    found: dict[State, int] = {}
    for status in statuses.values():
        found[status.state] = found.get(status.state, 0) + 1
    return found
