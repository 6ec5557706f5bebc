"""`status`, `config`: plain everyday words that only read."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuneloop.cli.output import All, Folder, Json, say, table, write_json
from tuneloop.documents.shell import typed

if TYPE_CHECKING:
    from tuneloop.experiment.read import Experiment
    from tuneloop.jobs.board import Board
    from tuneloop.jobs.executors.fleet import Fleet


def register(app: typer.Typer) -> None:
    app.command("status")(status)
    app.command("config")(config)


def status(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[EXP]", help="One experiment; all under the project without it.")
    ] = None,
    as_json: Json = False,
    everything: All = False,
) -> None:
    """Show what an experiment does, or all of them. Changes no job.

    From a cluster over SSH it brings what jobs have said since: facts, logs, scores and the summary's tables.

    \b
    Example:
      tuneloop status runs/demo
    """
    if folder is None:
        _all(as_json=as_json, everything=everything)
        return
    experiment, board, fleet = _read(folder)
    if as_json:
        write_json(_data(experiment, board, fleet), whole=everything)
        return
    _show_board(experiment, board, fleet)
    _show_failures(experiment, board)


def config(as_json: Json = False) -> None:
    """Print each configured value and the file it came from.

    \b
    Example:
      tuneloop config
    """
    from tuneloop.documents.config import load

    origins = load(Path.cwd()).origins
    if as_json:
        values = [{"key": item.key, "value": item.value, "origin": item.origin} for item in origins]
        write_json({"schema": "tuneloop.config/1", "values": values})
        return
    say(table(["key", "value", "origin"], [[item.key, str(item.value), item.origin] for item in origins]))


def show_end(folder: Folder, code: int, *, as_json: bool, everything: bool) -> None:
    """Say how a followed experiment stands: its counts, what failed and why, and where the report is."""
    experiment, board, fleet = _read(folder)
    if as_json:
        write_json(_data(experiment, board, fleet) | {"exit": code}, whole=everything)
        return
    from tuneloop.loop.status import who_runs

    say("; ".join([_counts(board), *(who_runs(board, fleet, time.time()) if board.going else [])]))
    _show_failures(experiment, board)
    _show_unhanded(experiment, board)
    if code == 0 and experiment.layout.report.is_file():
        say(f"report: {experiment.layout.report}")


def _read(folder: Path) -> "tuple[Experiment, Board, Fleet]":
    from tuneloop.experiment.read import read_experiment
    from tuneloop.jobs.board import read_board
    from tuneloop.jobs.going import remember_going
    from tuneloop.loop.orders import Crew

    experiment = read_experiment(folder)
    fleet = Crew(experiment).fleet()
    board = read_board(experiment, fleet)
    remember_going(experiment.layout, board)
    return experiment, board, fleet


def _data(experiment: "Experiment", board: "Board", fleet: "Fleet") -> dict[str, Any]:
    from tuneloop.jobs.failures import failures
    from tuneloop.loop.status import status_data

    failed = [
        {"key": item.key, "reason": item.reason, "cause": item.cause, "hint": item.hint, "log": item.log}
        for item in failures(experiment.layout, board)
    ]
    return status_data(experiment, board, fleet) | {"failures": failed}


def _show_board(experiment: "Experiment", board: "Board", fleet: "Fleet") -> None:
    from tuneloop.loop.status import job_data, runner, who_runs

    said = [_counts(board), *who_runs(board, fleet, time.time())]
    say(f"{experiment.design.name}: {'; '.join(said)}")
    jobs = [job_data(item, board.native(item)) for item in board.states.values()]
    ids = any(job["native"] for job in jobs)
    header = ["job", "state", "progress", "attempts", "started", "ended", *(["on the cluster"] if ids else [])]
    if jobs:
        say(table(header, [_row(job)[: len(header)] for job in jobs]))
    _show_unhanded(experiment, board)
    if board.going and runner(board, fleet) == "stopped":
        say(f"hint: `tuneloop run-experiment {typed(experiment.layout.folder)}` goes on where it was")


def _show_unhanded(experiment: "Experiment", board: "Board") -> None:
    from tuneloop.loop.run import line

    if board.unhanded and board.intent.consent is not None:
        say(f"not handed over yet: {board.unhanded} of the jobs that have a yes")
        say(f"hint: `{line(board.intent.consent.command, experiment.layout.folder)}` hands them over")


def _row(job: dict[str, Any]) -> list[str]:
    state = f"{job['state']} ({job['reason']})" if job["reason"] else job["state"]
    live = job["progress"]
    shown = ""
    if live and live["step"] is not None:
        loss = f" loss {live['loss']:.3f}" if isinstance(live["loss"], int | float) else ""
        shown = f"{live['step']}/{live['steps'] or '?'}{loss}"
    times = [(job[name] or "")[11:19] for name in ("started", "ended")]
    native = f"{job['cluster']} {job['native']}" if job["native"] else ""
    return [job["key"], state, shown, str(job["attempts"]), *times, native]


def _show_failures(experiment: "Experiment", board: "Board") -> None:
    from tuneloop.jobs.failures import failures

    for item in failures(experiment.layout, board):
        say(f"\n{item.key} {item.state}: {item.reason}")
        for line in item.last_lines:
            say(f"  | {line}")
        if item.log:
            say(f"  log: {item.log}")
        if item.cause:
            say(f"  likely: {item.cause}\n  hint: {item.hint}")


def _counts(board: "Board") -> str:
    from tuneloop.jobs.tables import counts

    found = counts(board.states)
    return ", ".join(f"{number} {state}" for state, number in found.items()) or "nothing is scaffolded"


def _all(*, as_json: bool, everything: bool) -> None:
    from tuneloop.loop.status import list_experiments

    rows: list[dict[str, Any]] = []
    for item in list_experiments(Path.cwd()):
        fault = {} if item.error is None else {"error": item.error}
        rows.append({"experiment": str(item.folder), "name": item.name, "counts": dict(item.counts), **fault})
    if as_json:
        write_json({"schema": "tuneloop.experiments/1", "experiments": rows}, whole=everything)
        return
    if not rows:
        say("no experiments here; `tuneloop design-experiment DIR --help` makes one")
        return
    cells = [
        [row["experiment"], ", ".join(f"{n} {s}" for s, n in row["counts"].items()) or row.get("error", "designed")]
        for row in rows
    ]
    say(table(["experiment", "jobs"], cells))
