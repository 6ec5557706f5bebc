"""`doctor`: is everything here that an experiment needs, and what to type about what is not."""

from pathlib import Path
from typing import Annotated

import typer

from tuneloop.cli.output import Json, say, say_checks, write_json

_MISSING = 3


def register(app: typer.Typer) -> None:
    app.command("doctor")(doctor)


def doctor(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[EXP]", help="What this experiment needs; what any needs without it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check the tool, the work environments, the machine and the configuration: exit 0 all well, 3 something missing.

    \b
    Example:
      tuneloop doctor
    """
    from tuneloop.loop.doctor import examine

    sections = examine(Path.cwd(), folder)
    code = 0 if all(section.ok for section in sections) else _MISSING
    if as_json:
        checks = [
            {"section": section.title, "name": item.name, "ok": item.ok, "message": item.message, "hint": item.hint}
            for section in sections
            for item in section.checks
        ]
        write_json({"schema": "tuneloop.doctor/1", "ok": code == 0, "checks": checks}, whole=True)
        raise typer.Exit(code)
    for section in sections:
        say(section.title)
        say_checks(section.checks)
    faults = sum(not item.ok for section in sections for item in section.checks)
    say(f"\n{'all is well' if not faults else f'{faults} fault' + ('' if faults == 1 else 's')}")
    raise typer.Exit(code)
