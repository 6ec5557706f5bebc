"""What a job asks for, given what it is expected to cost: with room to spare, and rounded.

Jobs of equal shape travel as one array, so two estimates that differ by a hair must not make two shapes.
"""

from tuneloop.experiment.work import Estimate, Machine, Shape

_MEMORY_ROOM = 1.25
_TIME_ROOM = 4.0  # a job that reaches its limit costs more than one that ends early
_LEAST_MB = 256
_LEAST_MINUTES = 15


def shape_of(
    cost: Estimate, machine: Machine, *, nodes: int = 1, gpus: int | None = None, resumes_after: float | None = None
) -> Shape:
    """Return what to ask for; `gpus` in each node, where it is not the machine's own number.

    `resumes_after` are the seconds of what a job must do at once to go on in a later one; None: all of it.
    """
    return Shape(
        machine.cluster,
        nodes=nodes,
        gpus=machine.gpus if gpus is None else gpus,
        cpus=machine.cpus,
        memory_mb=_memory(cost.memory_mb * _MEMORY_ROOM),
        minutes=within(machine, _minutes(cost.seconds * _TIME_ROOM / 60), resumes_after or cost.seconds),
    )


def within(machine: Machine, minutes: int, at_once: float) -> int:
    """Return minutes to ask for: the site's limit where they are more and `at_once`, in seconds, fits into it.

    What does not fit asks for as much as it wants, and is refused when it is handed over.
    """
    limit = machine.site.minutes
    return limit if limit is not None and limit < minutes and at_once <= limit * 60 else minutes


def _memory(wanted: float) -> int:
    """Round up to an eighth of the power of two below, 256 MB at least: an eighth too much at most."""
    whole = -int(-wanted // 1)
    step = max(_LEAST_MB, (1 << whole.bit_length()) // 16)
    return max(1, -(-whole // step)) * step


def _minutes(wanted: float) -> int:
    """Round up on a ladder: 15, 30, 60, 90, 120, 180, 240, 360 …; beyond an hour half too much at most."""
    rung = _LEAST_MINUTES
    while rung < wanted:
        rung *= 2
    between = rung * 3 // 4
    return between if rung > 60 and wanted <= between else rung
