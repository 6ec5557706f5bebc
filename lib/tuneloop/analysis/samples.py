"""Samples side by side: what the control and the best run said to the same items. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tuneloop.analysis.scores import At, Scores, Series, Text, item_order
from tuneloop.analysis.statistics import Direction

Change = Literal["gained", "lost", "same"]
MOST = 20
# Losses and unchanged items keep some room even when hundreds are gained.
_ROOM: dict[Change, int] = {"gained": 10, "lost": 6, "same": 4}


@dataclass(frozen=True)
class Sample:
    item: str
    change: Change
    text: Text  # input and target
    before: str | None  # the control's output
    after: str | None  # the best run's
    before_score: float | None
    after_score: float


@dataclass(frozen=True)
class Samples:
    run: At
    control: At | None
    shown: tuple[Sample, ...]  # gained first, then lost, then same
    counts: Mapping[Change, int]  # of all items that both runs have


def side_by_side(scores: Scores, series: Series, direction: Direction, run: At, control: At | None) -> Samples:
    """Return up to 20 items with both answers, those whose score changed most before the others."""
    after = series.items.get(run, {})
    before = series.items.get(control, {}) if control else {}
    shared = sorted((after.keys() & before.keys()) if control else after, key=item_order)
    sign = 1 if direction == "maximize" else -1
    found: dict[Change, list[Sample]] = {"gained": [], "lost": [], "same": []}
    for item in shared:
        change = sign * (after[item] - before.get(item, after[item]))
        kind: Change = "gained" if change > 0 else "lost" if change < 0 else "same"
        text = scores.texts[series.evaluation, run, item]
        old = scores.texts[series.evaluation, control, item].output if control else None
        found[kind].append(Sample(item, kind, text, old, text.output, before.get(item), after[item]))
    for kind in ("gained", "lost"):  # stable: equal changes stay in the order of items
        found[kind].sort(key=lambda sample: -abs(sample.after_score - (sample.before_score or 0.0)))
    rooms = _rooms({kind: len(samples) for kind, samples in found.items()})
    shown = tuple(sample for kind, samples in found.items() for sample in samples[: rooms[kind]])
    return Samples(run, control, shown, {kind: len(samples) for kind, samples in found.items()})


def _rooms(counts: Mapping[Change, int]) -> dict[Change, int]:
    """Share out the places; what one kind leaves empty goes to the next in order."""
    rooms = {kind: min(room, counts[kind]) for kind, room in _ROOM.items()}
    for kind, count in counts.items():
        rooms[kind] += min(count - rooms[kind], MOST - sum(rooms.values()))
    return rooms
