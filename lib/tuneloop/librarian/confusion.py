"""Which skill came first for which requests, counted and printed."""

from collections import Counter
from collections.abc import Iterable

from tuneloop.librarian.cases import Case
from tuneloop.librarian.ranking import Index, first

NOTHING = "nothing"


def confusion(cases: Iterable[Case], skills: Index) -> Counter[tuple[str, str]]:
    """Return how often a request for one skill went to which; NOTHING stands for no skill."""
    return Counter((case.expect or NOTHING, first(case.request, skills) or NOTHING) for case in cases)


def table(counts: Counter[tuple[str, str]]) -> str:
    """Return the counts as a table: a row for what was meant, a column (by its row's number) for what came first."""
    names = [*sorted({name for pair in counts for name in pair} - {NOTHING}), NOTHING]
    lines = [f"{'meant':24}" + "".join(f"{number:>4}" for number in range(1, len(names) + 1))]
    for number, name in enumerate(names, 1):
        row = "".join(f"{counts[name, other] or '.':>4}" for other in names)
        lines.append(f"{number:>2} {name:21}{row}")
    return "\n".join(lines)
