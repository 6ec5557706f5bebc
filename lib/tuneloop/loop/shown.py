"""What each command was last shown to do, remembered outside of its experiment for the hook that asks for consent."""

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

from tuneloop.documents.cache import fingerprint, plan_file
from tuneloop.documents.errors import TuneloopError
from tuneloop.documents.files import write_json
from tuneloop.documents.logs import duration
from tuneloop.experiment.layout import Layout
from tuneloop.loop.run import Plan
from tuneloop.workers.wording import counted


def remember_plan(layout: Layout, command: str, what: str, plan: str | None = None, runs: Sequence[str] = ()) -> None:
    """Remember what `command` was shown to do with an experiment, by its plan's id where it has one."""
    remember(layout.folder, command, what, plan, runs, layout)


def remember(
    subject: Path,
    command: str,
    what: str,
    plan: str | None = None,
    rest: Sequence[str] = (),
    layout: Layout | None = None,
) -> None:
    """Remember what `command` was shown to do with a subject: what is typed first, as a path. Never fails its caller.

    `rest` are the other things that were named, and `what` is told as it is. It counts as long as nothing of what it
    was made from has changed: the configuration, and what lies in `layout`.
    """
    with contextlib.suppress(TuneloopError, OSError, ValueError):
        made_from = [layout.summary, layout.jobs / "*.json", layout.journal] if layout else []
        files = [layout.relative(path) for path in made_from] if layout else []
        base = layout.folder if layout else subject.resolve().parent
        value = {
            "schema": "tuneloop.shown/2",
            "base": str(base),
            "command": command,
            "plan": plan,
            "rest": [os.path.normpath(word) for word in rest],
            "what": what,
            "time": time.time(),
            "files": files,
            "fingerprint": fingerprint(base, files),
        }
        write_json(plan_file(subject, command), value, sync=False)


def estimate(plan: Plan, cluster: str) -> str:
    """Return a plan in a few words: `8 jobs of 1 CPU at most, about 18 min of 2 h on local`."""
    if not plan.jobs:
        return "nothing to hand over"
    gpus = max(job.shape.gpus for job in plan.jobs)
    hardware = counted(gpus, "GPU") if gpus else counted(max(job.shape.cpus for job in plan.jobs), "CPU")
    time_and_budget = duration(plan.hours * 3600)
    if plan.budget_hours is not None:
        time_and_budget += f" of {plan.budget_hours:g} h"
    money = "".join(f", {cost.amount:.2f} {cost.currency}".rstrip() for cost in plan.costs)
    over = ", over the budget" if plan.over_budget else ""
    return f"{counted(len(plan.jobs), 'job')} of {hardware} at most, about {time_and_budget} on {cluster}{money}{over}"
