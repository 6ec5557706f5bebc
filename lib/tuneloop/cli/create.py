"""`create-inspect-task`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tuneloop.cli.output import All, DryRun, Json, say, write_json
from tuneloop.documents.errors import InputError
from tuneloop.documents.shell import typed

if TYPE_CHECKING:
    from tuneloop.loop.inspect_task import Place, TaskPlan

# As in workers/inspect/create.py, which `tuneloop --help` does not import.
Kind = Literal["exact", "choice", "numeric", "pattern", "graded"]
TargetIs = Literal["letter", "index", "text"]
Choices = Annotated[
    list[str] | None, typer.Option(help="choice: a column with a list of texts, or a column for each choice.")
]
Try = Annotated[
    Path | None, typer.Option("--try", metavar="MODEL", help="Ask this local model folder three samples first.")
]


def register(app: typer.Typer) -> None:
    app.command("create-inspect-task")(create_inspect_task)


def create_inspect_task(
    kind: Annotated[Kind, typer.Option(help="How an answer is scored.", show_default=False)],
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="The Python file to write.")] = None,
    data: Annotated[Path | None, typer.Option(help="The rows: JSON, JSONL, CSV or Parquet.")] = None,
    experiment: Annotated[Path | None, typer.Option(help="An experiment, whose data and prompt are used.")] = None,
    split: Annotated[str | None, typer.Option(help="With `--experiment`: the data entry; `test` unless named.")] = None,
    name: Annotated[str | None, typer.Option(help="The task's name; that of the file, or the kind.")] = None,
    input_: Annotated[str | None, typer.Option("--input", help="The column that is asked.")] = None,
    target: Annotated[str | None, typer.Option(help="The column with the right answer.")] = None,
    prompt: Annotated[str | None, typer.Option(help='The user turn, such as "capitalize: {input}".')] = None,
    system: Annotated[str | None, typer.Option(help="The system turn.")] = None,
    choices: Choices = None,
    target_is: Annotated[TargetIs | None, typer.Option(help="choice: what the target column holds.")] = None,
    tolerance: Annotated[float | None, typer.Option(help="numeric: in the target's unit.")] = None,
    relative_tolerance: Annotated[float | None, typer.Option(help="numeric: as a share of the target.")] = None,
    pattern: Annotated[str | None, typer.Option(help="pattern: a regular expression with a group.")] = None,
    ignore_case: Annotated[bool, typer.Option("--ignore-case", help="exact, pattern: fold case.")] = False,
    judge: Annotated[str | None, typer.Option(help="graded: PROVIDER/MODEL, or a model folder.")] = None,
    judge_arg: Annotated[list[str] | None, typer.Option(help="graded: NAME=VALUE, a model argument.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="The longest answer, in tokens.")] = None,
    model: Try = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    everything: All = False,
) -> None:
    """Write an inspect-ai task for the data at hand, checked against every row and built once. Overwrites nothing.

    \b
    Example:
      tuneloop create-inspect-task runs/words.py --kind exact \\
        --data examples/capitalization/data/test.jsonl \\
        --input word --target capitalized --prompt "capitalize: {input}" --dry-run
    """
    from tuneloop.loop.inspect_task import named_in, plan_task, write_task
    from tuneloop.workers.inspect.create import Wish

    named = name or (kind if file is None else file.stem)
    place = _place(file, data, experiment, split, named)
    wish = Wish(
        kind=kind,
        name=named,
        data=named_in(place.file, place.data),
        input=input_,
        target=target,
        prompt=prompt,
        system=system,
        choices=choices or [],
        target_is=target_is,
        tolerance=tolerance,
        relative_tolerance=relative_tolerance,
        pattern=pattern,
        ignore_case=ignore_case,
        judge=judge,
        judge_arg=_arguments(judge_arg),
        max_tokens=max_tokens,
    )
    plan = plan_task(place, wish, model)
    if not dry_run:
        write_task(plan)
    _show(plan, dry_run=dry_run, as_json=as_json, everything=everything)


def _arguments(words: list[str] | None) -> dict[str, Any]:
    from tuneloop.loop.design import parse_assignments

    return parse_assignments(words or [], "--judge-arg", several=False)


def _place(file: Path | None, data: Path | None, folder: Path | None, split: str | None, name: str) -> "Place":
    from tuneloop.experiment.read import read_experiment
    from tuneloop.loop.inspect_task import place_alone, place_within

    if folder is None:
        if split is not None:
            raise InputError("`--split` names data of an experiment", hint="add `--experiment EXP`")
        return place_alone(file, data)
    if data is not None:
        hint = "take `--data` out; `--split` says which entry of `data` is read"
        raise InputError("`--data` and `--experiment` both name the data", hint=hint)
    return place_within(read_experiment(folder), file, split, name)


def _show(plan: "TaskPlan", *, dry_run: bool, as_json: bool, everything: bool) -> None:
    if as_json:
        write_json(_data(plan, written=not dry_run), whole=everything)
        return
    for shown in plan.tried.shown:
        scores = ", ".join(f"{name} {value:g}" for name, value in shown.scores.items())
        say(f"input   {shown.input!r}")
        say(f"target  {shown.target!r}")
        say(f"answer  {shown.answer!r}")
        say(f"score   {scores}\n")
    if dry_run:
        say(plan.text)
    file = plan.place.file
    say(f"{'would write' if dry_run else 'wrote'} {file}: {plan.spec.kind}, {plan.tried.samples} samples")
    if plan.entry is not None and plan.place.experiment is not None:
        summary = plan.place.experiment.layout.summary.name
        say(f"for the head of {summary}, {plan.entry_goes}:\n\n{plan.entry}")
        say(f"next: tuneloop check-experiment {typed(plan.place.experiment.layout.folder)} --only design")
    elif not dry_run:
        say(f"next: read {typed(file)}, then `inspect eval {typed(file)} --model MODEL`, or `task:` in a design")


def _data(plan: "TaskPlan", *, written: bool) -> dict[str, Any]:
    from tuneloop.experiment.work import to_json

    return {
        "schema": "tuneloop.inspect-task/1",
        "file": str(plan.place.file),
        "written": written,
        "kind": plan.spec.kind,
        "task": plan.spec.name,
        "samples": plan.tried.samples,
        "tried": to_json(plan.tried)["shown"],
        "evaluation": plan.entry,
        "text": plan.text,
    }
