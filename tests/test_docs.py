"""Documentation is tested: commands, flags, links, the tree and the skills against the real CLI and the disk.

Each check returns the faults it finds and counts what it read; one that read nothing, or lets the known-bad
documents below pass, fails.
"""

import fnmatch
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from packaging.requirements import Requirement

from tuneloop.cli.main import app
from tuneloop.documents.frontmatter import StrictYAMLHandler

ROOT = Path(__file__).resolve().parent.parent
SKILLS = sorted((ROOT / "skills").glob("*/*/SKILL.md"))
PROSE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
MOST_DESCRIBED = 3000  # characters; clients share some 8,000 between the descriptions of all skills
METADATA = {"version", "category", "requires", "tags", "changelog"}
NOT_HERE = ("runs/", "epoch_", "EXP/")  # made by the demo, or to be filled in
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
_USAGE_ERROR: Any = typer.BadParameter.__mro__[1]  # as in cli/main.py: newer typers carry a click of their own

BAD_TEXT = """\
Type `tuneloop desing-experiment x` or `tuneloop wait EXP --timeuot 3`, perhaps with `--frobnicate`.
See [this](nowhere/at-all.md) and [that](#no-such-heading).

```sh
tuneloop cancel   # without an experiment
tuneloop check-experiment runs/x --only everything
tuneloop analyze-experiment examples/no-such-experiment
make no-such-target
pip install -e '.[no-such-extra]'
```
"""
BAD_TREE = """\
```
lib/tuneloop/          this description has far too many words to be read at once
  no-such-folder/      nothing
```
"""
BAD_SKILL = f"""\
---
name: other-name
description: "{"long " * 80}"
allowed-tools: Bash
metadata:
  version: 0.1
  category: "experiment"
  requires: "no-such-skill>=1"
---

# Too short
"""


@dataclass(frozen=True)
class Command:
    words: list[str]
    whole: bool  # from a block: to be typed as it is; inline code may leave arguments out


# Reading


def commands_in(text: str) -> Iterator[Command]:
    """Yield every `tuneloop …` of the fenced blocks and the inline code."""
    for _, block in _FENCE.findall(text):
        for line in shell_lines(block):
            if line[0] == "tuneloop":
                yield Command(line, whole="[OPTIONS]" not in line)
    for code in inline_codes(text):
        if code.split()[0] == "tuneloop" and "{" not in code and "<" not in code:
            yield Command(shlex.split(code), whole=False)


def shell_lines(block: str) -> Iterator[list[str]]:
    for line in block.replace("\\\n", " ").splitlines():
        if line.startswith(("tuneloop ", "make ", "pip ", "source ", ".venv/")):
            yield shlex.split(line, comments=True)


def inline_codes(text: str) -> list[str]:
    return [code.strip() for code in _INLINE.findall(_FENCE.sub("", text)) if code.strip()]


@cache
def cli() -> Any:
    return typer.main.get_command(app)


@cache
def all_flags() -> set[str]:
    flags = {"--help", "-h", "--version"}
    for command in cli().commands.values():
        for item in command.params:
            flags |= {name for name in [*item.opts, *item.secondary_opts] if name.startswith("-")}
    return flags


# Checking


def command_faults(command: Command) -> Iterator[str]:
    words, shown = command.words, shlex.join(command.words)
    if len(words) == 1 or words[1] in {"--help", "-h", "--version", "COMMAND"}:
        return
    known = cli().commands.get(words[1])
    if known is None:
        yield f"no such command: {shown}"
        return
    if "[OPTIONS]" in words or {"--help", "-h"} & set(words):
        return
    try:
        known.make_context(words[1], list(words[2:]))
    except _USAGE_ERROR as error:
        if command.whole or "Missing" not in error.format_message():
            yield f"{shown}: {error.format_message()}"
    for word in words[2:]:
        place = word.partition("@")[0]
        if "/" in place and " " not in place and not place.startswith(NOT_HERE) and not (ROOT / place).exists():
            yield f"no such path: {place} in {shown}"


def flag_faults(text: str) -> Iterator[str]:
    """Check flags that stand alone in inline code."""
    for code in inline_codes(text):
        if code.startswith("--") and code.split()[0] not in all_flags():
            yield f"no command has the flag {code.split()[0]}"


def shell_faults(text: str) -> Iterator[str]:
    """Check make targets, extras and scripts in blocks and inline code."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    codes = [line for _, block in _FENCE.findall(text) for line in shell_lines(block)]
    codes += [code.split() for code in inline_codes(text) if code.startswith(("make ", "pip ", "scripts/"))]
    for words in codes:
        if words[0] == "make":
            yield from (f"no make target {word}" for word in words[1:] if "=" not in word and word not in targets)
        if words[0] == "pip" and "[" in words[-1]:
            named = words[-1].strip("'").partition("[")[2].rstrip("]").split(",")
            yield from (f"no extra {name}" for name in named if name not in extras)
        scripts = [word for word in words if word.startswith("scripts/")]
        yield from (f"no script {word}" for word in scripts if not (ROOT / word).is_file())


def link_faults(text: str, source: Path) -> Iterator[str]:
    for link in _LINK.findall(text):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (source.parent / path).resolve() if path else source
        if not target.exists():
            yield f"no such path: {link}"
        elif anchor and anchor not in anchors(target.read_text() if path else text):
            yield f"no such heading: {link}"


def anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", _FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def text_faults(text: str, source: Path) -> list[str]:
    found = [fault for command in commands_in(text) for fault in command_faults(command)]
    return [*found, *flag_faults(text), *shell_faults(text), *link_faults(text, source)]


def tree_of(text: str) -> dict[str, str]:
    """Return the folders of the README's tree with their descriptions."""
    block = next((block for _, block in _FENCE.findall(text) if "lib/tuneloop/  " in block), "")
    found, parent = {}, ""
    for line in block.splitlines():
        name, _, words = line.strip().partition(" ")
        if not line.startswith(" "):
            parent = name
        found[name if parent == name else parent + name] = words.strip()
    return found


def tree_faults(tree: dict[str, str]) -> Iterator[str]:
    for name, words in tree.items():
        if not (ROOT / name).is_dir():
            yield f"no such folder: {name}"
        if not 1 <= len(words.split()) <= 8:
            yield f"{name}: {len(words.split())} words"
    yield from (f"the tree lacks {name}" for name in folders_on_disk() if name not in tree)


def folders_on_disk() -> list[str]:
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text().split()]
    top = [path.name for path in ROOT.iterdir() if path.is_dir() and path.name not in {".git", "lib"}]
    inner = [path.name for path in (ROOT / "lib/tuneloop").iterdir() if path.is_dir()]

    def kept(name: str) -> bool:
        return not any(fnmatch.fnmatch(name, pattern) for pattern in ignored)

    names = [f"{name}/" for name in top if kept(name)]
    return sorted([*names, "lib/tuneloop/", *(f"lib/tuneloop/{name}/" for name in inner if kept(name))])


def skill_faults(text: str, folder: Path) -> Iterator[str]:
    head = yaml.safe_load(StrictYAMLHandler(folder / "SKILL.md").split(text)[0])
    if set(head) != {"name", "description", "license", "metadata"}:
        yield f"keys: {sorted(head)}"
    if head["name"] != folder.name:
        yield f"name {head['name']} in the folder {folder.name}"
    if not 60 <= len(head["description"]) <= 300:
        yield f"description of {len(head['description'])} characters"
    if not 30 <= len(text.splitlines()) <= 120:
        yield f"{len(text.splitlines())} lines"
    metadata = head["metadata"]
    if set(metadata) != METADATA or not all(isinstance(v, str) for v in metadata.values()):
        yield f"metadata: {metadata}"
    if metadata.get("category") != folder.parent.name:
        yield f"category {metadata.get('category')} in {folder.parent.name}"
    yield from (f"requires unknown {name}" for name in required(metadata) if name not in skill_names())
    link = ROOT / ".claude/skills" / folder.name
    if not link.is_symlink() or link.resolve() != folder.resolve() or link.readlink().is_absolute():
        yield "not linked from .claude/skills"


def required(metadata: dict[str, Any]) -> list[str]:
    return [Requirement(item).name for item in metadata.get("requires", "").split(";") if item.strip()]


def skill_names() -> set[str]:
    return {path.parent.name for path in SKILLS}


def metadata_of(path: Path) -> dict[str, Any]:
    head: dict[str, Any] = yaml.safe_load(StrictYAMLHandler(path).split(path.read_text())[0])
    return head


# Tests


@pytest.mark.parametrize("path", [*PROSE, *SKILLS], ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_name_real_things(path: Path) -> None:
    assert text_faults(path.read_text(), path) == []


def test_enough_was_read() -> None:
    texts = [path.read_text() for path in [*PROSE, *SKILLS]]
    assert len(SKILLS) == 9
    assert sum(len(list(commands_in(text))) for text in texts) > 80
    assert sum(len(_LINK.findall(text)) for text in texts) > 40
    assert len(list(commands_in((ROOT / "README.md").read_text()))) > 10


def test_bad_text_is_rejected() -> None:
    faults = "\n".join(text_faults(BAD_TEXT, ROOT / "README.md"))
    for word in (
        "desing-experiment",
        "--timeuot",
        "--frobnicate",
        "nowhere/at-all.md",
        "#no-such-heading",
        "tuneloop cancel: Missing",
        "everything",
        "examples/no-such-experiment",
        "no-such-target",
        "no-such-extra",
    ):
        assert word in faults


def test_readme_shows_the_tree() -> None:
    tree = tree_of((ROOT / "README.md").read_text())
    assert len(tree) > 12
    assert list(tree_faults(tree)) == []


def test_bad_tree_is_rejected() -> None:
    faults = list(tree_faults(tree_of(BAD_TREE)))
    assert "lib/tuneloop/: 12 words" in faults
    assert "no such folder: lib/tuneloop/no-such-folder/" in faults
    assert "the tree lacks skills/" in faults


def test_readme_begins_with_both_commands() -> None:
    first_screen = "\n".join((ROOT / "README.md").read_text().splitlines()[:20])
    assert "make demo" in first_screen
    assert "make test" in first_screen
    assert "docs/images/report.png" in first_screen


@pytest.mark.parametrize("path", SKILLS, ids=lambda path: path.parent.name)
def test_skills_keep_their_form(path: Path) -> None:
    assert list(skill_faults(path.read_text(), path.parent)) == []


def test_bad_skill_is_rejected() -> None:
    faults = "\n".join(skill_faults(BAD_SKILL, ROOT / "skills/experiment/run-inspect-not"))
    for word in ("keys:", "other-name", "description of", "lines", "metadata:", "no-such-skill", "not linked"):
        assert word in faults


def test_descriptions_fit_together() -> None:
    assert 1000 < sum(len(metadata_of(path)["description"]) for path in SKILLS) <= MOST_DESCRIBED


def test_every_skill_is_a_command() -> None:
    assert skill_names() <= set(cli().commands)


def test_skills_require_without_a_circle() -> None:
    needs = {path.parent.name: set(required(metadata_of(path)["metadata"])) for path in SKILLS}
    while needs:
        free = {name for name, wanted in needs.items() if not wanted & set(needs)}
        assert free, f"a circle among {sorted(needs)}"
        needs = {name: wanted for name, wanted in needs.items() if name not in free}


def test_links_to_skills_all_resolve() -> None:
    links = list((ROOT / ".claude/skills").iterdir())
    assert {link.name for link in links} == skill_names()
    assert all(link.is_symlink() and (link / "SKILL.md").is_file() for link in links)


def test_settings_allow_reading_only() -> None:
    settings = json.loads((ROOT / ".claude/settings.json").read_text())
    assert list(settings) == ["permissions"]
    assert list(settings["permissions"]) == ["allow"]
    reading = r"Bash\((?:\.venv/bin/)?tuneloop (?:--help|--version|(?:status|wait|explain|config|logs|sample|doctor)(?::\*)?)\)"
    for rule in settings["permissions"]["allow"]:
        assert re.fullmatch(reading, rule), rule


def test_command_reference_is_current() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/make-docs", "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_help_examples_can_be_typed() -> None:
    examples = 0
    for name, command in cli().commands.items():
        block = (command.help or "").partition("Example:\n")[2].replace("\n  ", "\n").removeprefix("  ")
        for words in shell_lines(block):
            examples += 1
            assert list(command_faults(Command(words, whole=True))) == [], name
    assert examples >= len(cli().commands)


def test_hints_name_real_commands() -> None:
    """A hint says what to type next, so its command and its flags must exist."""
    found = []
    sources = [*(ROOT / "lib/tuneloop").rglob("*.py"), *(ROOT / "lib/tuneloop").rglob("*.j2")]
    for path in sources:
        for code in re.findall(r"`(tuneloop [a-z][^`\n]*)`", path.read_text()):
            name, flags = code.split()[1], re.findall(r"--[a-z-]+", code)
            if "{" in name:
                continue  # made from a worker's name
            known = cli().commands.get(name)
            names = {"--help"} | {flag for item in (known.params if known else []) for flag in item.opts}
            found.append((path, code, known is not None and set(flags) <= names))
    assert len(found) > 10
    assert [f"{path.relative_to(ROOT)}: {code}" for path, code, right in found if not right] == []
