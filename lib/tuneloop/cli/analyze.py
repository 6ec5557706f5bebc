"""`analyze-experiment`."""

import typer

from tuneloop.cli.output import DryRun, Folder, Json, say, write_json


def register(app: typer.Typer) -> None:
    app.command("analyze-experiment")(analyze_experiment)


def analyze_experiment(folder: Folder, dry_run: DryRun = False, as_json: Json = False) -> None:
    """Turn the evaluation logs into results, figures and a report. Safe to repeat.

    \b
    Example:
      tuneloop analyze-experiment runs/demo
    """
    from tuneloop.experiment.read import read_experiment
    from tuneloop.loop.analyze import analyze

    experiment = read_experiment(folder)
    if dry_run:
        say(f"would write {experiment.layout.analysis}")
        return
    done = analyze(experiment)
    if as_json:
        write_json({"schema": "tuneloop.analysis/1", "report": str(done.report), "rows": done.rows})
        return
    say(done.summary)
    say()
    say(str(done.report))
