"""Reading an experiment: the document, its design and the runs it stands for."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tuneloop.documents.errors import InputError, Problem, did_you_mean
from tuneloop.documents.files import read_text, user_path
from tuneloop.documents.frontmatter import StrictYAMLHandler, parse
from tuneloop.documents.shell import typed
from tuneloop.documents.yamltext import lines_of
from tuneloop.experiment.adjusted import adjusted, read_adjustments
from tuneloop.experiment.design import Design, faults
from tuneloop.experiment.expand import Run, expand
from tuneloop.experiment.layout import Layout

Lines = dict[tuple[str | int, ...], int]


@dataclass(frozen=True)
class Experiment:
    layout: Layout
    design: Design
    lines: Lines  # of every key of the design, for errors
    source: Path | None = None  # where the design stands, when it is not in the summary yet
    expanded: Sequence[Run] | None = None  # as `check_design` returned them, and as they were adjusted since

    @cached_property
    def runs(self) -> list[Run]:
        return expand(self.design) if self.expanded is None else list(self.expanded)

    def run(self, name: str) -> Run:
        """Return a run by name. Raises InputError with the nearest one."""
        for run in self.runs:
            if run.name == name:
                return run
        raise InputError(f"no run `{name}`", hint=did_you_mean(name, [run.name for run in self.runs]))

    def path(self, text: str) -> Path:
        """Return a path of the design as an absolute one; relative ones start at the experiment's folder."""
        return (self.layout.folder / user_path(text)).resolve()

    def problem(self, at: tuple[str | int, ...], message: str, hint: str | None = None) -> Problem:
        """Return a fault of the design with its line."""
        return Problem(
            message, self.source or self.layout.summary, _line(at, self.lines), ".".join(map(str, at)) or None, hint
        )


def read_experiment(folder: Path) -> Experiment:
    """Return the experiment in `folder`. Raises InputError with every fault of its design."""
    layout = Layout(folder.resolve())
    if not layout.summary.is_file():
        raise InputError(
            Problem(
                "no experiment here",
                folder,
                hint=f"`tuneloop design-experiment {typed(folder)} --help` makes one",
            )
        )
    text = read_text(layout.summary)
    document = parse(text, Design, layout.summary)
    head, _ = StrictYAMLHandler(layout.summary).split(text)
    lines = lines_of(head, first_line=2)
    runs = adjusted(check_design(document.data, layout.summary, lines), read_adjustments(layout))
    return Experiment(layout, document.data, lines, expanded=runs)


def check_design(design: Design, source: Path | None, lines: Lines) -> list[Run]:
    """Return the runs, or raise one InputError with every fault between the keys, and with a clash of run names."""
    found = [
        Problem(fault.message, source, _line(fault.at, lines), ".".join(map(str, fault.at)), fault.hint)
        for fault in faults(design)
    ]
    if found:
        raise InputError(found)
    try:
        return expand(design)
    except InputError as error:
        line = _line(("runs",), lines)
        raise InputError([Problem(item.message, source, line, "runs", item.hint) for item in error.problems]) from None


def _line(at: tuple[str | int, ...], lines: Lines) -> int | None:
    for end in range(len(at), 0, -1):
        if at[:end] in lines:
            return lines[at[:end]]
    return None
