"""`run-experiment`, `run-<tool>`, `retry`, `cancel`, `wait`: handing jobs over and seeing them through."""

import getpass
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuneloop.cli.consent import Yes, consent
from tuneloop.cli.output import All, DryRun, Folder, Json, say, table, write_json
from tuneloop.documents.errors import InputError
from tuneloop.documents.shell import typed

if TYPE_CHECKING:
    from tuneloop.jobs.submit import Handed
    from tuneloop.loop.adjust import Proposal
    from tuneloop.loop.run import Choice, Plan

Follow = Annotated[
    bool | None,
    typer.Option("--follow/--detach", help="Watch until the end, or return at once. Default: watch on a terminal."),
]
Timeout = Annotated[float, typer.Option("--timeout", min=0, help="Seconds to wait at most.")]


def register(app: typer.Typer) -> None:
    from tuneloop.cli.tools import worker_names

    app.command("run-experiment")(run_experiment)
    for name in worker_names():
        app.command(f"run-{name}", help=_help(name))(_for_worker(name))
    app.command("retry")(retry)
    app.command("cancel")(cancel)
    app.command("wait")(wait)


def run_experiment(
    folder: Folder,
    yes: Yes = None,
    follow: Follow = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    everything: All = False,
) -> None:
    """Hand over all jobs of an experiment: training, evaluations, report. They live on without this command.

    \b
    Example:
      tuneloop run-experiment runs/demo --dry-run
    """
    from tuneloop.loop.run import FRESH

    _hand_over(folder, FRESH, yes, follow, dry_run=dry_run, as_json=as_json, everything=everything)


def retry(
    folder: Folder,
    failed: Annotated[bool, typer.Option("--failed", help="What failed, was lost, blocked or cancelled.")] = False,
    yes: Yes = None,
    follow: Follow = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    everything: All = False,
) -> None:
    """Hand over again what ended without being done. Training resumes after its last whole epoch.

    \b
    Example:
      tuneloop retry runs/demo --failed --dry-run
    """
    from tuneloop.loop.run import AGAIN

    if not failed:
        raise InputError("say what to try again", hint=f"`tuneloop retry {typed(folder)} --failed`")
    _hand_over(folder, AGAIN, yes, follow, dry_run=dry_run, as_json=as_json, everything=everything)


def cancel(
    folder: Folder,
    runs: Annotated[list[str] | None, typer.Argument(metavar="[RUN]...", help="Runs; all without any.")] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Ask running and waiting jobs to end, and hand no more of the plan over. What is done stays done.

    \b
    Example:
      tuneloop cancel runs/demo --dry-run
    """
    from tuneloop.experiment.read import read_experiment
    from tuneloop.jobs.board import read_board
    from tuneloop.loop import run as loop
    from tuneloop.loop.orders import Crew
    from tuneloop.loop.shown import remember_plan
    from tuneloop.workers.wording import counted

    experiment = read_experiment(folder)
    fleet = Crew(experiment).fleet()
    if dry_run:
        board = read_board(experiment, fleet)
        going = loop.plan_cancel(experiment, board, runs or [])
        also = f" and hands {board.unhanded} more with a yes not over" if board.unhanded else ""
        remember_plan(experiment.layout, "cancel", f"ends {counted(len(going), 'job')}{also}", runs=runs or [])
        if as_json:
            keys = [item.key for item in going]
            write_json({"schema": "tuneloop.cancel/1", "would_cancel": keys, "unhanded": board.unhanded})
            return
        say("\n".join(f"would cancel {item.key} ({item.state})" for item in going) or "nothing is going")
        if board.unhanded:
            say(f"would not hand over {counted(board.unhanded, 'job')} with a yes")
        return
    ended = loop.cancel(experiment, fleet, runs or [], by=_who())
    if as_json:
        write_json({"schema": "tuneloop.cancel/1", "cancelled": ended.keys, "unhanded": ended.unhanded})
        return
    say(f"asked {len(ended.keys)} jobs to end")
    if ended.unhanded:
        say(f"{counted(ended.unhanded, 'job')} with a yes will not be handed over")


def wait(folder: Folder, timeout: Timeout = 540.0, as_json: Json = False, everything: All = False) -> None:
    """Wait until nothing is going: exit 0 finished, 1 something failed or was not handed over, 5 still going.

    \b
    Example:
      tuneloop wait runs/demo --timeout 540
    """
    _finish(folder, timeout, live=False, as_json=as_json, everything=everything)


def _for_worker(name: str) -> Callable[..., None]:
    def command(
        folder: Folder,
        yes: Yes = None,
        follow: Follow = None,
        dry_run: DryRun = False,
        as_json: Json = False,
        everything: All = False,
    ) -> None:
        from tuneloop.loop.run import FRESH

        choice = replace(FRESH, worker=name, command=f"run-{name} {{}}")
        _hand_over(folder, choice, yes, follow, dry_run=dry_run, as_json=as_json, everything=everything)

    return command


def _help(name: str) -> str:
    return (
        f"Hand over the {name} jobs of an experiment alone. They live on without this command.\n\n\b\nExample:\n"
        f"  tuneloop run-{name} runs/demo --dry-run"
    )


def _hand_over(
    folder: Path,
    choice: "Choice",
    yes: str | None,
    follow: bool | None,
    *,
    dry_run: bool,
    as_json: bool,
    everything: bool,
) -> None:
    from tuneloop.experiment.read import read_experiment
    from tuneloop.jobs.board import read_board
    from tuneloop.jobs.going import remember_going
    from tuneloop.loop import adjust
    from tuneloop.loop import run as loop
    from tuneloop.loop.orders import Crew
    from tuneloop.loop.shown import estimate, remember_plan

    experiment = read_experiment(folder)
    crew = Crew(experiment)
    board = read_board(experiment, crew.fleet())
    if not dry_run and (left := adjust.unfinished(experiment, board)):
        experiment = adjust.finish(experiment, crew, left)
        board = read_board(experiment, crew.fleet())
    wanted = adjust.proposals(experiment, board, crew) if choice is loop.AGAIN else []
    plan = loop.plan_run(experiment, board, choice, [item.lines for item in wanted if item.applies])
    where = " and ".join(plan.clusters) or crew.cluster
    if dry_run or yes is None:
        remember_plan(experiment.layout, choice.verb, estimate(plan, where), plan.id)
    if dry_run:
        _show(folder, plan, as_json=as_json, everything=everything, handed=None, wanted=wanted)
        return
    if plan.jobs:
        consent(
            plan.id,
            yes,
            given=plan.consented,
            lack=f"{len(plan.jobs)} jobs need a yes",
            again=loop.line(choice.command, folder),
            show=lambda: _show(folder, plan, as_json=False, wanted=wanted),
            question="Hand them over?",
            as_json=as_json,
        )
    experiment, crew, plan = adjust.agreed(experiment, crew, plan, wanted, by=_who())
    fleet = crew.fleet()
    handed = loop.start(experiment, fleet, plan, choice, by=_who())
    remember_going(experiment.layout, read_board(experiment, fleet))
    watch = sys.stdout.isatty() if follow is None else follow
    if as_json and not watch:
        _show(folder, plan, as_json=True, everything=everything, handed=len(handed.keys), wanted=wanted)
        return
    if not as_json:
        _show_handed(folder, plan, handed, where)
        if fleet.is_apart(plan.clusters):
            say("the report is made by this machine when all others have ended: keep it on")
    if watch:
        _finish(folder, None, live=not as_json and sys.stdout.isatty(), as_json=as_json, everything=everything)
    elif handed.keys or plan.going:
        say(f"next: tuneloop wait {typed(folder)}")


def _show_handed(folder: Path, plan: "Plan", handed: "Handed", where: str) -> None:
    say(f"{len(handed.keys)} jobs handed over to {where}; {plan.going} were going")
    if handed.without_room:
        say(f"{handed.without_room} jobs wait for room in the queue: type the same command again when some have ended")
    _show_left(folder, plan)


def _show(
    folder: Path,
    plan: "Plan",
    *,
    as_json: bool,
    everything: bool = False,
    handed: int | None = None,
    wanted: Sequence["Proposal"] = (),
) -> None:
    if as_json:
        write_json(_plan_data(folder, plan, handed, wanted), whole=everything)
        return
    from tuneloop.documents.logs import duration

    groups: dict[tuple[str, str], list[float]] = {}
    for job in plan.jobs:
        hardware = f"{job.shape.gpus} GPU" if job.shape.gpus else f"{job.shape.cpus} CPU"
        groups.setdefault((job.worker, hardware), []).append(job.seconds)
    rows = [
        [worker, str(len(seconds)), hardware, duration(sum(seconds))] for (worker, hardware), seconds in groups.items()
    ]
    say(table(["worker", "jobs", "each", "job time"], rows) if rows else "nothing to hand over")
    budget = f" of {plan.budget_hours:g} h" if plan.budget_hours is not None else ""
    going = f"{plan.going_hours:.2f} h going ({plan.going} jobs)"
    say(f"{plan.hours:.2f} h planned, {going}, {plan.spent_hours:.2f} h spent{budget}")
    for cost in plan.costs:
        say(f"about {cost}")
    if plan.over_budget:
        say("over the budget: this plan would be refused")
    if plan.fits is not None:
        say(f"{plan.fits} of {len(plan.jobs)} jobs have room in the queue now; the same command hands over the rest")
    _show_left(folder, plan)
    for item in wanted:
        say(_proposal(item))
    if plan.jobs:
        say(f"plan {plan.id}")


def _show_left(folder: Path, plan: "Plan") -> None:
    stale = [status for status in plan.left if status.state == "stale"]
    undone = sorted({status.state for status in plan.left} - {"stale"})
    if undone:
        again = f"`tuneloop retry {typed(folder)} --failed` tries them again"
        say(f"left alone: {len(plan.left) - len(stale)} {' or '.join(undone)}; {again}")
    if stale:
        say(f"left alone: {len(stale)} stale; `tuneloop scaffold-experiment {typed(folder)}` says what changed")


def _proposal(item: "Proposal") -> str:
    """Say what becomes of a training that ran out of memory."""
    if not item.values:
        return f"{item.run} ran out of memory, and nothing of it can be made smaller by itself: `tuneloop status`"
    if item.allowed:
        values = " and ".join(f"`{name}: {value}`" for name, value in item.values.items())
        return f"{item.run} ran out of memory: it gets {values}, the same effective batch"
    return (
        f"{item.run} ran out of memory; for the same effective batch write under `runs:` in the design\n"
        f"  - {item.lines}\n"
        "or let `retry` do so with `policy: {out_of_memory: smaller-batch}`"
    )


def _plan_data(folder: Path, plan: "Plan", handed: int | None, wanted: Sequence["Proposal"]) -> dict[str, Any]:
    return {
        "schema": "tuneloop.plan/1",
        "experiment": str(folder.resolve()),
        "plan": plan.id,
        "handed_over": handed,
        "going": plan.going,
        "hours": round(plan.hours, 4),
        "going_hours": round(plan.going_hours, 4),
        "spent_hours": round(plan.spent_hours, 4),
        "budget_hours": plan.budget_hours,
        "over_budget": plan.over_budget,
        "fits": plan.fits,
        "costs": [asdict(cost) for cost in plan.costs],
        "left": [{"key": item.key, "state": item.state, "reason": item.reason} for item in plan.left],
        "out_of_memory": [{"run": item.run, "set": item.values, "applies": item.applies} for item in wanted],
        "jobs": [{"key": job.key, "worker": job.worker, "seconds": job.seconds} for job in plan.jobs],
    }


def _finish(folder: Path, timeout: float | None, *, live: bool, as_json: bool, everything: bool) -> None:
    """Follow to the end and exit as `wait` does."""
    from tuneloop.cli.everyday import show_end
    from tuneloop.cli.follow import follow

    code = follow(folder, timeout, live=live, quiet=as_json)
    show_end(folder, code, as_json=as_json, everything=everything)
    raise typer.Exit(code)


def _who() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())
