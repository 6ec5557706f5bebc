"""The console script: all commands, and the one place that turns errors into words and exit codes."""

import sys
from typing import Any

import typer

from tuneloop.cli import analyze, design, everyday, run, scaffold
from tuneloop.cli.output import write_error
from tuneloop.documents.errors import Problem, TuneloopError

# typer carries its own copy of click in newer releases; this is its UsageError wherever it lives.
_USAGE_ERROR: Any = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="tuneloop",
    help="Design, scaffold, run and analyze fine-tuning experiments.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done; 1 the work failed; 2 bad input; 3 something is missing; 4 held by another; 5 going.",
)
for group in (design, scaffold, run, analyze, everyday):
    group.register(app)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        import tuneloop

        sys.stdout.write(f"tuneloop {tuneloop.__version__}\n")
        raise typer.Exit


def main() -> None:
    """Run one command and exit with its code."""
    sys.exit(_run())


def _run() -> int:
    as_json = "--json" in sys.argv
    try:
        code = app(standalone_mode=False)
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
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    return code if isinstance(code, int) else 0


__all__ = ["app", "main"]
