"""Figures: the primary by run, by variable and by epoch, and the loss. Pure: an analysis in, pictures out.

Drawn on Figure objects, so no global state of pyplot is touched; equal analyses give equal bytes. A run has the
same colour in every figure; beyond 20 runs all are grey but the best.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tuneloop.analysis.results import Analysis, Result, Score
from tuneloop.analysis.scores import Training
from tuneloop.analysis.wording import at_text, number, primary_decimals, value_text

DPI = 144
FEW = 20  # runs that can be told apart
_WITH_INTERVALS = 8  # runs whose intervals can be, over epochs
# Okabe and Ito's colours, which the colour-blind can tell apart; their yellow is too pale on white and black is
# the control's.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7A5195")
_MARKERS = ("o", "s", "^", "D", "v")
_LINES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))
_CONTROL, _GREY, _INK, _GRID = "#1a1a1a", "#9aa0a6", "#333333", "#e6e6e6"
_STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine draws the same
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "legend.fontsize": 9,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "axes.edgecolor": _GREY,
    "axes.labelcolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "text.parse_math": False,  # a dollar sign in a value is a dollar sign
    "svg.hashsalt": "tuneloop",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


@dataclass(frozen=True)
class Picture:
    name: str
    caption: str
    png: bytes
    svg: bytes


class _Look(NamedTuple):
    colour: str
    marker: str
    line: Any
    width: float
    front: int  # drawn over what has less


def draw(analysis: Analysis) -> list[Picture]:
    """Return the figures for which there are numbers."""
    from matplotlib import rc_context

    with rc_context(_STYLE):
        return [*_by_run(analysis), *_by_variable(analysis), *_loss(analysis), *_by_epoch(analysis)]


def _by_run(analysis: Analysis) -> Iterator[Picture]:
    scored = [result for result in analysis.results if result.score is not None]
    primary = analysis.primary
    if primary is None or not scored:
        return
    looks = _looks(analysis)
    figure = _figure(7.2, 1.1 + 0.34 * len(scored))
    axes = figure.add_subplot()
    _control_line(axes, analysis, vertical=True)
    for row, result in enumerate(scored):
        assert result.score is not None
        look = looks[result.run.name]
        _whisker(axes, result.score, row, look, vertical=False)
        high = result.score.mean.interval.high if result.score.mean.interval else result.score.mean.mean
        axes.annotate(
            number(result.score.mean.mean, primary_decimals(analysis)),
            (high, row),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    axes.set_yticks(range(len(scored)), [_label(result) for result in scored])
    axes.set_ylim(len(scored) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.1)
    axes.set_xlabel(_metric_label(analysis))
    yield _picture(
        figure, "runs", f"{primary.series.name} of each run at its declared epoch, with 95 % intervals over items."
    )


def _by_variable(analysis: Analysis) -> Iterator[Picture]:
    primary = analysis.primary
    if primary is None or not analysis.effects:
        return
    looks = _looks(analysis)
    wide = min(len(analysis.effects), 3)
    tall = -(-len(analysis.effects) // wide)
    figure = _figure(max(4.2, 3.4 * wide), max(3.2 * tall, _legend_height(len(_trained(analysis)))))
    first = None
    for place, effect in enumerate(analysis.effects, start=1):
        axes = figure.add_subplot(tall, wide, place, sharey=first)
        first = first or axes
        _control_line(axes, analysis, vertical=False)
        for column, level in enumerate(effect.levels):
            runs = [
                item for item in _trained(analysis) if repr(item.run.cell.get(effect.variable)) == repr(level.value)
            ]
            for spot, result in zip(_spread(len(runs), 0.44), runs, strict=True):
                assert result.score is not None
                _whisker(axes, result.score, column + spot, looks[result.run.name], vertical=True)
            mean = level.mean.mean
            axes.plot([column - 0.34, column + 0.34], [mean, mean], color=_INK, linewidth=2.2, zorder=9)
        axes.set_xticks(range(len(effect.levels)), [value_text(level.value) for level in effect.levels])
        axes.set_xlim(-0.5, len(effect.levels) - 0.5)
        axes.grid(visible=False, axis="x")
        axes.set_xlabel(effect.variable)
        if (place - 1) % wide == 0:
            axes.set_ylabel(_metric_label(analysis))
        else:
            axes.tick_params(labelleft=False)
    _legend(figure, analysis, [result.run.name for result in _trained(analysis)])
    yield _picture(
        figure,
        "variables",
        f"{primary.series.name} by the value of each variable. Points are runs with 95 % intervals; a thick bar is "
        "the mean in the table below; the dashed line is the control.",
    )


def _loss(analysis: Analysis) -> Iterator[Picture]:
    curves = {
        run.name: analysis.scores.training[run.name] for run in analysis.runs if run.name in analysis.scores.training
    }
    curves = {name: curve for name, curve in curves.items() if curve.losses or curve.validation}
    if not curves:
        return
    looks = _looks(analysis)
    figure = _figure(7.2, max(3.8, _legend_height(len(curves))))
    axes = figure.add_subplot()
    for name, curve in curves.items():
        look = looks[name]
        if curve.losses:
            steps, losses = zip(*curve.losses, strict=True)
            if len(curves) <= 4:
                axes.plot(steps, losses, color=look.colour, alpha=0.22, linewidth=0.8)
            axes.plot(
                *_thinned(steps, _smooth(losses)),
                color=look.colour,
                linestyle=look.line,
                linewidth=look.width,
                zorder=look.front,
            )
        points = [(_epoch_end(curve, epoch), loss) for epoch, loss in sorted(curve.validation.items())]
        if points:
            axes.plot(
                *zip(*points, strict=True),
                color=look.colour,
                marker=look.marker,
                markersize=6 if look.width > 1 else 3,
                markerfacecolor="white",
                markeredgewidth=1.6 if look.width > 1 else 0.8,
                linestyle="none" if curve.losses else look.line,
                zorder=look.front + 1,
            )
    stepped = any(curve.losses for curve in curves.values())
    axes.set_xlabel("step" if stepped else "epoch")
    axes.set_ylabel("loss (nats per token)")
    if _skewed([loss for curve in curves.values() for _, loss in curve.losses]):
        axes.set_yscale("log")
        # matplotlib writes powers of ten as mathematics, which is switched off here.
        axes.yaxis.set_major_formatter(lambda value, _place: f"{value:g}")
        axes.yaxis.set_minor_formatter(lambda _value, _place: "")
    _legend(figure, analysis, list(curves), control=False)
    yield _picture(
        figure,
        "loss",
        "Training loss, lightly smoothed (lines; as logged where faint), and validation loss at the end of each epoch"
        " (open markers).",
    )


def _by_epoch(analysis: Analysis) -> Iterator[Picture]:
    primary = analysis.primary
    if primary is None:
        return
    by_run: dict[str, list[Score]] = {}
    for score in analysis.everything:
        if score.series is primary.series and score.at.epoch is not None:
            by_run.setdefault(score.at.run, []).append(score)
    if max((len(scores) for scores in by_run.values()), default=0) < 2:
        return
    looks = _looks(analysis)
    figure = _figure(7.2, max(3.8, _legend_height(len(by_run))))
    axes = figure.add_subplot()
    _control_line(axes, analysis, vertical=False)
    few = len(by_run) <= _WITH_INTERVALS
    epochs = sorted({score.at.epoch for scores in by_run.values() for score in scores if score.at.epoch is not None})
    for spot, (name, scores) in zip(_spread(len(by_run), 0.24 if few else 0.0), by_run.items(), strict=True):
        look = looks[name]
        places = [float(score.at.epoch or 0) + spot for score in scores]
        means = [score.mean.mean for score in scores]
        axes.plot(places, means, color=look.colour, linestyle=look.line, linewidth=look.width, zorder=look.front)
        if few:
            for place, score in zip(places, scores, strict=True):
                _whisker(axes, score, place, look, vertical=True)
        else:
            axes.plot(places, means, look.marker, color=look.colour, markersize=4, zorder=look.front)
    axes.set_xticks(epochs)
    axes.set_xlim(epochs[0] - 0.4, epochs[-1] + 0.4)
    axes.set_xlabel("epoch (as in RUN@EPOCH; the first is 0)")
    axes.set_ylabel(_metric_label(analysis))
    _legend(figure, analysis, list(by_run))
    yield _picture(
        figure,
        "epochs",
        f"{primary.series.name} after each epoch; the dashed line is the control"
        + (
            ". Whiskers are 95 % intervals; runs stand side by side so that they can be told apart."
            if few
            else ", the band its 95 % interval. Intervals of so many runs would hide the lines; see the tables."
        ),
    )


def _looks(analysis: Analysis) -> dict[str, _Look]:
    others = [run.name for run in analysis.runs if run.kind != "control"]
    best = analysis.best.run.name if analysis.best else None
    looks = {run.name: _Look(_CONTROL, "o", "--", 1.4, 5) for run in analysis.runs if run.kind == "control"}
    for index, name in enumerate(others):
        turn = index // len(_COLOURS) % len(_LINES)
        colour = _COLOURS[index % len(_COLOURS)]
        looks[name] = _Look(colour, _MARKERS[turn], _LINES[turn], 1.8, 4)
        if len(others) > FEW:
            looks[name] = _Look(_COLOURS[0], "o", "-", 2.2, 6) if name == best else _Look(_GREY, "o", "-", 0.8, 3)
    return looks


def _legend(figure: Any, analysis: Analysis, names: Sequence[str], *, control: bool = True) -> None:
    """Set a legend beside the axes, in the order of the table; beyond 20 runs only the best is named."""
    from matplotlib.lines import Line2D

    looks = _looks(analysis)
    best = analysis.best.run.name if analysis.best else None
    grey = sum(looks[name].colour == _GREY for name in names)
    shown = [name for name in names if not grey or name == best]
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle=look.line, linewidth=look.width, label=name)
        for name, look in ((name, looks[name]) for name in shown)
    ]
    if grey:
        handles.append(Line2D([], [], color=_GREY, linewidth=0.8, label=f"{grey} other runs"))
    if control and analysis.control is not None:
        handles.append(Line2D([], [], color=_CONTROL, linestyle="--", linewidth=1.4, label=analysis.control.run))
    figure.legend(handles=handles, loc="outside right upper", handlelength=2.6)


def _legend_height(runs: int) -> float:
    """Return the inches that a legend of so many runs needs."""
    return 0.6 + 0.2 * (runs + 1 if runs <= FEW else 3)


def _control_line(axes: Any, analysis: Analysis, *, vertical: bool) -> None:
    score = next(
        (result.score for result in analysis.results if result.score and analysis.control == result.score.at), None
    )
    if score is None:
        return
    line, band = (axes.axvline, axes.axvspan) if vertical else (axes.axhline, axes.axhspan)
    line(score.mean.mean, color=_CONTROL, linestyle="--", linewidth=1.2, zorder=2)
    if score.mean.interval is not None:
        band(score.mean.interval.low, score.mean.interval.high, color=_CONTROL, alpha=0.07, linewidth=0, zorder=1)


def _whisker(axes: Any, score: Score, place: float, look: _Look, *, vertical: bool) -> None:
    mean, interval = score.mean.mean, score.mean.interval
    ends = None if interval is None else [[max(0.0, mean - interval.low)], [max(0.0, interval.high - mean)]]
    x, y = (place, mean) if vertical else (mean, place)
    axes.errorbar(
        [x],
        [y],
        **{"yerr" if vertical else "xerr": ends},
        color=look.colour,
        marker=look.marker,
        markersize=6 if look.width > 1 else 3,
        elinewidth=min(look.width, 1.6),
        capsize=0,
        linestyle="none",
        zorder=look.front + 1,
    )


def _trained(analysis: Analysis) -> list[Result]:
    return [result for result in analysis.results if result.score is not None and result.run.kind == "train"]


def _label(result: Result) -> str:
    return at_text(result.score.at) if result.score is not None else result.run.name


def _metric_label(analysis: Analysis) -> str:
    assert analysis.primary is not None
    unit = "share right" if analysis.primary.series.binary else "mean score"
    return f"{analysis.primary.series.name}: {unit}"


def _spread(count: int, width: float) -> list[float]:
    """Return places around 0 for things that stand side by side."""
    if count < 2:
        return [0.0] * count
    return [width * (index / (count - 1) - 0.5) for index in range(count)]


def _smooth(values: Sequence[float]) -> list[float]:
    """Return a centred running mean over about a thirtieth of the curve, which shifts nothing in time."""
    half = max(1, len(values) // 60)
    means = []
    for index in range(len(values)):
        reach = min(half, index, len(values) - 1 - index)
        window = values[index - reach : index + reach + 1]
        means.append(sum(window) / len(window))
    return means


def _thinned(steps: Sequence[int], values: Sequence[float], most: int = 600) -> tuple[list[int], list[float]]:
    """Return at most about 600 points: more than a figure has room for, few enough for a small file."""
    every = max(1, len(steps) // most)
    keep = sorted({*range(0, len(steps), every), len(steps) - 1})
    return [steps[index] for index in keep], [values[index] for index in keep]


def _epoch_end(curve: Training, epoch: int) -> float:
    if epoch in curve.ends:
        return float(curve.ends[epoch])
    if not curve.losses:
        return float(epoch)
    return float(curve.losses[-1][0]) * (epoch + 1) / (max(curve.validation) + 1)


def _skewed(values: Sequence[float]) -> bool:
    """Tell whether a logarithmic axis shows more: the losses span a factor of thirty."""
    return bool(values) and min(values) > 0 and max(values) / min(values) > 30


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _picture(figure: Any, name: str, caption: str) -> Picture:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    png, svg = io.BytesIO(), io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(png, format="png", dpi=DPI, metadata={"Software": None})
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    return Picture(name, caption, png.getvalue(), svg.getvalue())
