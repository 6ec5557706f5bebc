"""How often a cluster is asked: at most once in 10 s for a user, and ever less often while nothing changes.

Numbers in seconds. Sites complain of programs that ask more often; a queue of thousands is slow enough to ask.
"""

from collections.abc import Callable

FLOOR_S = 10.0  # between two rounds, whoever asks
FIRST_S = 12.0  # the pause after a change
MOST_S = 300.0
_QUIET = 1.5
_SILENT = 2.0
_JITTER = 0.1  # a tenth more or less, so that many monitors do not ask at the same moment


def next_pause(pause: float, *, answered: bool, changed: bool) -> float:
    """Return the pause after a round, given the one before it."""
    if not answered:
        return min(MOST_S, pause * _SILENT)
    return FIRST_S if changed else min(MOST_S, pause * _QUIET)


def jittered(pause: float, chance: Callable[[], float]) -> float:
    """Return the pause with its jitter; `chance` returns a number from 0 to 1."""
    return max(FLOOR_S, min(MOST_S, pause * (1 - _JITTER + 2 * _JITTER * chance())))
