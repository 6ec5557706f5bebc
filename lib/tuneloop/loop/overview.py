"""The generated block `design`: the runs, what they will cost, and the tools that do the work."""

from collections.abc import Mapping, Sequence
from typing import Any

from tuneloop.documents.logs import duration
from tuneloop.experiment.read import Experiment
from tuneloop.experiment.work import Estimate, JobSpec, evaluation_of
from tuneloop.jobs.tables import markdown
from tuneloop.loop.scaffold import ScaffoldPlan

_MOST_ROWS = 60


def design_block(experiment: Experiment, plan: ScaffoldPlan) -> str:
    return "\n\n".join(
        [
            _runs(experiment),
            "### Estimates\n\n" + markdown(["", "jobs", "steps", "tokens", "memory", "time", "disk"], _costs(plan)),
            *sorted({f"Basis: {item.basis}." for item in plan.estimates.values() if item.basis}),
            "### Tools\n\n" + markdown(["tool", "package", "version", "used by"], _tools(plan)),
        ]
    )


def _runs(experiment: Experiment) -> str:
    names = list(dict.fromkeys(key for run in experiment.runs for key in run.cell))
    rows = [
        [
            run.name,
            run.kind,
            "" if run.seed is None else str(run.seed),
            *(_show(run.cell.get(name, "")) for name in names),
        ]
        for run in experiment.runs[:_MOST_ROWS]
    ]
    table = markdown(["run", "kind", "seed", *names], rows)
    rest = len(experiment.runs) - len(rows)
    return f"{table}\n\n{rest} more runs; `tuneloop explain` lists them." if rest > 0 else table


def _show(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _costs(plan: ScaffoldPlan) -> list[list[str]]:
    training = [job for job in plan.jobs if evaluation_of(job.key) is None and job.run is not None]
    evaluations = [job for job in plan.jobs if evaluation_of(job.key) is not None]
    rows = [_cost("training", training, plan.estimates), _cost("evaluation", evaluations, plan.estimates)]
    return [row for row in rows if row[1] != "0"]


def _cost(name: str, jobs: Sequence[JobSpec], estimates: Mapping[str, Estimate]) -> list[str]:
    known = [estimates[job.key] for job in jobs if job.key in estimates]
    steps = sum(item.steps or 0 for item in known)
    tokens = sum(item.tokens or 0 for item in known)
    return [
        name,
        str(len(jobs)),
        f"{steps:,}" if steps else "",
        f"{tokens:,}" if tokens else "",
        f"{max((item.memory_mb for item in known), default=0):,} MB each",
        duration(sum(item.seconds for item in known)),
        f"{sum(item.disk_mb for item in known):,.0f} MB",
    ]


def _tools(plan: ScaffoldPlan) -> list[list[str]]:
    rows = []
    for worker, packages in plan.versions.items():
        for package, version in packages.items():
            rows.append([worker, package, version, f"scaffold-{worker}, run-{worker}"])
    return rows
