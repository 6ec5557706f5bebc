"""`design-experiment`, `check-experiment`, `explain`."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tuneloop.cli.output import All, DryRun, Folder, Json, note, say, table, write_json
from tuneloop.cli.scaffold import show_notes
from tuneloop.documents.errors import InputError
from tuneloop.documents.shell import typed
from tuneloop.experiment.formats import FORMATS, Format


def register(app: typer.Typer) -> None:
    app.command("design-experiment", epilog=_formats())(design_experiment)
    app.command("check-experiment")(check_experiment)
    app.command("explain")(explain)


def design_experiment(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make.", show_default=False)],
    source: Annotated[Path | None, typer.Option("--from", help="A design in YAML to start from.")] = None,
    question: Annotated[str | None, typer.Option(help="What the experiment is to answer.")] = None,
    model: Annotated[
        str | None, typer.Option(help="A Hugging Face folder, a cached hub id or EXPERIMENT/RUN@EPOCH.")
    ] = None,
    train: Annotated[Path | None, typer.Option(help="The training data: JSON, JSONL, CSV or Parquet.")] = None,
    test: Annotated[Path | None, typer.Option(help="The data that evaluations read.")] = None,
    validation: Annotated[Path | None, typer.Option(help="The data of the validation loss.")] = None,
    task: Annotated[str | None, typer.Option(help="An inspect-ai task: FILE.py or FILE.py@TASK.")] = None,
    data_format: Annotated[Format, typer.Option("--format", help="The format of the data; see below.")] = "instruct",
    column: Annotated[list[str] | None, typer.Option(help="ROLE=COLUMN, such as input=word.")] = None,
    prompt: Annotated[str | None, typer.Option(help='The user turn, such as "capitalize: {input}".')] = None,
    vary: Annotated[list[str] | None, typer.Option(help="NAME=VALUE,VALUE: a variable.")] = None,
    control: Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE: a control.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Random seeds, with commas.")] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    everything: All = False,
) -> None:
    """Write experiment_summary.md: the design of an experiment, checked, with its runs and what they will cost.

    \b
    Example:
      tuneloop design-experiment runs/rank --question "Does a higher rank help?" \\
        --model examples/tiny-base --train examples/capitalization/data/train.jsonl \\
        --column input=word --column output=capitalized --prompt "capitalize: {input}" \\
        --vary lora_rank=4,32 --vary lr=3e-4,3e-3 --set epochs=2
      tuneloop design-experiment runs/cap --from examples/capitalization/design.yaml
    """
    from tuneloop.loop import design as loop
    from tuneloop.loop.overview import design_block

    head: dict[str, Any] = loop.read_source(source, folder) if source else {}
    reading = (data_format, prompt, column)
    told = _flags(question, model, reading, seeds, (train, test, validation), task)
    flags = loop.moved(told, Path(), folder)  # what is typed starts where the command runs
    variables = loop.parse_assignments(vary or [], "--vary", several=True)
    controls = loop.parse_assignments(control or [], "--set", several=False)
    head = loop.merge(head, flags | _present(variables=variables, controls=controls))
    checked = loop.draft(folder, head, source=source)
    if not dry_run:
        loop.write(checked)
    summary = checked.experiment.layout.summary
    if as_json:
        write_json(_design_data(checked.experiment, checked.plan, written=not dry_run), whole=everything)
        return
    show_notes(checked.plan)
    say(design_block(checked.experiment, checked.plan))
    say()
    say(f"would write {summary}" if dry_run else f"wrote {summary}")
    if not dry_run:
        say(f"next: tuneloop scaffold-experiment {typed(folder)}")


def check_experiment(
    folder: Folder,
    only: Annotated[Literal["design"], typer.Option(help="Which checks to make.")] = "design",
    dry_run: DryRun = False,
    as_json: Json = False,
    everything: All = False,
) -> None:
    """Check a design against its schema, its data, its model and its tasks, and bring its tables up to date.

    \b
    Example:
      tuneloop check-experiment runs/demo --only design
    """
    from tuneloop.loop import design as loop

    assert only == "design"
    experiment, plan = loop.check(folder)
    if not dry_run:
        loop.refresh(experiment, plan)
    if as_json:
        write_json(_design_data(experiment, plan, written=not dry_run), whole=everything)
        return
    show_notes(plan)
    say(f"{experiment.design.name}: the design is sound; {len(experiment.runs)} runs, {len(plan.jobs)} jobs")
    for changed in plan.changed:
        note(f"note: {changed}")


def explain(
    folder: Folder,
    run: Annotated[str | None, typer.Argument(help="One run; all of them without it.")] = None,
    as_json: Json = False,
    everything: All = False,
) -> None:
    """Print each resolved setting and where it came from.

    \b
    Example:
      tuneloop explain runs/demo rank4_lr3e-4
    """
    from tuneloop.loop import design as loop

    experiment, plan = loop.check(folder)
    names = [experiment.run(run).name] if run else [item.name for item in experiment.runs]
    settings = {name: plan.settings.get(name, {}) for name in names}
    if as_json:
        listed = [
            {"run": name, "setting": key, "value": item.value, "origin": item.origin}
            for name, found in settings.items()
            for key, item in found.items()
        ]
        write_json({"schema": "tuneloop.explain/1", "settings": listed}, whole=everything)
        return
    for name, found in settings.items():
        say(name)
        rows = [[f"  {key}", str(item.value), item.origin] for key, item in found.items()]
        say(table(["  setting", "value", "origin"], rows) if rows else "  the model as it is")
        say()


def _flags(
    question: str | None,
    model: str | None,
    reading: tuple[str, str | None, list[str] | None],
    seeds: str | None,
    files: tuple[Path | None, Path | None, Path | None],
    task: str | None,
) -> dict[str, Any]:
    """Return what the flags say as keys of a design."""
    from tuneloop.loop.design import parse_assignments

    data_format, prompt, column = reading
    columns = parse_assignments(column or [], "--column", several=False)
    data: list[dict[str, Any]] = []
    for split, path in zip(("train", "test", "validation"), files, strict=True):
        if path is None:
            continue
        if not path.is_file():
            raise InputError(f"no such file: {path}", hint=f"check `--{split}`")
        data.append({"split": split, "path": str(path)})
    if data:
        data[0] |= _present(format=data_format, columns=columns, prompt=prompt)
    evaluations = []
    if task is not None:
        file, _, name = task.partition("@")
        evaluations = [_present(name=name or Path(file).stem, task=task, split="test" if files[1] else None)]
    return _present(
        question=question,
        model=model,
        data=data,
        evaluations=evaluations,
        metrics={"primary": {"evaluation": evaluations[0]["name"]}} if evaluations else None,
        runs=[{"name": "control", "kind": "control"}] if evaluations else None,
        seeds=_seeds(seeds) if seeds else None,
    )


def _formats() -> str:
    """Return the listing of formats at the end of `--help`."""
    lines = ["\b", "Formats of data, one sample each, with the columns' own names:"]
    for item in FORMATS.values():
        lines += [f"  {item.name}: {item.about}", f"    {item.example}"]
    return "\n".join(lines)


def _seeds(text: str) -> list[int]:
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError:
        raise InputError(f"`--seeds {text}` is not whole numbers", hint="write it like `--seeds 1,2,3`") from None


def _present(**items: Any) -> dict[str, Any]:
    return {key: value for key, value in items.items() if value not in (None, [], {})}


def _design_data(experiment: Any, plan: Any, *, written: bool) -> dict[str, Any]:
    return {
        "schema": "tuneloop.design/1",
        "experiment": str(experiment.layout.folder),
        "written": written,
        "jobs": len(plan.jobs),
        "hours": round(sum(job.seconds for job in plan.jobs) / 3600, 3),
        "versions": {name: dict(found) for name, found in plan.versions.items()},
        "changed": [{"run": item.run, "jobs": len(item.jobs), "changes": item.changes} for item in plan.changed],
        "runs": [{"name": run.name, "kind": run.kind, "seed": run.seed, "cell": run.cell} for run in experiment.runs],
    }
