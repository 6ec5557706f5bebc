"""Commands, flags, programs and slash commands of a document against the real command line and the real tree."""

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from typing import Any

import typer
from docs_reading import ROOT, SHELL, Block, Command, Inline, blocks, commands_in, inline_codes, pieces, shell_lines

from command_line import cli, commands

USAGE_ERROR: Any = typer.BadParameter.__mro__[1]  # as in cli/main.py: newer typers carry a click of their own
# Programs that a block may call beside ours, and whose they are.
PROGRAMS = {
    "tuneloop": "this library",
    "tuneloop-setup": "the plugin",
    "make": "the Makefile, whose targets are checked",
    "pip": "Python's, whose extras are checked",
    "python": "Python, whose scripts are checked",
    "source": "the shell",
    "cp": "the system",
    "pytest": "pytest, whose paths are checked",
    "claude": "Claude Code",
    "specify": "spec-kit",
    "uvx": "uv",
    "tune": "torchtune",
    "inspect": "inspect-ai",
    "bash": "the shell, whose scripts are checked",
}
# Slash commands of Claude Code itself.
BUILT_IN = {"/plugin", "/reload-plugins", "/reload-skills", "/context", "/clear", "/agents", "/help"}


def resolve(words: list[str]) -> tuple[Any, list[str]]:
    """Return the command or group that the words begin with, None for neither, and the words after it."""
    command, rest = cli(), words[1:]
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        command, rest = command.commands.get(rest[0]), rest[1:]
    return command, rest


@cache
def all_flags() -> frozenset[str]:
    flags = {"--help", "-h", "--version"}
    for command in commands().values():
        for item in command.params:
            flags |= {name for name in [*item.opts, *item.secondary_opts] if name.startswith("-")}
    return frozenset(flags | script_flags("tuneloop-setup"))


@cache
def script_flags(name: str) -> frozenset[str]:
    """Return the flags that a script of the plugin's `bin` speaks of."""
    return frozenset(re.findall(r"--[a-z][a-z-]*", (ROOT / "bin" / name).read_text()))


def command_faults(command: Command) -> Iterator[str]:
    words = command.words
    if len(words) == 1 or words[1] in {"--help", "-h", "--version", "COMMAND"}:
        return
    known, rest = resolve(words)
    if known is None:
        yield f"no such command: {command.shown}"
        return
    if hasattr(known, "commands"):
        if command.whole and not {"--help", "-h"} & set(rest):
            yield f"{command.shown}: a group, not a command"
        return
    if "[OPTIONS]" in words or {"--help", "-h"} & set(words):
        return
    try:
        known.make_context(words[1], list(rest))
    except USAGE_ERROR as error:
        if command.whole or "Missing" not in error.format_message():
            yield f"{command.shown}: {error.format_message()}"


def flag_faults(text: str) -> Iterator[str]:
    """Check flags that stand alone in inline code."""
    for code in inline_codes(text):
        if code.startswith("--") and code.split()[0].partition("=")[0] not in all_flags():
            yield f"no command has the flag {code.split()[0]}"


def shell_faults(text: str) -> Iterator[str]:
    """Check programs, make targets, extras and scripts in blocks and inline code."""
    for block in blocks(text, *SHELL):
        for words in shell_lines(block.text):
            if words[0] not in PROGRAMS and not words[0].startswith(("scripts/", ".venv/bin/", "/")):
                yield f"unknown program: {words[0]}"
    for words in _typed(text):
        if words[0] == "make":
            yield from (f"no make target {word}" for word in words[1:] if "=" not in word and word not in _targets())
        if words[0].endswith("pip") and "[" in words[-1]:
            named = words[-1].partition("[")[2].rstrip("]").split(",")
            yield from (f"no extra {name}" for name in named if name not in _extras())
        if words[0] == "tuneloop-setup":
            flags = [word for word in words[1:] if word.startswith("-")]
            yield from (f"tuneloop-setup has no {flag}" for flag in flags if flag not in script_flags(words[0]))
        scripts = [word for word in words if word.startswith(("scripts/", "tests/"))]
        yield from (f"no script {word}" for word in scripts if not (ROOT / word).exists())


def _typed(text: str) -> Iterator[list[str]]:
    starts = ("make ", "pip ", "tuneloop-setup", "scripts/", "pytest ", ".venv/bin/")
    for piece in pieces(text):
        if piece.text.startswith(starts) if isinstance(piece, Inline) else piece.kind in ("", *SHELL):
            yield from shell_lines(piece.text)


@cache
def _targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@cache
def _extras() -> set[str]:
    return set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


def slash_faults(text: str) -> Iterator[str]:
    """Check slash commands, such as `/speckit-plan`, against the pack's commands and skills."""
    for piece in pieces(text):
        lines = [piece.text] if isinstance(piece, Inline) else piece.text.splitlines()
        if isinstance(piece, Block) and piece.kind == "markdown":
            lines = inline_codes(piece.text)
        for line in lines:
            found = re.match(r"(/[a-z][a-z0-9.:-]*)(\s|$)", line)
            if found and found[1] not in BUILT_IN | slash_commands():
                yield f"no slash command {found[1]}"


def name_faults(text: str) -> Iterator[str]:
    """Check bold names and those in backticks that end as names of the pack do: skills, agents, commands."""
    named = re.findall(r"\*\*([a-z]+(?:-[a-z]+)+)\*\*", text)
    named += [
        code for code in inline_codes(text) if re.fullmatch(r"[a-z][a-z-]+-(experiment|torchtune|inspect|task)", code)
    ]
    known = {name.lstrip("/") for name in slash_commands()} | set(cli().commands)
    known |= {path.stem for path in (ROOT / "agents").glob("*.md")}
    yield from (f"nothing is called {name}" for name in named if name not in known)


@cache
def slash_commands() -> set[str]:
    """Return what can be typed after a slash: commands, their dotted names, skills, and all of them as a plugin's."""
    own = {path.stem for path in (ROOT / "commands").glob("*.md")}
    own |= {path.stem for path in (ROOT / ".claude/commands").glob("*.md")}
    own |= {path.parent.name for path in ROOT.glob("skills/*/*/SKILL.md")}
    return {f"/{name}" for name in own} | {f"/tuneloop:{name}" for name in own}


def faults(text: str) -> list[str]:
    """Return what a document says to type and nobody can."""
    found = [fault for command in commands_in(text) for fault in command_faults(command)]
    return [*found, *flag_faults(text), *shell_faults(text), *slash_faults(text), *name_faults(text)]
