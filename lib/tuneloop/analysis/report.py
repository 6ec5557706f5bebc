"""The report as one HTML page: figures inlined, nothing loaded from outside, no script."""

import base64
from collections.abc import Sequence
from functools import cache
from typing import Any

from tuneloop.analysis.figures import Picture
from tuneloop.analysis.provenance import Facts
from tuneloop.analysis.results import Analysis
from tuneloop.analysis.view import sections
from tuneloop.analysis.visible import visible
from tuneloop.analysis.wording import answer, number


def render(analysis: Analysis, pictures: Sequence[Picture], provenance: Facts) -> str:
    """Return the page. Everything that comes from a design or a model is escaped."""
    design = analysis.experiment.design
    text: str = _template().render(
        design=design,
        answer=answer(analysis),
        sections=sections(analysis, [picture.name for picture in pictures], provenance),
        pictures={picture.name: picture for picture in pictures},
        binary=analysis.primary is not None and analysis.primary.series.binary,
    )
    return text


@cache
def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("tuneloop.analysis"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = visible
    environment.filters["number"] = number
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode()
    return environment.get_template("report.html.j2")
