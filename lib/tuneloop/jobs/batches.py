"""Batches: what is handed to an executor at once, and after what. Pure, but for the fresh tokens."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from tuneloop.experiment.work import JobKey, JobSpec, Need, Shape, Token, run_of


class Place(NamedTuple):
    """Where a job went: a submission, and its task in it."""

    token: Token
    task: int


class After(NamedTuple):
    """What a batch waits for: a whole submission, one task of it, or (`each`) task i of it for its own task i."""

    token: Token
    when: Literal["ok", "any", "each"]
    task: int | None = None


@dataclass(frozen=True)
class Batch:
    """1..n jobs of one worker and shape; n > 1 is an array whose task `tasks[i]` runs `scripts[i]`."""

    token: Token
    worker: str
    shape: Shape
    keys: tuple[JobKey, ...]
    scripts: tuple[str, ...]
    tasks: tuple[int, ...]
    after: tuple[After, ...] = ()
    resumes: int = 0  # times that a job goes on after its time limit; 0 for one that would begin anew


Places = Mapping[tuple[str | None, JobKey], Place]  # by experiment (None: this one) and job


class Sizes(NamedTuple):
    """How many jobs an executor takes in one batch: any, and such as wait for a task each of another batch."""

    largest: int
    corresponding: int


class Parent(NamedTuple):
    """A job that has not ended and that another one waits for: how it must end, and where it went."""

    when: str
    place: Place


def batches(specs: Sequence[JobSpec], sizes: Sizes, going: Places, resumes: int = 0) -> list[Batch]:
    """Cut jobs into batches of one worker and shape, after the ones that each waits for.

    Evaluations of the trainings of one array become arrays with the same tasks, so that each waits for its own
    training alone. `going` holds the jobs that were handed over before and have not ended, here and in the
    experiments that are cited; what is needed and stands in neither is done. The order is that of chains:
    trainings, then what follows from them, so that a limit reached half-way leaves whole chains. `resumes` is how
    often one that can resume goes on after its time limit.
    """
    waiting = {spec.key: spec for spec in specs}
    places = {place: found for place, found in going.items() if place[0] is not None or place[1] not in waiting}
    made: list[Batch] = []
    while waiting:
        ready = [spec for spec in waiting.values() if not any(need.job in waiting for need in _own_needs(spec))]
        assert ready, "jobs need each other"
        for batch in _groups(ready, sizes, places, resumes):
            made.append(batch)
            tasks = zip(batch.keys, batch.tasks, strict=True)
            places |= {(None, key): Place(batch.token, task) for key, task in tasks}
        for spec in ready:
            del waiting[spec.key]
    return _by_chain(made)


def _groups(specs: Sequence[JobSpec], sizes: Sizes, places: Places, resumes: int) -> Iterator[Batch]:
    groups: dict[object, list[JobSpec]] = {}
    for spec in specs:
        groups.setdefault(_alike(spec, places), []).append(spec)
    for group in groups.values():
        apart = len({parent.place for spec in group for parent in _parents(spec, places)}) > 1
        size = min(sizes.corresponding, sizes.largest) if apart else sizes.largest
        for start in range(0, len(group), size):
            yield _batch(group[start : start + size], places, resumes)


def _batch(specs: Sequence[JobSpec], places: Places, resumes: int) -> Batch:
    parents = [_parents(spec, places) for spec in specs]
    tasks, after = tuple(range(len(specs))), tuple(_after(parents[0]))
    if any(item != parents[0] for item in parents):
        tasks = tuple(parent.place.task for (parent,) in parents)
        after = (After(parents[0][0].place.token, "each"),)
    return Batch(
        Token(secrets.token_hex(5)),
        specs[0].worker,
        specs[0].shape,
        tuple(spec.key for spec in specs),
        tuple(spec.script for spec in specs),
        tasks,
        after,
        resumes if all(spec.resumable for spec in specs) else 0,
    )


def _alike(spec: JobSpec, places: Places) -> object:
    """Return what jobs of one batch have in common."""
    parents = _parents(spec, places)
    if not parents:
        return spec.worker, spec.shape
    if len(parents) > 1 or parents[0].when != "ok":
        return spec.key
    place = parents[0].place
    if any(need.experiment is not None or run_of(need.job) != spec.run for need in spec.needs):
        # Many may start from one checkpoint of another run: they are tasks of their own, and all wait for that one.
        return spec.worker, spec.shape, place
    # The rest of the key tells the evaluation: two of one training cannot be the same task of an array.
    return spec.worker, spec.shape, place.token, *spec.key.split("/")[2:]


def _after(parents: Sequence[Parent]) -> Iterator[After]:
    """Yield what one job waits for; of a submission whose every end will do, the whole."""
    yield from (After(place.token, "ok", place.task) for when, place in parents if when == "ok")
    yield from dict.fromkeys(After(place.token, "any") for when, place in parents if when == "any")


def _parents(spec: JobSpec, places: Places) -> list[Parent]:
    found = ((need.when, places.get((need.experiment, need.job))) for need in spec.needs)
    return [Parent(when, place) for when, place in found if place is not None]


def _own_needs(spec: JobSpec) -> list[Need]:
    return [need for need in spec.needs if need.experiment is None]


def _by_chain(made: Sequence[Batch]) -> list[Batch]:
    """Order batches so that each stands right behind the last one that it waits for."""
    found: list[Batch] = []
    for batch in made:
        tokens = {after.token for after in batch.after}
        behind = max((index for index, item in enumerate(found) if item.token in tokens), default=None)
        if behind is None:
            found.append(batch)
            continue
        while behind + 1 < len(found) and found[behind + 1].after == batch.after:
            behind += 1
        found.insert(behind + 1, batch)
    return found
