"""Writing the analysis folder: results, figures, report. The one module here that touches the disk."""

from pathlib import Path

from tuneloop.analysis import figures, markdown, provenance, report, tables
from tuneloop.analysis.results import Analysis
from tuneloop.documents.files import write_bytes, write_text
from tuneloop.experiment.layout import Layout


def write(
    analysis: Analysis,
    layout: Layout,
    used: provenance.Used | None = None,
    compute: provenance.Compute | None = None,
) -> Path:
    """Write analysis/ and return the path of report.html. The same rows give the same bytes.

    `used` tells, by job, with which settings an evaluation was made, `compute` what its attempts cost.

    Files that stand already are replaced one by one, each whole; the reports come last.
    """
    table = tables.results_table(analysis)
    write_bytes(layout.analysis / "results.parquet", tables.parquet(table), sync=False)
    write_bytes(layout.analysis / "results.csv", tables.csv(table), sync=False)
    pictures = figures.draw(analysis)
    for picture in pictures:
        write_bytes(layout.figures / f"{picture.name}.png", picture.png, sync=False)
        write_bytes(layout.figures / f"{picture.name}.svg", picture.svg, sync=False)
    facts = provenance.gather(analysis.experiment) + provenance.settings(used or {})
    facts += provenance.compute(compute or {})
    captions = [(picture.name, picture.caption) for picture in pictures]
    write_text(layout.analysis / "report.md", markdown.render(analysis, captions, facts), sync=False)
    write_text(layout.report, report.render(analysis, pictures, facts), sync=False)
    return layout.report
