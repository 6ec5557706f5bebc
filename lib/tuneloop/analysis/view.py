"""The report as sections of text, tables, figures and samples: what HTML and Markdown both show. Pure.

Everything here is plain text. Escaping is the business of whoever renders it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tuneloop.analysis import wording as w
from tuneloop.analysis.results import Analysis, Result, Score
from tuneloop.analysis.samples import Samples
from tuneloop.analysis.scores import Series
from tuneloop.experiment.expand import Run

MOST_LINES = 400  # of a table; the rest stands in results.csv
_MOST_COLUMNS = 5  # variables that get a column of their own


@dataclass(frozen=True)
class Cell:
    text: str
    note: str = ""
    tone: str = ""  # better, worse, inconclusive, held, broken, muted; for colour beside the word, never instead


@dataclass(frozen=True)
class Table:
    columns: tuple[str, ...]
    numeric: tuple[bool, ...]  # aligned right
    lines: tuple[tuple[Cell, ...], ...]
    head: int = 0  # lines at the top that stand for the control
    kind: Literal["table"] = "table"


@dataclass(frozen=True)
class FigureRef:
    name: str
    kind: Literal["figure"] = "figure"


@dataclass(frozen=True)
class SampleList:
    samples: Samples
    kind: Literal["samples"] = "samples"


@dataclass(frozen=True)
class Section:
    heading: str
    blocks: tuple[Table | FigureRef | SampleList, ...] = ()
    before: tuple[str, ...] = ()  # paragraphs
    after: tuple[str, ...] = ()


def sections(analysis: Analysis, figures: Sequence[str], provenance: Sequence[tuple[str, str]]) -> list[Section]:
    """Return the report in reading order; a section without content is left out."""
    found = [
        Section("Runs", (runs_table(analysis),), after=tuple(w.how_judged(analysis))),
        *_seeds(analysis),
        *_unfinished(analysis),
        *_guardrails(analysis),
        *_others(analysis),
        Section("Figures", tuple(FigureRef(name) for name in figures)),
        *_effects(analysis),
        *_samples(analysis),
        Section("Every scorer and metric", tuple(_everything(analysis))),
        Section("How to read this", before=tuple(w.reading_guide(analysis)) if analysis.primary else ()),
        Section("Provenance", (_facts(provenance),)),
    ]
    return [section for section in found if section.blocks or section.before or section.after]


def runs_table(analysis: Analysis) -> Table:
    """Return the table of runs, control first, missing ones with their state."""
    decimals = w.primary_decimals(analysis)
    variables = list(dict.fromkeys(name for run in analysis.runs for name in run.cell))
    separate = variables if len(variables) <= _MOST_COLUMNS else []
    seeds = len({run.seed for run in analysis.runs if run.kind == "train"}) > 1
    trained = any(run.epochs > 1 for run in analysis.runs)
    columns = [
        ("run", False),
        *((name, True) for name in separate or (["variables"] if variables else [])),
        *([("seed", True)] if seeds else []),
        *([("epoch", True)] if trained else []),
        ("validation loss", True),
        ("n", True),
        ("mean [95 %]", True),
        ("difference [95 %]", True),
        ("verdict", False),
    ]
    lines = []
    for result in analysis.results:
        run = result.run
        cells = [Cell(run.name, "" if run.kind == "train" else run.kind if run.name != run.kind else "")]
        cells += [_muted(w.value_text(run.cell.get(name))) for name in separate]
        cells += [_muted(w.cell_text(run.cell) if run.cell else w.NONE)] if variables and not separate else []
        cells += [_muted(w.value_text(run.seed))] if seeds else []
        cells += [_muted(w.value_text(result.epoch))] if trained else []
        lines.append((*cells, _muted(w.number(result.validation_loss, 3)), *_outcome(analysis, result, decimals)))
    head = sum(run.kind == "control" for run in analysis.runs)
    return _table(columns, lines, head)


def _outcome(analysis: Analysis, result: Result, decimals: int) -> tuple[Cell, ...]:
    score, none = result.score, _muted(w.NONE)
    if score is None:
        return (none, none, none, Cell(result.state or "no scores", tone="muted"))
    unscored = score.series.unscored.get(score.at, 0)
    difference = result.difference
    unpaired = "" if difference is None or not difference.unpaired else f"{difference.unpaired} unpaired left out"
    smallest = analysis.primary.smallest_effect if analysis.primary else 0.0
    notes = [w.remark(result, smallest)]
    if result.verdict in {"better", "worse"} and len(analysis.compared) > 1 and not result.survives:
        notes.append("not after Holm's correction")
    return (
        Cell(f"{score.mean.n:,}", f"{unscored} without a score" if unscored else ""),
        Cell(w.mean_text(score.mean, decimals)),
        Cell(w.difference_text(difference, decimals), unpaired),
        Cell(result.verdict or w.NONE, "; ".join(filter(None, notes)), result.verdict or "muted"),
    )


def _seeds(analysis: Analysis) -> Iterator[Section]:
    if not analysis.cells:
        return
    decimals = w.decimals_for([cell.mean for cell in analysis.cells])
    columns = [
        ("cell", False),
        ("seeds", True),
        ("n", True),
        ("mean [95 %]", True),
        ("lowest to highest run", True),
        ("difference [95 %]", True),
    ]
    lines = [
        (
            Cell(w.cell_text(cell.values)),
            Cell(f"{len(cell.seeds)} of {cell.designed}" if len(cell.seeds) < cell.designed else str(cell.designed)),
            Cell(f"{cell.mean.n:,}"),
            Cell(w.mean_text(cell.mean, decimals)),
            Cell(f"{w.number(cell.lowest, decimals)} to {w.number(cell.highest, decimals)}"),
            Cell(w.difference_text(cell.difference, decimals)),
        )
        for cell in analysis.cells
    ]
    yield Section("Over seeds", (_table(columns, lines),), after=(w.seeds_note(analysis),))


def _unfinished(analysis: Analysis) -> Iterator[Section]:
    if not analysis.unfinished:
        return
    lines = [(Cell(job), Cell(state)) for job, state in analysis.unfinished]
    before = "These jobs are not done; their numbers are missing here."
    yield Section("Unfinished jobs", (_table([("job", False), ("state", False)], lines),), before=(before,))


def _guardrails(analysis: Analysis) -> Iterator[Section]:
    if not analysis.guardrails:
        return
    columns = [
        ("guardrail", False),
        ("largest loss accepted", True),
        ("run", False),
        ("n", True),
        ("difference [95 %]", True),
        ("guardrail is", False),
    ]
    lines = []
    before = None
    for item in analysis.guardrails:
        difference = None if item.score is None else item.score.difference
        decimals = 2 if item.score is None else w.decimals_for([item.score.mean])
        sense = "higher is better" if item.direction == "maximize" else "lower is better"
        held = item.held or ("not evaluated" if item.score is None else "not compared")
        lines.append(
            (
                Cell(item.name, sense) if item.name != before else Cell(""),
                Cell(w.value_text(item.tolerance)),
                Cell(item.run.name),
                Cell(w.NONE if difference is None else f"{difference.n:,}"),
                Cell(w.difference_text(difference, decimals)),
                Cell(held, tone=item.held or "muted"),
            )
        )
        before = item.name
    after = (
        "Held: even the bad end of the interval is within the loss that the design accepts. Broken: the whole"
        " interval is beyond it. Inconclusive: neither."
    )
    yield Section("Guardrails", (_table(columns, lines),), after=(after,))


def _others(analysis: Analysis) -> Iterator[Section]:
    blocks = []
    for series in analysis.scores.series:
        scores = [score for score in analysis.others if score.series is series]
        if scores:
            blocks.append(_others_table(series, scores, analysis))
    if blocks:
        before = "At the same epochs as above. The design makes no claim about these, so they carry no verdict."
        yield Section("Other evaluations and scorers", tuple(blocks), before=(before,))


def _others_table(series: Series, scores: Sequence[Score], analysis: Analysis) -> Table:
    decimals = w.decimals_for([score.mean for score in scores])
    columns = [(series.name, False), ("n", True), ("mean [95 %]", True), ("difference [95 %]", True)]
    lines = [
        (
            Cell(w.at_text(score.at)),
            Cell(f"{score.mean.n:,}"),
            Cell(w.mean_text(score.mean, decimals)),
            _muted(w.difference_text(score.difference, decimals)),
        )
        for score in scores
    ]
    return _table(columns, lines, _controls(analysis, [score.at.run for score in scores]))


def _effects(analysis: Analysis) -> Iterator[Section]:
    if not analysis.effects:
        return
    columns = [
        ("variable", False),
        ("value", True),
        ("runs", True),
        ("mean [95 %]", True),
        ("difference to the first value [95 %]", True),
    ]
    decimals = w.decimals_for([level.mean for effect in analysis.effects for level in effect.levels])
    lines = [
        (
            Cell(effect.variable if index == 0 else ""),
            Cell(w.value_text(level.value)),
            Cell(str(level.runs)),
            Cell(w.mean_text(level.mean, decimals)),
            _muted(w.difference_text(level.difference, decimals)),
        )
        for effect in analysis.effects
        for index, level in enumerate(effect.levels)
    ]
    yield Section("Effect of each variable", (_table(columns, lines),), after=(w.effects_note(analysis),))


def _samples(analysis: Analysis) -> Iterator[Section]:
    samples = analysis.samples
    if samples is None or not samples.shown or analysis.primary is None:
        return
    total = sum(samples.counts.values())
    name = analysis.primary.series.name
    if samples.control is None:
        before = f"{len(samples.shown)} of {total:,} items of {name}, as {w.at_text(samples.run)} answered them."
    else:
        gained, lost = (
            ("wrong to right", "right to wrong")
            if analysis.primary.series.binary and analysis.primary.direction == "maximize"
            else ("better score", "worse score")
        )
        before = (
            f"{w.at_text(samples.run)} against {w.at_text(samples.control)} on {total:,} items of {name}: "
            f"{samples.counts['gained']:,} {gained}, {samples.counts['lost']:,} {lost}, "
            f"{samples.counts['same']:,} with the same score. {len(samples.shown)} of them, changed ones first."
        )
    yield Section("Samples side by side", (SampleList(samples),), before=(before,))


def _everything(analysis: Analysis) -> Iterator[Table]:
    for evaluation in dict.fromkeys(series.evaluation for series in analysis.scores.series):
        columns = [
            (evaluation, False),
            ("scorer", False),
            ("n", True),
            ("mean [95 %]", True),
            ("difference [95 %]", True),
            ("as the tool reported", False),
        ]
        scores = [score for score in analysis.everything if score.series.evaluation == evaluation]
        scores.sort(key=lambda score: [run.name for run in analysis.runs].index(score.at.run))
        lines = [_score_line(score, analysis) for score in scores]
        runs = [score.at.run for score in scores]
        yield _table(columns, lines, _controls(analysis, runs))
    yield from _training(analysis)


def _score_line(score: Score, analysis: Analysis) -> tuple[Cell, ...]:
    decimals = w.decimals_for([score.mean])
    reported = [
        f"{row.metric} {w.number(row.value, 4)}"
        for row in analysis.scores.aggregates.get((score.series.evaluation, score.at), ())
        if row.scorer in {None, score.series.scorer, score.series.scorer.partition("/")[0]}
    ]
    return (
        Cell(w.at_text(score.at)),
        Cell(score.series.scorer),
        Cell(f"{score.mean.n:,}"),
        Cell(w.mean_text(score.mean, decimals)),
        _muted(w.difference_text(score.difference, decimals)),
        _muted(", ".join(reported) or w.NONE),
    )


def _training(analysis: Analysis) -> Iterator[Table]:
    """Yield the training metrics that are neither a step's nor a sample's, one line a run and epoch."""
    reported = {at: rows for (source, at), rows in analysis.scores.aggregates.items() if source == "train"}
    metrics = list(dict.fromkeys(row.metric for rows in reported.values() for row in rows))
    if not metrics:
        return
    lines = []
    for at, rows in reported.items():
        values = {row.metric: row.value for row in rows}
        lines.append((Cell(w.at_text(at)), *(_muted(w.number(values.get(metric), 4)) for metric in metrics)))
    yield _table([("training", False), *((metric, True) for metric in metrics)], lines)


def _facts(provenance: Sequence[tuple[str, str]]) -> Table:
    return _table([("what", False), ("value", False)], [(Cell(what), Cell(value)) for what, value in provenance])


def _controls(analysis: Analysis, runs: Sequence[str]) -> int:
    kinds: dict[str, Run] = {run.name: run for run in analysis.runs}
    return sum(kinds[name].kind == "control" for name in runs)


def _table(columns: Sequence[tuple[str, bool]], lines: Sequence[tuple[Cell, ...]], head: int = 0) -> Table:
    names, numeric = zip(*columns, strict=True)
    shown = tuple(lines[:MOST_LINES])
    if len(lines) > MOST_LINES:
        more = Cell(f"{len(lines) - MOST_LINES:,} more lines: see results.csv", tone="muted")
        shown = (*shown, (more, *[Cell("")] * (len(names) - 1)))
    return Table(names, numeric, shown, head)


def _muted(text: str) -> Cell:
    return Cell(text, tone="muted" if text == w.NONE else "")
