"""`split`: what is done to data files before an experiment."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuneloop.cli.output import DryRun, Json, note, say, table, write_json

if TYPE_CHECKING:
    from tuneloop.loop.split import Split


def register(app: typer.Typer) -> None:
    app.command("split")(split)


def split(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="JSON, JSONL, CSV or Parquet.", show_default=False)],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the parts go.", show_default=False)],
    shares: Annotated[str, typer.Option(help="NAME=SHARE, with commas; the shares add up to 1.", show_default=False)],
    seed: Annotated[int, typer.Option(help="Another seed makes other parts.")] = 1,
    group: Annotated[str | None, typer.Option(help="A column; samples alike in it stay together.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Write over parts that hold something else.")] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Split a file of data into train.jsonl, test.jsonl and so on, with splits.json, the record of how.

    A sample's part follows from the seed and its content: the same file makes the same parts, equal samples stay
    together, and rows that are added later move no other row. How near a part comes to its share is left to chance:
    with few samples it may be far off, and a note says so.

    \b
    Example:
      tuneloop split examples/capitalization/data/train.jsonl runs/parts \\
        --shares train=0.8,validation=0.1,test=0.1
    """
    from tuneloop.loop.split import parse_shares, plan_split, write_split

    plan = plan_split(source, folder, parse_shares(shares), seed=seed, group=group, replace=replace)
    if not dry_run:
        write_split(plan)
    for part in plan.far_off:
        asked = f"{float(part.share * plan.samples):.3g}"
        note(f"`{part.name}` has {part.samples} of {plan.samples} samples, its share is {asked}; try another `--seed`")
    if as_json:
        write_json(_data(plan, written=not dry_run))
        return
    _show(plan, group, dry_run=dry_run)


def _show(plan: "Split", group: str | None, *, dry_run: bool) -> None:
    from tuneloop.documents.yamltext import dump_yaml
    from tuneloop.loop.split import entries

    things = "different samples" if group is None else f"groups by `{group}`"
    rows = [
        [
            part.name,
            f"{float(part.share):.3g}",
            f"{part.samples / plan.samples:.3f}",
            str(part.samples),
            str(part.distinct),
        ]
        for part in plan.parts
    ]
    say(table(["split", "asked", "got", "samples", things], rows))
    say()
    if not plan.changed:
        say(f"all is there already: {plan.record.parent}")
    else:
        names = ", ".join(path.name for path in plan.changed)
        say(f"{'would write' if dry_run else 'wrote'} {plan.record.parent}: {names}")
    say("for a design:")
    say()
    say(dump_yaml({"data": entries(plan)}).rstrip())


def _data(plan: "Split", *, written: bool) -> dict[str, Any]:
    from tuneloop.loop.split import entries

    return {
        "schema": "tuneloop.split/1",
        "folder": str(plan.record.parent),
        "written": written,
        "changed": [path.name for path in plan.changed],
        "record": str(plan.record),
        "parts": [
            {"split": part.name, "path": str(part.path), "samples": part.samples, "distinct": part.distinct}
            for part in plan.parts
        ],
        "data": entries(plan),
    }
