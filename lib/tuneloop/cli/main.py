"""The console script: all commands, and the one place that turns errors into words and exit codes."""

import gc
import sys
from pathlib import Path
from typing import Any

import typer

from tuneloop.cli import (
    analyze,
    cluster,
    create,
    data,
    design,
    doctor,
    everyday,
    keep,
    logs,
    models,
    run,
    scaffold,
    skills,
)
from tuneloop.cli.output import say, write_error
from tuneloop.documents.errors import Problem, TuneloopError
from tuneloop.documents.files import input_error

# typer carries its own copy of click in newer releases; this is its UsageError wherever it lives.
_USAGE_ERROR: Any = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="tuneloop",
    help="Design, scaffold, run and analyze fine-tuning experiments.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done; 1 the work failed; 2 bad input; 3 something is missing; 4 held by another; 5 going.",
)
for group in (design, data, create, scaffold, run, analyze, everyday, logs, models, keep, doctor, cluster, skills):
    group.register(app)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context, version: bool = typer.Option(False, "--version", help="Print the version and exit.")
) -> None:
    if version:
        import tuneloop

        say(f"tuneloop {tuneloop.__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        say(context.get_help())
        raise typer.Exit(2)


def main() -> None:
    """Run one command and exit with its code."""
    # Commands are short and keep what they read: looking for garbage every 700 objects is a tenth of `status`.
    gc.set_threshold(100_000)
    sys.exit(_run())


def _run() -> int:
    as_json = "--json" in sys.argv
    broken = [word for word in sys.argv[1:] if not _is_text(word)]
    if broken:
        write_error([Problem(f"{word!r} is not UTF-8 text") for word in broken], 2, as_json=as_json)
        return 2
    try:
        code = app(prog_name="tuneloop", standalone_mode=False)
    except TuneloopError as error:
        write_error(error.problems, error.exit_code, as_json=as_json)
        return error.exit_code
    except _USAGE_ERROR as error:
        command = error.ctx.command_path if error.ctx else "tuneloop"
        problem = Problem(error.format_message().rstrip("."), hint=f"`{command} --help` shows the arguments")
        write_error([problem], 2, as_json=as_json)
        return 2
    except typer.Abort:
        return 130
    except KeyboardInterrupt:
        # Ending a follower ends nothing: the jobs are not its children.
        return 130
    except OSError as error:
        refused = input_error(error, Path(error.filename or "."))
        write_error(refused.problems, refused.exit_code, as_json=as_json)
        return refused.exit_code
    return code if isinstance(code, int) else 0


def _is_text(word: str) -> bool:
    # Python keeps bytes of an argument that are not UTF-8 as lone surrogates, which no file can hold.
    return not any("\ud800" <= letter <= "\udfff" for letter in word)


__all__ = ["app", "main"]
