"""What is wrong with the links of a folder, each fault with the line that mends it; and a plan in words."""

import shlex
from collections import Counter
from collections.abc import Iterator

from tuneloop.documents.errors import Problem
from tuneloop.documents.shell import typed
from tuneloop.librarian.links import Act, LinkPlan, Step
from tuneloop.librarian.neighbours import hooks_off, warnings

_FAULTS: dict[Act, str] = {  # in this order, those first that one line mends
    "make": "missing",
    "replace": "not the pack's as it is now",
    "remove": "to be taken away",
    "leave": "left alone",
}


def faults(plan: LinkPlan) -> Iterator[Problem]:
    """Yield what `link` would mend, what only a person can, and what hides a skill or lists it twice.

    Places with one reason are one fault.
    """
    mend = f"`{mending_line(plan)}`"
    if not plan.steps and plan.before is None:
        yield Problem(f"nothing is linked in {plan.target.base}", hint=mend)
    if plan.unrecorded:
        yield Problem(f"{plan.target.manifest}: gone, though links are there that nothing else tells of", hint=mend)
    if plan.settings is not None:
        what = "the pack has moved or changed since its hooks and permissions were merged"
        yield Problem(f"{plan.settings.path}: {what}", hint=mend)
    if plan.before and plan.after and plan.before.version != plan.after.version:
        yield Problem(f"linked from version {plan.before.version}, the pack is {plan.after.version}", hint=mend)
    for act, what in _FAULTS.items():
        steps = [step for step in plan.steps if step.act == act]
        for why in dict.fromkeys(step.why for step in steps):
            found = [step for step in steps if step.why == why]
            where = found[0].place if len(found) == 1 else counted(found)
            hint = _what_a_person_does(plan, found) if act == "leave" else mend
            yield Problem(f"{where}: {what}, {why}", hint=hint)
    yield from _neighbours(plan)


def _what_a_person_does(plan: LinkPlan, left: list[Step]) -> str:
    """Return the hint for what `link` leaves alone; in the pack's own checkout git has what belongs there."""
    if not plan.target.own:
        return f"move away what is there, then `{mending_line(plan)}`"
    places = [step.place if len(left) == 1 else step.place.partition("/")[0] for step in left]
    paths = " ".join(f".claude/{place}" for place in dict.fromkeys(places))
    if left[0].item is None:
        return f"`git rm {' '.join(f'.claude/{step.place}' for step in left)}`"
    return f"`git checkout -- {paths}` brings back what was committed"


def plan_warnings(plan: LinkPlan) -> Iterator[str]:
    """Yield what a person should know of others in the same folders."""
    yield from plan.said
    yield from (f"{item.message}; {item.hint}" for item in _neighbours(plan))


def _neighbours(plan: LinkPlan) -> Iterator[Problem]:
    yield from warnings(plan.target, [step.place for step in plan.steps if step.act in ("keep", "make", "replace")])
    off = hooks_off(plan.target) if plan.after and plan.after.settings else None
    if off is not None:
        message = f"{off}: `disableAllHooks` is on, so nothing asks before it spends"
        yield Problem(message, hint="take it out, or know that the plan's id and the budget alone hold")


def mending_line(plan: LinkPlan) -> str:
    """Return what to type to mend this; one skill's name is enough, for whatever is linked is mended with it."""
    steps = [step for step in plan.steps if step.item and step.place.startswith("skills/")]
    steps.sort(key=lambda step: ["make", "replace", "keep", "leave"].index(step.act))
    names = [step.place.partition("/")[2] for step in steps]
    words = ["tuneloop", "skills", "link", *([] if plan.target.own else names[:1])]
    project = plan.target.project
    return f"{shlex.join(words)} --user" if project is None else f"{shlex.join(words)} --project {typed(project)}"


def counted(steps: list[Step]) -> str:
    """Return how many skills, commands and agents the steps are about, such as `9 skills, 1 agent`."""
    kinds = Counter(step.place.partition("/")[0] for step in steps)
    return ", ".join(f"{count} {kind if count != 1 else kind.removesuffix('s')}" for kind, count in kinds.items())
