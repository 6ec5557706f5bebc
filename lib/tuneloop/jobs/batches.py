"""Batches: what is handed to an executor at once, and after what. Pure, but for the fresh tokens."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from tuneloop.experiment.work import JobKey, JobSpec, Need, Shape, Token


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


def batches(specs: Sequence[JobSpec], largest: int, going: Places, resumes: int = 0) -> list[Batch]:
    """Cut jobs into batches of one worker and shape with at most `largest` jobs each, after the ones it waits for.

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
        for batch in _groups(ready, largest, places, resumes):
            made.append(batch)
            tasks = zip(batch.keys, batch.tasks, strict=True)
            places |= {(None, key): Place(batch.token, task) for key, task in tasks}
        for spec in ready:
            del waiting[spec.key]
    return _by_chain(made)


def _groups(specs: Sequence[JobSpec], largest: int, places: Places, resumes: int) -> Iterator[Batch]:
    groups: dict[object, list[JobSpec]] = {}
    for spec in specs:
        groups.setdefault(_alike(spec, places), []).append(spec)
    for group in groups.values():
        parents = [_places(spec, places) for spec in group]
        each = len(group) > 1 and len(parents[0]) == 1 and len({parent[0][1].task for parent in parents}) > 1
        for start in range(0, len(group), largest):
            chunk = group[start : start + largest]
            tasks = tuple(_places(spec, places)[0][1].task for spec in chunk) if each else tuple(range(len(chunk)))
            after = (After(parents[0][0][1].token, "each"),) if each else tuple(_after(chunk[0], places))
            yield Batch(
                Token(secrets.token_hex(5)),
                chunk[0].worker,
                chunk[0].shape,
                tuple(spec.key for spec in chunk),
                tuple(spec.script for spec in chunk),
                tasks,
                after,
                resumes if all(spec.resumable for spec in chunk) else 0,
            )


def _alike(spec: JobSpec, places: Places) -> object:
    """Return what jobs of one batch have in common."""
    parents = _places(spec, places)
    if not parents:
        return spec.worker, spec.shape
    if len(parents) > 1 or parents[0][0] != "ok":
        return spec.key
    place = parents[0][1]
    if any(need.experiment is not None for need in spec.needs):
        # Many may start from one checkpoint: they are tasks of their own, and all wait for the same one.
        return spec.worker, spec.shape, place
    # The rest of the key tells the evaluation: two of one training cannot be the same task of an array.
    return spec.worker, spec.shape, place.token, *spec.key.split("/")[2:]


def _after(spec: JobSpec, places: Places) -> Iterator[After]:
    """Yield what one job waits for; of a submission whose every end will do, the whole."""
    found = _places(spec, places)
    yield from (After(place.token, "ok", place.task) for when, place in found if when == "ok")
    yield from dict.fromkeys(After(place.token, "any") for when, place in found if when == "any")


def _places(spec: JobSpec, places: Places) -> list[tuple[str, Place]]:
    found = ((need.when, places.get((need.experiment, need.job))) for need in spec.needs)
    return [(when, place) for when, place in found if place is not None]


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
