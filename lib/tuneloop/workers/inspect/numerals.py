"""Numbers in answers: the last one that a text says, and whether two are within a tolerance of each other.

Reckons in decimals, so that 1.1 is within 0.1 of 1.0; in binary fractions it is not.
"""

import re
from decimal import Decimal, localcontext
from typing import Any

from tuneloop.workers.inspect.columns import empty_fault, shown

# A comma groups thousands; an exponent has three digits at most, so that no answer makes a number of a million digits.
_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)"
_NUMERAL = re.compile(
    rf"(?<![\w.])[-+\u2212]?(?:{_DIGITS}(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d{{1,3}}(?!\d))?",
    re.ASCII,
)
_PRECISION = 400  # digits, more than a numeral of any sense has


def last_numeral(text: str) -> str | None:
    """Return the last number in a text as it is written there; None where there is none.

    A sign counts where it does not join two things: `10-5` ends in 5.
    """
    found = _NUMERAL.findall(text)
    return found[-1] if found else None


def number_of(value: Any) -> Decimal | None:
    """Return a number, or a text that is one numeral and nothing else, as a decimal; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    text = repr(value) if isinstance(value, int | float) else value.strip()
    if _NUMERAL.fullmatch(text) is None:  # refuses what is infinite or not a number, too
        return None
    return Decimal(text.replace(",", "").replace("\u2212", "-"))


def number_fault(value: Any) -> str | None:
    """Return what is wrong with a value that has to be a number, or the text of one."""
    return empty_fault(value) or (None if number_of(value) is not None else f"is not a number: {shown(value)}")


def within(answer: Decimal, target: Decimal, absolute: float, relative: float) -> bool:
    """Return whether the answer is at most `absolute`, or `relative` times the target's size, away from the target."""
    with localcontext(prec=_PRECISION):
        allowed = max(Decimal(repr(absolute)), Decimal(repr(relative)) * abs(target))
        return abs(answer - target) <= allowed
