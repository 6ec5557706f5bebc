"""What the command line says about itself: the reference, the examples of `--help`, the hints of errors."""

import re
import subprocess
import sys

from docs_commands import command_faults, resolve
from docs_reading import ROOT, Command, shell_lines

from command_line import cli, commands


def test_command_reference_is_current() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/make-docs", "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_help_examples_can_be_typed() -> None:
    examples = 0
    for words, command in commands().items():
        block = (command.help or "").partition("Example:\n")[2].replace("\n  ", "\n").removeprefix("  ")
        for line in shell_lines(block):
            if line[0] == "tuneloop":
                examples += 1
                assert list(command_faults(Command(line, whole=True))) == [], words
    assert examples >= len(commands())


def test_hints_name_real_commands() -> None:
    """A hint says what to type next, so its command and its flags must exist."""
    found = []
    sources = [*(ROOT / "lib/tuneloop").rglob("*.py"), *(ROOT / "lib/tuneloop").rglob("*.j2")]
    for path in sources:
        for code in re.findall(r"`(tuneloop [a-z][^`\n]*)`", path.read_text()):
            words, flags = code.split(), re.findall(r"--[a-z-]+", code)
            if "{" in words[1]:
                continue  # made from a worker's name
            known, _ = resolve(words)
            names = {"--help"} | {flag for item in (known.params if known else []) for flag in item.opts}
            found.append((path, code, known is not None and set(flags) <= names))
    assert len(found) > 10
    assert [f"{path.relative_to(ROOT)}: {code}" for path, code, right in found if not right] == []


def test_every_skill_is_a_command() -> None:
    skills = {path.parent.name for path in ROOT.glob("skills/*/*/SKILL.md")}
    assert len(skills) >= 9
    assert skills <= set(cli().commands)
