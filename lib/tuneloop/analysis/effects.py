"""Several runs taken together: the seeds of a cell, and the effect of each variable. Pure.

Runs are averaged item by item first, so items stay paired and the interval is over items.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuneloop.analysis import statistics as st
from tuneloop.experiment.expand import Run

Items = Mapping[str, float]


@dataclass(frozen=True)
class Cell:
    """The runs of one cell of the matrix that differ in their seed alone."""

    values: Mapping[str, Any]
    seeds: tuple[int | None, ...]  # of the runs with scores
    designed: int  # seeds in the design
    mean: st.Mean
    lowest: float  # of the means of single runs
    highest: float
    difference: st.Difference | None


@dataclass(frozen=True)
class Level:
    """One value of a variable: the mean over the runs that have it, and the difference to the first value."""

    value: Any
    runs: int
    mean: st.Mean
    difference: st.Difference | None  # None for the first value, and where the runs do not match


@dataclass(frozen=True)
class Effect:
    variable: str
    levels: tuple[Level, ...]
    settings: int  # settings of everything else that were tried with every value; 0: the values do not match


def cells_of(runs: Sequence[Run], items: Mapping[str, Items], base: Items | None, *, bounded: bool) -> tuple[Cell, ...]:
    """Return the cells that have several seeds by design; `items` holds the scores by run."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        if run.kind == "train":
            groups.setdefault(repr(sorted(run.cell.items())), []).append(run)
    cells = []
    for group in groups.values():
        scored = [run for run in group if run.name in items]
        if len(group) < 2 or not scored:
            continue
        pooled = st.average_items([items[run.name] for run in scored])
        binary = st.is_binary(pooled.values()) and len(scored) == 1
        mean = st.mean_of(list(pooled.values()), binary=binary, bounded=bounded)
        if mean is None:
            continue
        alone = [sum(items[run.name].values()) / len(items[run.name]) for run in scored]
        difference = None if base is None else st.paired_difference(pooled, base, binary=binary, bounded=bounded)
        seeds = tuple(run.seed for run in scored)
        cells.append(Cell(group[0].cell, seeds, len(group), mean, min(alone), max(alone), difference))
    return tuple(cells)


def effects_of(runs: Sequence[Run], items: Mapping[str, Items], *, bounded: bool) -> tuple[Effect, ...]:
    """Return the effect of each variable that takes two values or more among the runs with scores."""
    scored = [run for run in runs if run.name in items and run.cell]
    effects = []
    for variable in dict.fromkeys(name for run in scored for name in run.cell):
        values = _values(scored, variable)
        if len(values) < 2:
            continue
        matched = _matched(scored, variable, len(values))
        groups = [[run for run in matched or scored if _same(run.cell.get(variable), value)] for value in values]
        levels = _levels(values, groups, items, paired=bool(matched), bounded=bounded)
        effects.append(Effect(variable, levels, len(matched) // len(values)))
    return tuple(effects)


def _values(runs: Sequence[Run], variable: str) -> list[Any]:
    return list({repr(run.cell[variable]): run.cell[variable] for run in runs if variable in run.cell}.values())


def _matched(runs: Sequence[Run], variable: str, values: int) -> list[Run]:
    """Return the runs whose other settings and seed were tried with every value of the variable.

    Only these say what the variable does; a missing run takes its partners out with it.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        others = sorted((name, repr(value)) for name, value in run.cell.items() if name != variable)
        groups.setdefault(repr((others, run.seed)), []).append(run)
    return [run for group in groups.values() if len(group) == values for run in group]


def _levels(
    values: Sequence[Any], groups: Sequence[Sequence[Run]], items: Mapping[str, Items], *, paired: bool, bounded: bool
) -> tuple[Level, ...]:
    pooled = [st.average_items([items[run.name] for run in group]) for group in groups]
    levels: list[Level] = []
    for value, group, scores in zip(values, groups, pooled, strict=True):
        binary = len(group) == 1 and st.is_binary([*scores.values(), *pooled[0].values()])
        mean = st.mean_of(list(scores.values()), binary=binary, bounded=bounded)
        if mean is None:
            continue
        first = not levels or not paired
        difference = None if first else st.paired_difference(scores, pooled[0], binary=binary, bounded=bounded)
        levels.append(Level(value, len(group), mean, difference))
    return tuple(levels)


def _same(left: Any, right: Any) -> bool:
    return repr(left) == repr(right)
