"""A small pack, the whole state of a folder, and `tuneloop` run in one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tuneloop.librarian.links import Wish

SKILLS = {  # name to category and what it requires
    "plan-it": ("experiment", "do-it"),
    "do-it": ("experiment", "look-at-it"),
    "look-at-it": ("experiment", ""),
    "clean-up": ("lifecycle", ""),
    "publish-it": ("sharing", "look-at-it"),
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


def tuneloop(folder: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command in `folder`; a traceback is a bug whatever the test is about."""
    done = subprocess.run(
        [sys.executable, "-m", "tuneloop", *map(str, words)],
        cwd=folder,
        env=dict(os.environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return done
