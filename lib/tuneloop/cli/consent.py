"""A yes to a plan, by its id or from a person who was shown it."""

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from tuneloop.documents.errors import InputError

Yes = Annotated[str | None, typer.Option("--yes", metavar="PLAN", help="Consent to the plan with this id.")]


def consent(
    plan: str,
    yes: str | None,
    *,
    given: str | None = None,
    lack: str,
    again: str,
    show: Callable[[], None],
    question: str,
    as_json: bool,
) -> None:
    """Return when the plan with the id `plan` is agreed to; a person who says no ends the command.

    `given` is the id of a plan that was agreed to before and of which this one is the rest.

    Raises InputError when `yes` names another plan, and, with `lack` and the line `again` to type, when there is
    nobody to ask.
    """
    if yes is not None:
        if yes not in (plan, given):
            hint = "look at the new plan with `--dry-run`"
            raise InputError(f"the plan has changed: it is {plan}, not {yes}", hint=hint)
        return
    if as_json or not sys.stdin.isatty():
        raise InputError(lack, hint=f"`{again} --yes {plan}`")
    show()
    if not typer.confirm(question):
        raise typer.Exit(0)
