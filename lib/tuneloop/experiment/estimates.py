"""Estimates that learn: what jobs of an experiment did cost corrects what is reckoned for the others. Pure."""

from collections.abc import Mapping
from dataclasses import replace

from tuneloop.experiment.work import Estimate, JobKey, Usage, evaluation_of

_MARGIN = 1.1  # on the memory of a job that never ran


def corrected(reckoned: Mapping[JobKey, Estimate], seen: Mapping[str, Usage]) -> dict[JobKey, Estimate]:
    """Return the estimates of one worker's jobs, given what earlier attempts of some of them used.

    A job that ran before costs what it did cost. Another one costs what is reckoned, times how much those that ran
    cost more or less than was reckoned for them: their time in sum, and of their memory the worst. An evaluation
    learns from those of its own name where there are any, since one task is no measure of another.
    """
    ran: dict[str | None, list[tuple[Estimate, Usage]]] = {}
    for key in reckoned.keys() & seen.keys():
        ran.setdefault(evaluation_of(key), []).append((reckoned[key], seen[key]))
    everything = [pair for pairs in ran.values() for pair in pairs]
    found = {}
    for key, estimate in reckoned.items():
        known = ran.get(evaluation_of(key), everything)
        found[key] = _measured(estimate, seen[key]) if key in seen else _scaled(estimate, known)
    return found


def _measured(estimate: Estimate, used: Usage) -> Estimate:
    return replace(
        estimate,
        seconds=used.wall_s,
        memory_mb=int(used.peak_memory_mb) + 1,
        basis="measured in an earlier attempt of the job",
    )


def _scaled(estimate: Estimate, known: list[tuple[Estimate, Usage]]) -> Estimate:
    expected = sum(reckoned.seconds for reckoned, _ in known)
    if not known or expected <= 0:
        return estimate
    time = sum(used.wall_s for _, used in known) / expected
    memory = _MARGIN * max(used.peak_memory_mb / max(1, reckoned.memory_mb) for reckoned, used in known)
    jobs = "1 job" if len(known) == 1 else f"{len(known)} jobs"
    return replace(
        estimate,
        seconds=round(estimate.seconds * time, 1),
        memory_mb=int(estimate.memory_mb * memory) + 1,
        basis=f"{estimate.basis}; corrected by {jobs} of this experiment: time x {time:.2g}, memory x {memory:.2g}",
    )
