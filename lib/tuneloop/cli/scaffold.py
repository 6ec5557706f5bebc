"""`scaffold-experiment` and `scaffold-<tool>` for every worker."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuneloop.cli.output import All, DryRun, Folder, Json, note, say, write_json
from tuneloop.documents.shell import typed

if TYPE_CHECKING:
    from tuneloop.loop.scaffold import ScaffoldPlan

Replace = Annotated[
    list[str] | None, typer.Option("--replace", metavar="RUN", help="Set this run's results aside and scaffold anew.")
]


def register(app: typer.Typer) -> None:
    from tuneloop.cli.tools import worker_names

    app.command("scaffold-experiment")(scaffold_experiment)
    for name in worker_names():
        app.command(f"scaffold-{name}", help=_help(name))(_for_worker(name))


def scaffold_experiment(
    folder: Folder,
    replace: Replace = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    everything: All = False,
) -> None:
    """Write every config and job script of an experiment. Safe to repeat.

    \b
    Example:
      tuneloop scaffold-experiment runs/demo --dry-run
    """
    _scaffold(folder, None, replace or [], dry_run=dry_run, as_json=as_json, everything=everything)


def _for_worker(name: str) -> Callable[..., None]:
    def command(
        folder: Folder,
        replace: Replace = None,
        dry_run: DryRun = False,
        as_json: Json = False,
        everything: All = False,
    ) -> None:
        _scaffold(folder, name, replace or [], dry_run=dry_run, as_json=as_json, everything=everything)

    return command


def _help(name: str) -> str:
    return (
        f"Write the {name} configs and job scripts of an experiment alone. Safe to repeat.\n\n\b\nExample:\n"
        f"  tuneloop scaffold-{name} runs/demo --dry-run"
    )


def _scaffold(
    folder: Path, only: str | None, replace: list[str], *, dry_run: bool, as_json: bool, everything: bool
) -> None:
    from tuneloop.documents.logs import EventLog
    from tuneloop.experiment.read import read_experiment
    from tuneloop.loop.orders import Crew
    from tuneloop.loop.scaffold import plan_scaffold, write_scaffold
    from tuneloop.loop.shown import remember_plan

    experiment = read_experiment(folder)
    for name in replace:
        experiment.run(name)
    crew = Crew(experiment)
    plan = plan_scaffold(experiment, crew, [only] if only else None)
    if dry_run and replace:
        what = f"sets the results of {' and '.join(replace)} aside, writes {len(plan.files)} files"
        remember_plan(experiment.layout, f"scaffold-{only or 'experiment'}", what, runs=replace)
    written = {} if dry_run else write_scaffold(plan, crew, replace)
    if not dry_run and only is None:
        log = EventLog(experiment.layout.folder, "scaffold-experiment")
        log.event(f"{len(experiment.runs)} runs, {len(plan.jobs)} jobs, {sum(written.values())} files written")
    if as_json:
        write_json(_data(plan, written), whole=everything)
        return
    show_notes(plan)
    if dry_run:
        for file in plan.files:
            say(f"would write {file.path}")
        for changed in plan.changed:
            say(str(changed))
        return
    say(f"{len(plan.jobs)} jobs for {len(experiment.runs)} runs; {sum(written.values())} files written")
    say(f"next: tuneloop run-{only or 'experiment'} {typed(folder)}")


def show_notes(plan: "ScaffoldPlan") -> None:
    """Say what the workers noticed that is no fault."""
    for worker, found in plan.workers.items():
        for text in found.notes:
            note(f"note: {worker}: {text}")


def _data(plan: "ScaffoldPlan", written: Mapping[str, int]) -> dict[str, Any]:
    return {
        "schema": "tuneloop.scaffold/1",
        "experiment": str(plan.experiment.layout.folder),
        "jobs": len(plan.jobs),
        "files": len(plan.files),
        "written": dict(written),
        "notes": [f"{worker}: {text}" for worker, found in plan.workers.items() for text in found.notes],
        "changed": [{"run": item.run, "jobs": len(item.jobs), "changes": item.changes} for item in plan.changed],
    }
