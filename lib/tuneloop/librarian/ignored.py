"""What of the links git would commit, though it leads nowhere on another machine."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tuneloop.librarian.links import LinkPlan
from tuneloop.librarian.manifest import Entry
from tuneloop.librarian.target import MANIFEST


def bound_here(plan: LinkPlan) -> list[str]:
    """Return what leads to the pack's place on this machine and is not kept out of git, below the project's folder.

    Nothing outside a git repository, and nothing where git itself is not there.
    """
    if plan.target.project is None or plan.after is None:
        return []
    stand = [step for step in plan.steps if step.act in ("make", "replace", "keep")]
    links = [step.place for step in stand if step.entry and _leads_away(step.entry)]
    generated = [step.place for step in stand if links and step.item and step.item.text is not None]
    base = plan.target.base.name
    return _not_ignored(plan.target.project, [f"{base}/{name}" for name in (MANIFEST, *links, *generated)])


def _leads_away(entry: Entry) -> bool:
    return entry.kind == "link" and Path(entry.holds).is_absolute()


def _not_ignored(project: Path, places: Sequence[str]) -> list[str]:
    argv = ["git", "-C", str(project), "check-ignore", "-z", "--stdin"]
    try:
        done = subprocess.run(argv, input="\0".join(places), capture_output=True, text=True, check=False)
    except OSError:
        return []
    if done.returncode not in (0, 1):  # 1: none is ignored; others: no repository, or one that git will not look at
        return []
    ignored = done.stdout.split("\0")
    return [place for place in places if place not in ignored]
