"""Hooks as the client starts them: the command of a settings line, an event on stdin, a project of its own."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Answer(NamedTuple):
    code: int
    said: str
    complained: str

    @property
    def output(self) -> Mapping[str, Any]:
        """What the client reads of it; nothing where the hook said nothing."""
        return json.loads(self.said)["hookSpecificOutput"] if self.said else {}

    @property
    def decision(self) -> str | None:
        return self.output.get("permissionDecision")

    @property
    def reason(self) -> str:
        return str(self.output.get("permissionDecisionReason", ""))


def shell_event(command: str, cwd: Path) -> str:
    """Return the event before a shell command, as far as a hook may rely on it."""
    event = {
        "session_id": "0",
        "cwd": str(cwd),
        "hook_event_name": "PreToolUse",
        "tool_name": "Bash",
        "tool_input": {"command": command, "description": "tuneloop"},
    }
    return json.dumps(event)


def call(line: str, event: str, project: Path, *, cwd: Path | None = None, **environment: str) -> Answer:
    """Run a hook's settings line as the client does, with `sh -c`; in `cwd` if the session's shell went there."""
    done = subprocess.run(
        ["sh", "-c", line],
        input=event,
        cwd=cwd or project,
        env=os.environ | {"CLAUDE_PROJECT_DIR": str(project)} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def settings_line(event: str, root: Path = ROOT) -> str:
    """Return the one command that the pack's hooks file holds for an event, for a pack in `root`."""
    (group,) = json.loads((ROOT / "hooks" / "hooks.json").read_text())["hooks"][event]
    (hook,) = group["hooks"]
    return str(hook["command"]).replace("${CLAUDE_PLUGIN_ROOT}", str(root))


def guard(command: str, project: Path, **environment: str) -> Answer:
    return call(settings_line("PreToolUse"), shell_event(command, project), project, **environment)


def make_own_checkout(folder: Path, manifest: str | None = None) -> None:
    """Turn a folder into the pack's own checkout, as hooks see it, or into a decoy with another manifest."""
    shutil.copytree(ROOT / ".claude-plugin", folder / ".claude-plugin")
    if manifest is not None:
        (folder / ".claude-plugin" / "plugin.json").write_text(manifest)
    copied_pack(folder)


def copied_pack(folder: Path) -> Path:
    """Return a pack of what hooks need, for a test to break."""
    shutil.copytree(ROOT / "hooks", folder / "hooks")
    for name in ("hooks", "documents"):
        shutil.copytree(
            ROOT / "lib" / "tuneloop" / name,
            folder / "lib" / "tuneloop" / name,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    shutil.copy(ROOT / "lib" / "tuneloop" / "__init__.py", folder / "lib" / "tuneloop")
    return folder
