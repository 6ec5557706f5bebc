"""Carrying out a plan of `links.py`: what is going to be ours is written down, then made, then written down alone.

A call that is killed anywhere in between is finished by the next one, of `link` or of `unlink`.
"""

import contextlib
import dataclasses
from collections.abc import Iterator

from tuneloop.documents import cache
from tuneloop.documents.errors import BusyError, InputError, Problem
from tuneloop.documents.files import (
    NoLinksError,
    copy_folder,
    make_folder,
    make_link,
    new_folder,
    put_text,
    read_text,
    remove_file,
    remove_folder,
    remove_if_empty,
    remove_left,
)
from tuneloop.documents.locks import exclusive
from tuneloop.librarian.links import LinkPlan, Step, Wish, plan_link, plan_unlink
from tuneloop.librarian.manifest import Manifest
from tuneloop.librarian.pack import Pack
from tuneloop.librarian.target import MANIFEST, Target, refuse_read_only
from tuneloop.librarian.wanted import observe

_WAIT = 5  # seconds for another call to end


def link(pack: Pack, target: Target, wish: Wish, *, act: bool = True) -> LinkPlan:
    """Make the pack active and return what was done; with copies where the file system has no links.

    Without `act` only the plan is returned. Raises InputError before anything is changed when the target cannot be
    written, BusyError when another call is at it.
    """
    if not act:
        return _feasible(plan_link(pack, target, wish))
    with _locked(target):
        plan = plan_link(pack, target, wish)
        try:
            carry_out(plan)
        except NoLinksError:
            if target.own:
                hint = "clone the repository to a file system that has them"
                raise InputError(Problem("this file system has no links", target.base, hint=hint)) from None
            plan = plan_link(pack, target, dataclasses.replace(wish, copy=True))
            carry_out(plan)
        return plan


def unlink(target: Target, words: list[str], pack: Pack | None, *, act: bool = True) -> LinkPlan:
    """Take away what `link` made and return what was done. Raises as `plan_unlink` and `link` do."""
    if not act:
        return _feasible(plan_unlink(target, words, pack))
    with _locked(target):
        plan = plan_unlink(target, words, pack)
        carry_out(plan)
        return plan


@contextlib.contextmanager
def _locked(target: Target) -> Iterator[None]:
    busy = "another `tuneloop skills` is at work in this folder"
    lock = cache.links_lock(target.base)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(exclusive(lock, wait=_WAIT, busy=busy, hint="wait for it and type it again"))
        except OSError as error:
            hint = "set XDG_STATE_HOME to a folder that can be written"
            why = error.strerror or str(error)
            raise InputError(Problem(f"the lock of links cannot be made: {why.lower()}", lock, hint=hint)) from None
        yield


def _feasible(plan: LinkPlan) -> LinkPlan:
    refuse_read_only(plan.folders_written())
    return plan


def carry_out(plan: LinkPlan) -> None:
    """Do what the plan says. Raises NoLinksError where a link cannot be made."""
    refuse_read_only(plan.folders_written())
    _remove_what_was_left(plan)
    if not plan.to_do:
        return
    if plan.during is not None:
        _write_down(plan, plan.during)
    for step in plan.changes:
        _do(plan.target, step)
    change = plan.settings
    if change is not None and change.text is None:
        remove_file(change.path)
    elif change is not None and change.text is not None:
        put_text(change.path, change.text, mode=change.mode)
    if plan.after is not None:
        _write_down(plan, plan.after)
    elif plan.before is not None:
        _leave(plan.target, plan.before)


def _remove_what_was_left(plan: LinkPlan) -> None:
    """Remove what killed calls left beside the places that this one is about."""
    target = plan.target
    for path in (target.base, target.manifest, target.settings):
        remove_left(path)
    for path in (target.base / step.place for step in plan.steps if plan.to_do):  # else the last call came through
        remove_left(path)


def _write_down(plan: LinkPlan, manifest: Manifest) -> None:
    """Write the manifest; a base that is not there appears with the manifest in it, so that it is known as ours."""
    target, text = plan.target, manifest.text()
    # It repeats the settings' text, so nobody may read it who may not read those.
    mode = target.settings.stat().st_mode & 0o666 if target.settings.exists() else 0o644
    if not target.base.exists():
        with new_folder(target.base) as beside:
            put_text(beside / MANIFEST, text, mode=mode)
    elif not target.manifest.exists() or read_text(target.manifest) != text:
        put_text(target.manifest, text, mode=mode)


def _do(target: Target, step: Step) -> None:
    path = target.base / step.place
    if observe(path) != step.found:
        raise BusyError(Problem("this was changed just now", path, hint="type the same command again"))
    same_kind = step.found is not None and step.entry is not None and step.found.kind == step.entry.kind
    if step.found is not None and (not same_kind or step.found.kind == "link"):
        if step.found.kind == "folder":
            remove_folder(path)
        else:
            remove_file(path)
    if step.item is None or step.entry is None:
        return
    make_folder(path.parent)
    if step.entry.kind == "link":
        make_link(path, step.entry.holds)
    elif step.entry.kind == "folder":
        copy_folder(step.item.source, path, replace=True)
    else:
        put_text(path, step.item.text if step.item.text is not None else read_text(step.item.source))


def _leave(target: Target, manifest: Manifest) -> None:
    """Remove the folders that were made, as far as nothing of somebody else's is in them, and the manifest."""
    for kind in manifest.folders:
        if kind:
            remove_if_empty(target.base / kind)
    if "" in manifest.folders and [path.name for path in target.base.iterdir()] == [MANIFEST]:
        remove_folder(target.base)  # in one step with the manifest, without which nobody knows that it was made
    else:
        remove_file(target.manifest)
