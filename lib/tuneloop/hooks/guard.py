"""Before a shell command: reading commands pass, and those that submit, cancel or delete ask, with the last plan.

The reason holds what the last dry run said, as long as the experiment is still as it was then. Whatever else a
command does is none of this hook's business: it says nothing, and the client's own permissions decide.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tuneloop.documents import cache
from tuneloop.hooks.shell import Call, mentions_an_act, plain_call, read_line
from tuneloop.hooks.words import ago, shown

_MOST_REASONS = 3
_NO_DRY_RUN = "no dry run of it is known; `--dry-run` shows what it would do"
_UNREADABLE = "this cannot be read for certain, and holds a word that submits, cancels or deletes"
Said = Mapping[str, object]


def answer(event: Mapping[str, object]) -> Said | None:
    """Return what the client is told about a tool call, None where there is nothing to say."""
    tool = event.get("tool_input")
    command = tool.get("command") if isinstance(tool, dict) else None
    if not isinstance(command, str) or "tuneloop" not in command:
        return None
    call = plain_call(command)
    if call is not None and call.kind == "reading":
        return _decision("allow", "it only reads")
    line = read_line(command)
    here = Path(str(event.get("cwd") or "."), *(Path(folder).expanduser() for folder in line.folders))
    reasons = [_reason(item, here) for item in line.calls if item.kind in ("submitting", "cancelling", "deleting")]
    if reasons:
        more = f"; and {len(reasons) - _MOST_REASONS} more" if len(reasons) > _MOST_REASONS else ""
        return _decision("ask", "; ".join(reasons[:_MOST_REASONS]) + more)
    if not line.certain and mentions_an_act(command):
        return _decision("ask", _UNREADABLE)
    return None


def _decision(decision: str, reason: str) -> Said:
    said = {"permissionDecision": decision, "permissionDecisionReason": f"Tuneloop: {reason}"}
    return {"hookSpecificOutput": {"hookEventName": "PreToolUse", **said}}


def _reason(call: Call, here: Path) -> str:
    words = call.arguments
    said = shown(f"{call.command} {words[0]}" if words else call.command)
    return f"{said}: {_estimate(call, here)}"


def _estimate(call: Call, here: Path) -> str:
    """Return what the last dry run of the same command said, or why it says nothing about this one."""
    last = _remembered(here / Path(call.arguments[0]).expanduser()) if call.arguments else None
    if last is None or last.command != call.command:
        return _NO_DRY_RUN
    when = ago(time.time() - last.time)
    what = f"{shown(last.what)}; " + (f"plan {shown(last.plan)}, shown {when}" if last.plan else f"shown {when}")
    if last.outdated:
        return f"the experiment has changed since its dry run {when}; `--dry-run` shows what it would do now"
    plan = call.option("--yes")
    if plan not in (None, last.plan):
        return f"plan {shown(plan)} is not the one shown last ({what})"
    return what if call.arguments[1:] == last.runs else f"the dry run shown {when} was about other runs"


class _Shown:
    """A plan that was shown, as `loop/shown.py` remembered it. Raises KeyError, TypeError or ValueError for another."""

    def __init__(self, value: Mapping[str, Any]) -> None:
        self.command, self.what = str(value["command"]), str(value["what"])
        self.plan = None if value["plan"] is None else str(value["plan"])
        self.time = float(value["time"])
        self.runs = [str(run) for run in value["runs"]]
        self.outdated = _fingerprint(Path(value["experiment"]), value["files"]) != value["fingerprint"]


def _fingerprint(experiment: Path, files: Iterable[str]) -> str | None:
    try:
        return cache.fingerprint(experiment, files)
    except OSError:
        return None


def _remembered(experiment: Path) -> _Shown | None:
    """Return the last plan shown for an experiment, None where nothing that can be read is remembered."""
    try:
        return _Shown(json.loads(cache.plan_file(experiment).read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return None
