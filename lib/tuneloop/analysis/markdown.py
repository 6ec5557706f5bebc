"""The report as Markdown, and the short table for `experiment_summary.md`. Pure.

Whatever comes from a design or a model is escaped: it can neither end a table cell nor become HTML or a marker.
"""

import re
from collections.abc import Iterator, Sequence

from tuneloop.analysis.provenance import Facts
from tuneloop.analysis.results import Analysis
from tuneloop.analysis.samples import Samples
from tuneloop.analysis.view import Cell, FigureRef, SampleList, Table, runs_table, sections
from tuneloop.analysis.visible import plain
from tuneloop.analysis.wording import answer, at_text, how_judged, number

_SHORT = 25  # lines of the table in experiment_summary.md
# An underscore inside a word and brackets around numbers mean nothing to Markdown and stay readable.
_SPECIAL = re.compile(r"([\\`*|~$#]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|\](?=[(\[:]))")


def render(analysis: Analysis, captions: Sequence[tuple[str, str]], provenance: Facts) -> str:
    """Return report.md; `captions` are (name, caption) of the figures, which lie in figures/."""
    design = analysis.experiment.design
    lines = [f"# {escape(design.name)}", "", f"**Question.** {escape(design.question)}", ""]
    if design.hypothesis:
        lines += [f"**Hypothesis.** {escape(design.hypothesis)}", ""]
    lines += [f"**Answer.** {escape(answer(analysis))}", ""]
    for section in sections(analysis, [name for name, _ in captions], provenance):
        lines += [f"## {section.heading}", ""]
        for text in section.before:
            lines += [escape(text), ""]
        for block in section.blocks:
            lines += [*_block(block, dict(captions)), ""]
        for text in section.after:
            lines += [escape(text), ""]
    return "\n".join(lines).rstrip() + "\n"


def summary_table(analysis: Analysis) -> str:
    """Return the answer, the table of runs and what the verdicts rest on, for a generated block."""
    table = runs_table(analysis)
    left = len(table.lines) - _SHORT
    short = Table(table.columns, table.numeric, table.lines[:_SHORT], table.head)
    lines = [escape(answer(analysis)), "", *_table(short)]
    if left > 0:
        lines += ["", f"{left:,} more runs stand in `analysis/report.html`."]
    judged = how_judged(analysis)
    return "\n".join([*lines, "", escape(" ".join(judged))] if judged else lines).rstrip() + "\n"


def escape(text: str) -> str:
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", line)


def _block(block: Table | FigureRef | SampleList, captions: dict[str, str]) -> Iterator[str]:
    if isinstance(block, Table):
        yield from _table(block)
    elif isinstance(block, FigureRef):
        caption = captions[block.name]
        yield f"![{escape(caption)}](figures/{block.name}.png)"
        yield ""
        yield escape(caption)
    else:
        yield from _samples(block.samples)


def _table(table: Table) -> Iterator[str]:
    yield f"| {' | '.join(escape(name) for name in table.columns)} |"
    yield f"|{'|'.join(' ---: ' if right else ' --- ' for right in table.numeric)}|"
    for line in table.lines:
        yield f"| {' | '.join(_cell(cell) for cell in line)} |"


def _cell(cell: Cell) -> str:
    text = f"**{escape(cell.text)}**" if cell.tone in {"better", "worse", "broken"} else escape(cell.text)
    return f"{text} ({escape(cell.note)})" if cell.note else text


def _samples(samples: Samples) -> Iterator[str]:
    control = samples.control
    columns = ["item", "change", "prompt", "target", *([at_text(control)] if control else []), at_text(samples.run)]
    yield f"| {' | '.join(escape(name) for name in columns)} |"
    yield f"|{'|'.join(' --- ' for _ in columns)}|"
    for sample in samples.shown:
        change = sample.change if control else ""
        cells = [sample.item, change, plain(sample.text.input), plain(sample.text.target)]
        if control:
            cells.append(f"{plain(sample.before)} ({number(sample.before_score)})")
        cells.append(f"{plain(sample.after)} ({number(sample.after_score)})")
        yield f"| {' | '.join(escape(cell) for cell in cells)} |"
