"""analyze-experiment: rows from the workers, statistics and a report from `analysis/`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import InputError, Problem
from tuneloop.documents.logs import EventLog
from tuneloop.documents.shell import typed
from tuneloop.experiment.read import Experiment
from tuneloop.experiment.work import COLLECT, JobKey, Row, Usage, eval_key, run_of, train_key
from tuneloop.jobs.board import Board, read_board
from tuneloop.jobs.state import ENDED
from tuneloop.jobs.summary import update_block
from tuneloop.jobs.tables import refresh_status
from tuneloop.loop.orders import Crew
from tuneloop.loop.run import refuse_outdated


@dataclass(frozen=True)
class Analyzed:
    report: Path
    summary: str  # the results table, as in the block `results`
    rows: int
    data: Mapping[str, Any]  # every run's numbers and verdict


def collect_rows(experiment: Experiment, board: Board, crew: Crew) -> list[Row]:
    """Return the rows of all jobs that are done: a stale or unverified result counts for nothing."""
    done = {key for key, status in board.states.items() if status.state == "done"}
    runs = {spec.run for spec in board.specs if spec.key in done}
    rows: list[Row] = []
    for name in dict.fromkeys([crew.trainer, *crew.evaluators]):
        wanted = [run for run in experiment.runs if run.name in runs]
        if not any(spec.worker == name and spec.key in done for spec in board.specs):
            continue
        answered: Sequence[Row] = crew.remote(name).rows(crew.order(name, runs=wanted))
        rows += [row for row in answered if _key(row) in done]
    return rows


def analyze(experiment: Experiment) -> Analyzed:
    """Write `analysis/` and the block `results`. Raises InputError when nothing is done yet."""
    from tuneloop import analysis

    layout = experiment.layout
    crew = Crew(experiment)
    board = read_board(experiment, crew.fleet())
    refuse_outdated(experiment, board)
    rows = collect_rows(experiment, board, crew)
    if not rows and not any(status.state in ENDED for status in board.states.values()):
        hint = f"`tuneloop status {typed(layout.folder)}` shows what runs"
        raise InputError(Problem("no job is done yet: there is nothing to analyze", layout.summary, hint=hint))
    states = {str(key): str(status.state) for key, status in board.states.items() if key != COLLECT} | _dropped(board)
    result = analysis.analyze(experiment, rows, states=states)
    report = analysis.write(result, layout, _used(board), _compute(board))
    summary = analysis.summary_table(result)
    update_block(layout, "results", f"{summary}\n\nReport: [{layout.relative(report)}]({layout.relative(report)})")
    refresh_status(layout, board)
    EventLog(layout.folder, "analyze-experiment").event(f"{len(rows)} rows, wrote {layout.relative(report)}")
    return Analyzed(report, summary, len(rows), analysis.as_data(result))


def _used(board: Board) -> dict[str, dict[str, dict[str, Any]]]:
    """Return what each evaluation that is done was generated and scored with, by job, as its verdict tells."""
    verdicts: dict[str, Mapping[str, Any]] = {}
    for key, status in board.states.items():
        made = [attempt.verdict for attempt in status.attempts if attempt.verified and attempt.verdict is not None]
        if status.state == "done" and made:
            verdicts[str(key)] = made[-1].facts
    kinds = ("generation", "scorers")
    return {key: {kind: facts[kind] for kind in kinds if facts.get(kind)} for key, facts in verdicts.items()}


def _compute(board: Board) -> dict[str, list[Usage]]:
    """Return what the attempts at each job used; collecting the results is no part of them."""
    return {
        str(key): [attempt.usage for attempt in status.attempts if attempt.usage is not None]
        for key, status in board.states.items()
        if key != COLLECT
    }


def _dropped(board: Board) -> dict[str, str]:
    """Return the jobs that were handed over and that a later design dropped: the reader must know of them."""
    gone = [key for key in board.intent.latest if run_of(key) in board.intent.dropped]
    return dict.fromkeys(map(str, gone), "dropped from the design after it was handed over")


def _key(row: Row) -> JobKey:
    return train_key(row.run) if row.source == "train" else eval_key(row.run, row.epoch, row.source)
