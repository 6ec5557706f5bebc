"""`analyze-experiment`."""

import typer

from tuneloop.cli.output import All, DryRun, Folder, Json, say, write_json


def register(app: typer.Typer) -> None:
    app.command("analyze-experiment")(analyze_experiment)


def analyze_experiment(folder: Folder, dry_run: DryRun = False, as_json: Json = False, everything: All = False) -> None:
    """Turn the evaluation logs into results, figures and a report. Safe to repeat.

    With --json: of each run and metric the mean, the difference to the control, their intervals, n and the verdict.

    \b
    Example:
      tuneloop analyze-experiment runs/demo
    """
    from tuneloop.experiment.read import read_experiment
    from tuneloop.loop.analyze import analyze

    experiment = read_experiment(folder)
    data = {"schema": "tuneloop.analysis/1", "report": str(experiment.layout.report), "written": not dry_run}
    if dry_run:
        if as_json:
            write_json(data)
        else:
            say(f"would write {experiment.layout.analysis}")
        return
    done = analyze(experiment)
    if as_json:
        write_json({**data, "rows": done.rows, **done.data}, whole=everything)
        return
    say(done.summary)
    say()
    say(str(done.report))
