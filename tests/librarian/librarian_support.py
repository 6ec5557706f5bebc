"""A small pack, linking it, and the whole state of a folder."""

import json
from pathlib import Path
from typing import Any

from tuneloop.librarian import acts
from tuneloop.librarian.links import LinkPlan, Wish
from tuneloop.librarian.pack import Pack
from tuneloop.librarian.target import for_project

SKILLS = {  # name to category and what it requires
    "plan-it": ("experiment", "do-it"),
    "do-it": ("experiment", "look-at-it"),
    "look-at-it": ("experiment", ""),
    "clean-up": ("lifecycle", ""),
    "publish-it": ("sharing", "look-at-it"),
}
DEFAULT = {  # the places that are linked when nothing is named
    "skills/plan-it",
    "skills/do-it",
    "skills/look-at-it",
    "skills/clean-up",
    "commands/speckit-plan.md",
    "commands/speckit.plan.md",
    "commands/overview.md",
    "agents/reader.md",
}
HOOK = '"${CLAUDE_PLUGIN_ROOT}/hooks/launch" guard'


def make_pack(root: Path, version: str = "0.1.0") -> Path:
    """Make a pack of five skills in three categories, two commands, an agent and a hook."""
    write(root / ".claude-plugin/plugin.json", json.dumps({"name": "tuneloop", "version": version}))
    for name, (category, requires) in SKILLS.items():
        metadata = f'metadata:\n  requires: "{requires}"\n' if requires else ""
        head = f"---\nname: {name}\ndescription: What {name} is for.\n{metadata}---\n"
        write(root / "skills" / category / name / "SKILL.md", f"{head}\n# {name}\n")
    write(root / "skills/experiment/plan-it/scripts/ask.sh", "#!/bin/sh\necho ask\n").chmod(0o755)
    for name in ("speckit-plan", "overview"):
        write(root / f"commands/{name}.md", f"---\ndescription: What {name} does.\n---\n\nDo it with $ARGUMENTS.\n")
    write(root / "agents/reader.md", "---\nname: reader\ndescription: Reads.\ntools: Read\n---\n\nRead.\n")
    write(root / "hooks/launch", "#!/bin/sh\n").chmod(0o755)
    write(root / "lib/tuneloop/hooks/guard.py", "")
    hooks = {"PreToolUse": [{"matcher": "Bash", "hooks": [{"type": "command", "command": HOOK, "timeout": 10}]}]}
    write(root / "hooks/hooks.json", json.dumps({"description": "asks", "hooks": hooks}))
    return root


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def state(folder: Path) -> dict[str, tuple[int, str | bytes | None]]:
    """Return every path below, hidden ones too, with its mode and what it holds; links are not followed."""
    found: dict[str, tuple[int, str | bytes | None]] = {}
    for path in sorted(folder.rglob("*")):
        holds: str | bytes | None = None
        if path.is_symlink():
            holds = str(path.readlink())
        elif path.is_file():
            holds = path.read_bytes()
        found[path.relative_to(folder).as_posix()] = (path.lstat().st_mode, holds)
    return found


def linked(project: Path) -> set[str]:
    """Return the places below `.claude` at which something of the pack can be read."""
    base = project / ".claude"
    found = [*base.glob("skills/*/SKILL.md"), *base.glob("commands/*.md"), *base.glob("agents/*.md")]
    whole = [path.parent if path.name == "SKILL.md" else path for path in found if path.is_file()]
    return {path.relative_to(base).as_posix() for path in whole}


def wish(*words: str, **more: Any) -> Wish:
    return Wish(words, **more)


def link(pack: Pack, project: Path, *words: str, **more: Any) -> LinkPlan:
    return acts.link(pack, for_project(project, project), wish(*words, **more))


def unlink(project: Path, *words: str, pack: Pack | None = None) -> LinkPlan:
    return acts.unlink(for_project(project, project), list(words), pack)
