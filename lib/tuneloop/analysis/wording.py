"""Numbers into words: how they are rounded, and the sentences of the report. Pure; knows no markup.

The tone is that of a laboratory notebook: tried, measured, concluded, with an interval.
"""

from collections.abc import Sequence
from typing import Any

from tuneloop.analysis.results import Analysis, Result
from tuneloop.analysis.scores import At
from tuneloop.analysis.statistics import Difference, Interval, Mean

MINUS = "\N{MINUS SIGN}"
NONE = "\N{EN DASH}"


def number(value: float | None, decimals: int = 2) -> str:
    if value is None:
        return NONE
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", MINUS)


def signed(value: float, decimals: int = 2) -> str:
    text = number(value, decimals)
    return text if text.startswith(MINUS) or float(text) == 0 else f"+{text}"


def bracket(interval: Interval | None, decimals: int = 2) -> str:
    return "" if interval is None else f" [{number(interval.low, decimals)}, {number(interval.high, decimals)}]"


def mean_text(mean: Mean | None, decimals: int = 2) -> str:
    return NONE if mean is None else number(mean.mean, decimals) + bracket(mean.interval, decimals)


def difference_text(difference: Difference | None, decimals: int = 2) -> str:
    if difference is None:
        return NONE
    return signed(difference.estimate, decimals) + bracket(difference.interval, decimals)


def decimals_for(means: Sequence[Mean]) -> int:
    """Return as many decimals as the narrowest interval deserves, 2 to 4; fewer where values are large."""
    largest = max((abs(mean.mean) for mean in means), default=0.0)
    if largest >= 100:
        return 1
    narrowest = min((mean.interval.width for mean in means if mean.interval), default=1.0)
    return 2 if narrowest >= 0.02 else 3 if narrowest >= 0.002 else 4


def value_text(value: Any) -> str:
    """Return a value of the design as people write it: 3e-4, true, cosine."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        if value and (abs(value) < 0.01 or abs(value) >= 1e6):
            mantissa, exponent = f"{value:e}".split("e")
            return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
        return f"{value:g}"
    if isinstance(value, list):
        return ", ".join(value_text(item) for item in value)
    return str(value)


def cell_text(cell: Any) -> str:
    return ", ".join(f"{name} {value_text(value)}" for name, value in cell.items()) or "all runs"


def at_text(at: At) -> str:
    return at.run if at.epoch is None else f"{at.run}@{at.epoch}"


def count(number_of: int, noun: str) -> str:
    return f"{number_of:,} {noun}" if number_of == 1 else f"{number_of:,} {noun}s"


def answer(analysis: Analysis) -> str:
    """Return the answer in one sentence, with a second one where runs have no result."""
    text = _answer(analysis)
    missing = [result for result in analysis.missing if analysis.primary is not None]
    if not missing:
        return text
    named = [f"{item.run.name}, {item.state or 'no scores'}" for item in missing[:4]]
    more = [f"{len(missing) - 4} more"] if len(missing) > 4 else []
    return f"{text} No result from {count(len(missing), 'run')}: {'; '.join(named + more)}."


def _answer(analysis: Analysis) -> str:
    if analysis.primary is None:
        if not analysis.experiment.design.evaluations:
            return "The design has no evaluations, so there are no scores to compare."
        return f"No results yet: none of {count(len(analysis.runs), 'run')} has a score."
    name = analysis.primary.series.name
    compared = analysis.compared
    if analysis.control is None:
        return f"There is no control run with scores, so no run is called better or worse{_best(analysis)}."
    if not compared:
        return f"The control run alone has scores on {name}, so nothing can be compared yet."
    better = [result for result in compared if result.verdict == "better"]
    worse = [result for result in compared if result.verdict == "worse"]
    open_ = len(compared) - len(better) - len(worse)
    parts = []
    if better:
        are = "is" if len(better) == 1 else "are"
        parts.append(f"{len(better)} of {count(len(compared), 'run')} {are} better than the control on {name}")
        parts += [f"{len(worse)} worse"] if worse else []
    elif worse:
        are = "is" if len(worse) == 1 else "are"
        parts.append(f"No run is better than the control on {name}")
        parts.append(f"{len(worse)} of {len(compared)} {are} worse")
    else:
        parts.append(f"Inconclusive: no run is shown to be better or worse than the control on {name}")
    parts += [f"{open_} inconclusive"] if open_ and (better or worse) else []
    return f"{', '.join(parts)}{_best(analysis)}; {count(len(compared), 'comparison')}."


def _best(analysis: Analysis) -> str:
    best = analysis.best
    if best is None or best.score is None:
        return ""
    decimals = primary_decimals(analysis)
    difference = best.difference
    if difference is None:
        word = "highest" if analysis.primary and analysis.primary.direction == "maximize" else "lowest"
        return f"; {word} mean: {best.run.name} {mean_text(best.score.mean, decimals)}, n = {best.score.mean.n:,}"
    return f"; best: {best.run.name} {difference_text(difference, decimals)}, n = {difference.n:,}"


def primary_decimals(analysis: Analysis) -> int:
    return decimals_for([result.score.mean for result in analysis.results if result.score is not None])


def remark(result: Result, smallest_effect: float) -> str:
    """Return why a verdict is what it is, where the numbers beside it do not say."""
    difference = result.difference
    if difference is None:
        return ""
    if difference.interval is None:
        return "too few pairs" if difference.n < 2 else "all differences are equal: no interval"
    excludes_zero = difference.interval.low > 0 or difference.interval.high < 0
    if result.verdict == "inconclusive" and excludes_zero:
        return f"not zero, but smaller than {value_text(smallest_effect)}"
    return ""


def how_judged(analysis: Analysis) -> list[str]:
    """Return the sentences under the table of runs: the rule, Holm's correction, what could have been seen."""
    primary = analysis.primary
    if primary is None:
        return []
    goal = "higher" if primary.direction == "maximize" else "lower"
    at = "the last epoch" if primary.at == "last" else "the epoch of each run with the lowest validation loss"
    if primary.declared:
        effect = f"; the smallest difference that matters is {value_text(primary.smallest_effect)}"
        sentences = [
            (
                f"Primary metric, declared in the design: {primary.series.name}, {goal} is better, at {at}"
                f"{effect if primary.smallest_effect else ''}."
            )
        ]
    else:
        sentences = [
            (
                f"The design declares no metric: {primary.series.name}, {goal} is better, at {at} was chosen by"
                " default, not beforehand. Take the verdicts as exploratory."
            )
        ]
    if analysis.control is None:
        sentences.append("Without a control run there is nothing to compare with: the table gives means alone.")
    sentences += _holm(analysis)
    sentences += _detectable(analysis)
    return sentences


def _holm(analysis: Analysis) -> list[str]:
    decided = [result for result in analysis.compared if result.verdict in {"better", "worse"}]
    total = len(analysis.compared)
    if total < 2:
        return []
    made = f"{count(total, 'comparison')} with the control were made"
    if not decided:
        return [f"{made}; none is decided, so there is nothing to correct."]
    failing = [result.run.name for result in decided if not result.survives]
    if not failing:
        which = "the verdict" if len(decided) == 1 else f"all {len(decided)} verdicts other than inconclusive"
        return [f"{made}; {which} would survive Holm's correction for their number."]
    kept = len(decided) - len(failing)
    return [
        (
            f"{made}; {kept} of {len(decided)} verdicts other than inconclusive would survive Holm's correction for "
            f"their number, and not: {', '.join(failing)}."
        )
    ]


def _detectable(analysis: Analysis) -> list[str]:
    compared = [result.difference for result in analysis.compared if result.difference is not None]
    seen = [difference.detectable for difference in compared if difference.detectable is not None]
    if not compared:
        return []
    if not seen:
        return ["With so few items no difference, however large, would reliably have been found."]
    decimals = primary_decimals(analysis)
    low, high = number(min(seen), decimals), number(max(seen), decimals)
    span = low if low == high else f"{low} to {high} (it depends on how often a run and the control disagree)"
    return [
        (
            f"With this number of items a true difference of {span} would be found in 80 % of such experiments; "
            "smaller ones may exist unseen."
        )
    ]


def seeds_note(analysis: Analysis) -> str:
    designed = max(cell.designed for cell in analysis.cells)
    return (
        f"Each cell has {designed} seeds by design. Scores are averaged over the seeds item by item, so the interval"
        " covers the choice of items, with these very seeds; it does not cover other seeds. How far seeds differ"
        " is shown by the lowest and highest mean of a single run."
    )


def effects_note(analysis: Analysis) -> str:
    text = (
        "Means over all runs that share a value, averaged item by item. Differences are to the first value listed,"
        " on the same items and the same settings of everything else; intervals are over items."
    )
    unmatched = [effect.variable for effect in analysis.effects if not effect.settings]
    if unmatched:
        text += (
            f" For {', '.join(unmatched)} no setting of the others was tried with every value, so its means mix"
            " effects and no difference is given."
        )
    return text


def reading_guide(analysis: Analysis) -> list[str]:
    """Return how to read the report, in a few sentences."""
    binary = analysis.primary is not None and analysis.primary.series.binary
    method = (
        "For right-or-wrong scores means have Wilson's interval and paired differences the adjusted Wald interval of"
        " Bonett and Price (2012), with McNemar's exact test; for other scores both are Student's t."
        if binary
        else "Means and paired differences have Student's t interval; right-or-wrong scores have Wilson's and that of"
        " Bonett and Price (2012)."
    )
    return [
        (
            "Brackets are 95 % intervals over items: if the experiment were repeated with other items of the same kind,"
            " about 95 of 100 such intervals would contain the true value. They say nothing about other seeds or other"
            " data for training."
        ),
        (
            "A difference compares a run with the control on the same items. Better means that the whole interval is on"
            " the good side of zero and the estimate is at least the smallest difference that matters; worse is the"
            " mirror image; inconclusive means that the data do not decide, not that there is no difference."
        ),
        (
            "Each comparison may be wrong by chance in about 1 of 20 cases, which adds up over"
            f" {count(len(analysis.compared), 'comparison')}; Holm's correction says which verdicts stand all the same."
            " The best of several runs looks better than it is, because it was chosen for its score."
        ),
        method,
    ]
