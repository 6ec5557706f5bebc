"""`clean`, `fetch`, `archive`, `restore`: what stays of an experiment, and where."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from tuneloop.cli.consent import Yes, consent
from tuneloop.cli.output import DryRun, Folder, Json, say, table, write_json
from tuneloop.documents.errors import InputError, Problem, TuneloopError
from tuneloop.documents.shell import typed

if TYPE_CHECKING:
    from tuneloop.experiment.read import Experiment
    from tuneloop.loop.retention import CleanPlan, Keep


def register(app: typer.Typer) -> None:
    app.command("clean")(clean)
    app.command("fetch")(fetch)
    app.command("archive")(archive)
    app.command("restore")(restore)


def clean(
    folder: Folder,
    keep: Annotated[
        str | None, typer.Option("--keep", metavar="WHICH", help="best, last or none; the design's policy without it.")
    ] = None,
    yes: Yes = None,
    by_policy: Annotated[
        bool, typer.Option("--by-policy", help="What `policy.keep` says, when all jobs are done; else nothing.")
    ] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Remove the weights of epochs that are not kept. Logs, metrics, results and states stay as they are.

    \b
    Example:
      tuneloop clean runs/demo --keep best --dry-run
    """
    from tuneloop.experiment.read import read_experiment
    from tuneloop.loop import retention
    from tuneloop.loop.shown import remember_plan

    experiment = read_experiment(folder)
    wanted = _wanted(experiment, keep, folder)
    try:
        plan = _plan(experiment, wanted, by_policy=by_policy)
    except TuneloopError as error:
        if not by_policy:
            raise
        # The report is written; that weights stay for now is no failure of the job that calls this.
        why = error.problems[0].message
        if as_json:
            write_json({"schema": "tuneloop.clean/1", "removed": False, "why": why})
        else:
            say(f"nothing is cleaned: {why}")
        return
    data = {"schema": "tuneloop.clean/1", **retention.as_data(plan, experiment.layout)}
    todo = bool(plan.checkpoints or plan.rest)
    if dry_run or (yes is None and not by_policy):
        remember_plan(experiment.layout, "clean", f"removes {_amount(plan)}, keeps {plan.keep}", plan.id)
    if not dry_run and todo and not by_policy:
        _consent(folder, experiment, plan, yes, as_json=as_json)
    if not dry_run:
        retention.clean(experiment, plan)
    if as_json:
        write_json(data | {"removed": todo and not dry_run})
        return
    if dry_run or by_policy:
        _show(experiment, plan)
    if not todo:
        say("nothing to remove")
    elif not dry_run:
        say(f"removed {_amount(plan)}")


def fetch(
    folder: Folder,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN@EPOCH]...", help="Checkpoints, or whole runs; all without any.")
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Bring the weights of checkpoints here that were made on a cluster over SSH, and the newest results.

    \b
    Example:
      tuneloop fetch runs/demo rank4_lr3e-3@1 --dry-run
    """
    from tuneloop.experiment.read import read_experiment
    from tuneloop.jobs.board import read_board
    from tuneloop.loop import fetch as loop
    from tuneloop.loop.orders import Crew

    experiment = read_experiment(folder)
    fleet = Crew(experiment).fleet()
    board = read_board(experiment, fleet)
    wanted = loop.plan_fetch(experiment, board, fleet, names or [])
    if not dry_run:
        loop.fetch(experiment, board, fleet, wanted)
    places = {item: str(loop.place_of(experiment.layout, item)) for item in wanted}
    if as_json:
        found = [{"name": item.name, "cluster": item.cluster, "folder": place} for item, place in places.items()]
        write_json({"schema": "tuneloop.fetch/1", "fetched": not dry_run, "checkpoints": found})
        return
    verb = "would fetch" if dry_run else "fetched"
    say("\n".join(f"{verb} {item.name} from {item.cluster}: {place}" for item, place in places.items()) or "no weights")


def archive(
    folder: Folder,
    target: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="The archive; NAME.tar.gz here without it.")
    ] = None,
    without_weights: Annotated[
        bool, typer.Option("--without-weights", help="Leave out checkpoints and merged models; all else goes in.")
    ] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Pack a whole experiment into one file, with the sha256 of every file in it.

    \b
    Example:
      tuneloop archive runs/demo demo.tar.gz --dry-run
    """
    from tuneloop.experiment.read import read_experiment
    from tuneloop.jobs.board import read_board
    from tuneloop.loop import archive as loop
    from tuneloop.loop.orders import Crew

    experiment = read_experiment(folder)
    board = read_board(experiment, Crew(experiment).fleet())
    place = target or Path(f"{experiment.layout.name}.tar.gz")
    plan = loop.plan_archive(experiment, board, place, weights=not without_weights)
    if not dry_run:
        loop.write_archive(plan)
    if as_json:
        write_json({"schema": "tuneloop.archiving/1", "written": not dry_run, **loop.as_data(plan)})
        return
    verb = "would write" if dry_run else "wrote"
    size = "" if dry_run else f", {place.stat().st_size / 1e6:,.1f} MB packed"
    say(f"{verb} {place}: {len(plan.files)} files, {plan.bytes / 1e6:,.1f} MB{size}")
    for path in plan.left_out:
        say(f"left out, a link: {path}")
    if not dry_run:
        say(f"next: tuneloop restore {typed(place)} DIR")


def restore(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="What `tuneloop archive` wrote.", show_default=False)],
    target: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="The folder to make; the experiment's name without it.")
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Unpack an archive after checking every file in it. A damaged one leaves nothing.

    \b
    Example:
      tuneloop restore demo.tar.gz runs/again --dry-run
    """
    from tuneloop.loop.restore import restore as unpack

    done = unpack(source, target, keep=not dry_run)
    if as_json:
        write_json(
            {
                "schema": "tuneloop.restored/1",
                "folder": str(done.folder),
                "files": done.files,
                "bytes": done.bytes,
                "weights": done.weights,
                "written": not dry_run,
            }
        )
        return
    verb = "would restore" if dry_run else "restored"
    say(f"{verb} {done.folder}: {done.files} files, {done.bytes / 1e6:,.1f} MB, each as it was archived")
    if not done.weights:
        say("it was archived without weights")


def _wanted(experiment: "Experiment", keep: str | None, folder: Path) -> "Keep":
    from tuneloop.loop.retention import Keep

    said = keep if keep is not None else experiment.design.policy.keep
    choices: dict[str, Keep] = {word: word for word in get_args(Keep)}
    if said in choices:
        return choices[said]
    if keep is not None:
        raise InputError(f"cannot keep `{keep}`", hint="known: `best`, `last`, `none`")
    hint = f"`tuneloop clean {typed(folder)} --keep best`"
    raise InputError(Problem("the design keeps all weights: say which to keep", experiment.layout.summary, hint=hint))


def _plan(experiment: "Experiment", keep: "Keep", *, by_policy: bool) -> "CleanPlan":
    from tuneloop.experiment.work import COLLECT
    from tuneloop.jobs.board import read_board
    from tuneloop.loop.measured import measured
    from tuneloop.loop.orders import Crew
    from tuneloop.loop.retention import plan_clean, refuse_going

    board = read_board(experiment, Crew(experiment).fleet())
    refuse_going(experiment, board)
    undone = [status for key, status in board.states.items() if key != COLLECT and status.state != "done"]
    if by_policy and undone:
        raise InputError(f"{len(undone)} jobs are not done, such as `{undone[0].key}`")
    return plan_clean(experiment, board, keep, measured(experiment, board) if keep == "best" else None)


def _consent(folder: Path, experiment: "Experiment", plan: "CleanPlan", yes: str | None, *, as_json: bool) -> None:
    consent(
        plan.id,
        yes,
        lack=f"removing {_amount(plan)} needs a yes",
        again=f"tuneloop clean {typed(folder)} --keep {plan.keep}",
        show=lambda: _show(experiment, plan),
        question="Remove them?",
        as_json=as_json,
    )


def _show(experiment: "Experiment", plan: "CleanPlan") -> None:
    rows = [[item.run, "none" if item.epoch is None else f"epoch {item.epoch}", item.why] for item in plan.kept]
    rows += [[item.run, "all", item.why] for item in plan.left]
    if rows:
        say(table(["run", "keeps", "why"], rows))
    for path in [*plan.checkpoints, *plan.rest]:
        say(f"would lose its weights: {experiment.layout.relative(path)}")
    if plan.checkpoints or plan.rest:
        say(f"{_amount(plan)}; plan {plan.id}")


def _amount(plan: "CleanPlan") -> str:
    count = len(plan.checkpoints) + len(plan.rest)
    return f"{plan.bytes / 1e6:,.1f} MB of weights in {count} folder{'' if count == 1 else 's'}"
