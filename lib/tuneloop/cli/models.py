"""`sample`, `export`: what a person does with one trained model."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tuneloop.cli.output import DryRun, Json, note, say, write_json

Reference = Annotated[
    str,
    typer.Argument(
        metavar="RUN@EPOCH",
        help="[EXPERIMENT/]RUN@EPOCH, such as runs/demo/rank4_lr3e-3@1; a control run by its name alone.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    app.command("sample")(sample)
    app.command("export")(export)


def sample(
    reference: Reference,
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="The input, as a row of the data has it.")],
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Tokens of the answer at most.")] = 128,
    temperature: Annotated[
        float | None, typer.Option("--temperature", min=0, help="Draw with this temperature; greedy without it.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The random seed where a temperature draws.")] = 0,
    system: Annotated[str | None, typer.Option("--system", help="Another system turn than the design's.")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Without the design's prompt and system turn.")] = False,
    as_json: Json = False,
) -> None:
    """Ask one model of an experiment one thing, as its training and its evaluations do. Changes no job.

    \b
    Example:
      tuneloop sample runs/demo/rank4_lr3e-3@1 hello
    """
    from tuneloop.documents.plain import plain
    from tuneloop.loop.checkpoints import find_model
    from tuneloop.loop.sample import Asking, messages
    from tuneloop.loop.sample import sample as ask

    model = find_model(reference, Path.cwd())
    turns = messages(model.experiment, prompt, system=system, raw=raw)
    told = ask(model, turns, Asking(max_tokens, temperature, seed))
    if as_json:
        write_json(
            {
                "schema": "tuneloop.sample/1",
                "model": model.name,
                "folder": str(model.folder),
                "messages": turns,
                "prompt": told.prompt,
                "output": told.output,
                "tokens": told.tokens,
                "ended": told.ended,
                "max_tokens": max_tokens,
                "temperature": temperature or 0,
                "seed": seed if temperature else None,
            },
            whole=True,
        )
        return
    say(plain(told.output))
    if not told.ended:
        note(f"cut off after {told.tokens} tokens; `--max-tokens` allows more")


def export(
    reference: Reference,
    target: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make.", show_default=False)],
    dtype: Annotated[
        str | None, typer.Option("--dtype", help="bf16 or fp32; that of the weights without it.", metavar="DTYPE")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of an earlier export that nobody has changed since.")
    ] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Make a Hugging Face folder of a checkpoint: merged weights, tokenizer, chat template, and a model card.

    Files of yours are never replaced, and another export only with --replace.

    \b
    Example:
      tuneloop export runs/demo/rank4_lr3e-3@1 exported --dry-run
    """
    from tuneloop.loop.checkpoints import find_model
    from tuneloop.loop.export import plan_export, write_export
    from tuneloop.loop.shown import remember

    plan = plan_export(find_model(reference, Path.cwd()), target, dtype, replace=replace)
    data: dict[str, Any] = {"schema": "tuneloop.export/1", "model": plan.model.name, "folder": str(plan.target)}
    if dry_run:
        what = (
            "all is there already" if plan.there else f"writes a model{', in the place of another' if replace else ''}"
        )
        remember(Path.cwd() / reference, "export", what, rest=[str(target)], layout=plan.model.experiment.layout)
        if as_json:
            write_json(data | {"written": None, "there": plan.there, "card": plan.card}, whole=True)
        elif plan.there:
            say(f"all is there already: {plan.target}")
        else:
            say(f"would write {plan.target} from {plan.model.folder}, with this README.md:\n\n{plan.card}")
        return
    done = write_export(plan)
    files = done.files
    if as_json:
        write_json(data | {"written": dict(files) if done.made else {}, "there": not done.made})
        return
    if not done.made:
        say(f"all is there already: {plan.target}")
        return
    say(f"wrote {plan.target}: {sum(files.values()) / 1e6:,.1f} MB in {len(files)} files")
