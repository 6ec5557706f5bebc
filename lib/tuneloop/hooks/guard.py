"""Before a shell command: reading commands pass, and those that submit, cancel or delete ask, with the last plan.

The reason holds what the last dry run of the same command said, as long as all it was made from is as it was then.
Whatever else a command does is none of this hook's business: it says nothing, and the client's own permissions decide.

It is a tripwire against haste, not a wall. It asks wherever a command of the tool cannot be read for certain; what it
cannot see is the tool under another name (a link, a copy, an alias from elsewhere, a script in a file) and a name that
a shell or another program puts together. The wall is what the tool itself wants to know: the id of the plan that was
shown, and the budget of the design.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tuneloop.documents import cache
from tuneloop.hooks.plain import only_reads
from tuneloop.hooks.shell import Call, mentions_an_act, names_the_tool, read_line
from tuneloop.hooks.words import ago, shown

_MOST_REASONS = 3
_MOST_FILES = 10  # that a plan was made from, as patterns
_NO_DRY_RUN = "no dry run of it is known; `--dry-run` shows what it would do"
_UNREADABLE = "this cannot be read for certain, and may submit, cancel or delete"
_LONGEST = 30_000  # characters; the worst of them took 0.3 s to read, and the launcher waits 5 s
_TOO_LONG = f"this is longer than {_LONGEST} characters and was not read; a script in a file can be looked at"
Said = Mapping[str, object]


def answer(event: Mapping[str, object]) -> Said | None:
    """Return what the client is told about a tool call, None where there is nothing to say."""
    tool = event.get("tool_input")
    command = tool.get("command") if isinstance(tool, dict) else None
    if not isinstance(command, str) or not names_the_tool(command):
        return None
    if len(command) > _LONGEST:
        return _decision("ask", _TOO_LONG)
    here = str(event.get("cwd") or ".")
    if only_reads(command, Path(here), Path(os.environ.get("CLAUDE_PROJECT_DIR") or here)):
        return _decision("allow", "it only reads")
    line = read_line(command)
    acts = [item for item in line.calls if item.kind in ("submitting", "cancelling", "deleting")]
    if acts:
        reasons = [_reason(item, [here, *item.folders]) for item in acts[:_MOST_REASONS]]
        more = f"; and {len(acts) - _MOST_REASONS} more" if len(acts) > _MOST_REASONS else ""
        return _decision("ask", "; ".join(reasons) + more)
    if line.in_doubt or (not line.certain and mentions_an_act(command)):
        return _decision("ask", _UNREADABLE)
    return None


def _decision(decision: str, reason: str) -> Said:
    said = {"permissionDecision": decision, "permissionDecisionReason": f"Tuneloop: {reason}"}
    return {"hookSpecificOutput": {"hookEventName": "PreToolUse", **said}}


def _reason(call: Call, here: Sequence[str]) -> str:
    words = call.arguments
    said = shown(f"{call.command} {words[0]}" if words else call.command)
    return f"{said}: {_estimate(call, here)}"


def _estimate(call: Call, here: Sequence[str]) -> str:
    """Return what the last dry run of the same command said, or why it says nothing about this one."""
    last = _remembered(call, here)
    if last is None:
        return _NO_DRY_RUN
    when = ago(time.time() - last.time)
    what = f"{shown(last.what)}; " + (f"plan {shown(last.plan)}, shown {when}" if last.plan else f"shown {when}")
    if last.outdated:
        return f"something has changed since its dry run {when}; `--dry-run` shows what it would do now"
    plan = call.option("--yes")
    if plan not in (None, last.plan):
        return f"plan {shown(plan)} is not the one shown last ({what})"
    rest = [os.path.normpath(word) for word in [*call.arguments[1:], *_replaced(call)]]
    return what if rest == last.rest else f"the dry run shown {when} was about something else"


def _replaced(call: Call) -> list[str]:
    """Return the runs that `--replace` names; of `export` it is a flag."""
    return [] if call.command == "export" else call.options("--replace")


class _Shown:
    """What was shown, as `loop/shown.py` remembered it. Raises whatever a broken value leads to."""

    def __init__(self, value: Mapping[str, Any], subject: Path) -> None:
        self.what, base = str(value["what"]), Path(value["base"])
        if base not in (subject, *subject.parents):
            raise ValueError  # nothing of ours
        self.plan = None if value["plan"] is None else str(value["plan"])
        self.time = float(value["time"])
        self.rest = [str(word) for word in value["rest"]]
        self.outdated = _fingerprint(base, [str(name) for name in value["files"]]) != value["fingerprint"]


def _fingerprint(base: Path, files: Sequence[str]) -> str | None:
    if len(files) > _MOST_FILES or any("**" in name or ".." in name for name in files):
        raise ValueError  # nothing of ours: it could be read for ever
    try:
        return cache.fingerprint(base, files)
    except OSError:
        return None


def _remembered(call: Call, here: Sequence[str]) -> _Shown | None:
    """Return what the call was last shown to do, None where nothing that can be read is remembered."""
    try:
        subject = Path(*(Path(part).expanduser() for part in [*here, call.arguments[0]])).resolve()
        return _Shown(json.loads(cache.plan_file(subject, call.command).read_bytes()), subject)
    except Exception:  # noqa: BLE001 (a fault here would be silence where a question is due)
        return None
