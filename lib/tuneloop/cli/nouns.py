"""Noun groups, such as `tuneloop skills`: commands about one thing, and their list where none is named."""

import typer

from tuneloop.cli.output import say


def noun(name: str, about: str) -> typer.Typer:
    """Return an empty group of commands. Without a command it prints its help and exits with 2."""
    group = typer.Typer(
        name=name, help=about, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]}
    )

    @group.callback(invoke_without_command=True)
    def _root(context: typer.Context) -> None:
        if context.invoked_subcommand is None:
            say(context.get_help())
            raise typer.Exit(2)

    return group
