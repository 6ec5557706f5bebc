"""`skills link`, `unlink`, `status`, `doctor`: the pack in the folders that Claude Code reads."""

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuneloop.cli.nouns import noun
from tuneloop.cli.output import DryRun, Json, note, say, table, write_json
from tuneloop.documents.errors import InputError, MissingError, Problem

if TYPE_CHECKING:
    from tuneloop.librarian.links import LinkPlan
    from tuneloop.librarian.pack import Pack
    from tuneloop.librarian.settings import Addition
    from tuneloop.librarian.target import Target

Project = Annotated[
    Path | None, typer.Option("--project", metavar="DIR", help="The project; the one of this folder without it.")
]
User = Annotated[bool, typer.Option("--user", help="Your own folder of Claude Code, for all projects.")]
Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME|CATEGORY]...", help="Skills or categories; all that belongs together without any."),
]

group = noun("skills", "Make the skills, slash commands and agents active in a project, and take them away again.")


def register(app: typer.Typer) -> None:
    app.add_typer(group)


@group.command("link")
def link_pack(
    words: Words = None,
    project: Project = None,
    user: User = False,
    with_settings: Annotated[
        bool, typer.Option("--with-settings", help="Merge the hooks and permissions into the project's settings, too.")
    ] = False,
    as_copy: Annotated[bool, typer.Option("--copy", help="Copy instead of linking.")] = False,
    dry_run: DryRun = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Say nothing when all is linked already, as for a hook.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Link skills and all they require, and repair what was linked. Safe to repeat; overwrites nothing of yours.

    Slash commands and agents come along unless only single skills are named. At the start of every session it is done
    by a `SessionStart` hook in Claude Code's settings; what that links is there from the next session on:

    \b
      {"hooks": [{"type": "command", "command": "tuneloop skills link --quiet"}]}

    \b
    Example:
      tuneloop skills link --dry-run
    """
    from tuneloop.librarian import acts
    from tuneloop.librarian.links import Wish

    target = _target(project, user=user)
    pack = _pack(target)
    _refuse(target, with_settings=with_settings, as_copy=as_copy)
    wish = Wish(words or [], as_copy, _additions(target, pack), merge=with_settings)
    new_folder = not (target.base / "skills").exists()
    plan = acts.link(pack, target, wish, act=not dry_run)
    if as_json:
        write_json(_data(plan, written=not dry_run))
        return
    if quiet and not plan.to_do:
        return
    _show(plan, dry_run=dry_run)
    if plan.before is None and not dry_run and not quiet:
        _say_what_to_ignore(plan)
    if new_folder and not dry_run and plan.changes:
        say("next: start Claude Code there; in a session that is open already, `/reload-skills`")


@group.command("unlink")
def unlink_pack(
    words: Words = None,
    project: Project = None,
    user: User = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Remove what `link` made, and nothing else: without names all of it, settings included.

    \b
    Example:
      tuneloop skills unlink --dry-run
    """
    from tuneloop.librarian import acts

    target = _target(project, user=user)
    if target.own:
        hint = "`git status` shows what is not as it was committed"
        raise InputError(Problem("this is the pack's own checkout: its links are a part of it", target.base, hint=hint))
    plan = acts.unlink(target, words or [], _pack_if_any(), act=not dry_run)
    if as_json:
        write_json(_data(plan, written=not dry_run))
        return
    if plan.before is None:
        say(f"nothing is linked in {target.base}")
        _say_what_is_not_written_down(target)
        return
    _show(plan, dry_run=dry_run)


@group.command("status")
def show_status(project: Project = None, user: User = False, as_json: Json = False) -> None:
    """Show what is linked, where it comes from, and what is broken, changed or hidden. Changes nothing.

    \b
    Example:
      tuneloop skills status
    """
    from tuneloop.librarian.health import faults, plan_warnings

    plan = _look(_target(project, user=user))
    if as_json:
        write_json(_data(plan, written=False) | {"faults": [item.as_dict() for item in faults(plan)]})
        return
    say(f"pack      {plan.source}")
    say(f"folder    {plan.target.base}")
    say(f"settings  {'merged' if plan.after and plan.after.settings else 'not merged'}")
    rows = [[step.place, "ok" if step.act == "keep" else step.act, step.why] for step in plan.steps]
    say(f"\n{table(['place', 'state', 'why'], rows)}" if rows else "\nnothing is linked")
    for warning in plan_warnings(plan):
        note(f"note: {warning}")


@group.command("doctor")
def examine_links(project: Project = None, user: User = False, as_json: Json = False) -> None:
    """Tell what is wrong with the links, each with what mends it: exit 0 all well, 1 something is wrong.

    \b
    Example:
      tuneloop skills doctor
    """
    from tuneloop.librarian.health import faults

    found = list(faults(_look(_target(project, user=user))))
    code = 1 if found else 0
    if as_json:
        told = [item.as_dict() for item in found]
        write_json({"schema": "tuneloop.skills-doctor/1", "ok": not found, "faults": told}, whole=True)
        raise typer.Exit(code)
    for fault, after in itertools.zip_longest(found, found[1:]):
        say(f"fault  {fault.message}")
        if after is None or after.hint != fault.hint:  # one line mends several
            say(f"       {fault.hint}")
    say(f"\n{len(found)} fault{'' if len(found) == 1 else 's'}" if found else "all is well")
    raise typer.Exit(code)


def _target(project: Path | None, *, user: bool) -> "Target":
    from tuneloop.librarian.target import for_project, for_user

    if user and project is not None:
        raise InputError("`--user` and `--project` name two places", hint="give one of them")
    return for_user() if user else for_project(Path.cwd(), project)


def _pack(target: "Target") -> "Pack":
    """Return the pack: in a checkout of it that one, else the one that came with the library."""
    from tuneloop.librarian.pack import read_pack

    return read_pack(target.project if target.own else None)


def _pack_if_any() -> "Pack | None":
    """Return the library's pack; unlinking does without it."""
    from tuneloop.librarian.pack import read_pack

    try:
        return read_pack()
    except MissingError:
        return None


def _refuse(target: "Target", *, with_settings: bool, as_copy: bool) -> None:
    if with_settings and target.project is None:
        hint = "leave `--with-settings` out; the plugin brings its hooks to all projects"
        raise InputError("settings are merged into a project's, not into yours", hint=hint)
    if target.own and (with_settings or as_copy):
        flag = "--with-settings" if with_settings else "--copy"
        why = "nothing of the pack asks or waits while it is edited" if with_settings else "its links are in git"
        raise InputError(f"this is the pack's own checkout: {why}", hint=f"leave `{flag}` out")


def _additions(target: "Target", pack: "Pack") -> "list[Addition] | None":
    """Return what a project's settings may get; None where nothing is merged."""
    from tuneloop.hooks.commands import allow_rules
    from tuneloop.librarian.settings import additions

    return None if target.own or target.project is None else additions(pack.root, allow_rules())


def _look(target: "Target") -> "LinkPlan":
    """Return what `link` would repair, of what is linked; in the pack's own checkout, of what belongs there."""
    from tuneloop.librarian.links import Wish, plan_link

    pack = _pack(target)
    return plan_link(pack, target, Wish(additions=_additions(target, pack), repair=not target.own))


def _show(plan: "LinkPlan", *, dry_run: bool) -> None:
    from tuneloop.librarian.health import counted, plan_warnings

    for step in plan.changes if dry_run else ():
        leads = f" -> {step.entry.holds}" if step.entry and step.entry.kind == "link" else ""
        say(f"would {step.act} {step.place}{leads}")
    would = "would be " if dry_run else ""
    for done, steps in (
        ("linked", [step for step in plan.changes if step.act != "remove"]),
        ("removed", [step for step in plan.changes if step.act == "remove"]),
        ("as they were", [step for step in plan.steps if step.act == "keep"]),
    ):
        if steps:
            say(f"{would}{done}: {counted(steps)}")
    if plan.settings is not None:
        verb = "removed" if plan.settings.text is None else "written"
        say(f"{would}{verb}: {plan.settings.path}")
    say(f"in {plan.target.base}, from {plan.source}")
    for step in plan.left:
        note(f"left alone: {step.place}, {step.why}")
    for warning in plan_warnings(plan):
        note(f"note: {warning}")


def _say_what_to_ignore(plan: "LinkPlan") -> None:
    """Note once, when a project is first linked, what of it is of no use on another machine."""
    from tuneloop.librarian.ignored import bound_here

    found = bound_here(plan)
    if found:
        others = len(found) - 1
        more = f" and {others} other new path{'' if others == 1 else 's'}" if others else ""
        note(f"note: only for this machine, so keep out of git, such as in .git/info/exclude: {found[0]}{more}")


def _say_what_is_not_written_down(target: "Target") -> None:
    """Note that links are there without their record: only `link` can tell whose they are."""
    from tuneloop.librarian.health import mending_line

    plan = None if _pack_if_any() is None else _look(target)
    if plan is not None and plan.unrecorded:
        note(f"note: links are there, and {target.manifest} is not: `{mending_line(plan)}` writes it, then unlink")


def _data(plan: "LinkPlan", *, written: bool) -> dict[str, Any]:
    from tuneloop.librarian.health import plan_warnings

    return {
        "schema": "tuneloop.skills/1",
        "folder": str(plan.target.base),
        "pack": plan.source,
        "written": written and plan.to_do,
        "places": [{"place": step.place, "act": step.act, "why": step.why} for step in plan.steps],
        "left": [step.place for step in plan.left],
        "settings": None if plan.settings is None else str(plan.settings.path),
        "warnings": list(plan_warnings(plan)),
    }
