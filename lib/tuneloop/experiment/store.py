"""The jobs as scaffolded: `.tuneloop/jobs/<worker>.json`, one file a worker, replaced whole."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tuneloop.documents.errors import InputError, Problem
from tuneloop.documents.files import write_text
from tuneloop.experiment.layout import Layout
from tuneloop.experiment.work import COLLECT, JobKey, JobSpec, Need, Shape, evaluation_of, to_json

_SCHEMA = "tuneloop.jobs/1"


@dataclass(frozen=True)
class Stored:
    """One worker's jobs, and the stamp of the design that each was scaffolded from."""

    jobs: tuple[JobSpec, ...]
    stamps: Mapping[str, str]  # by job key
    setups: Mapping[str, str] = field(default_factory=dict)  # likewise: of what the cluster profile put into its script


def write_jobs(layout: Layout, worker: str, stored: Stored) -> bool:
    value = {
        "schema": _SCHEMA,
        "stamps": dict(stored.stamps),
        "setups": dict(stored.setups),
        "jobs": [to_json(job) for job in stored.jobs],
    }
    return write_text(layout.jobs / f"{worker}.json", json.dumps(value, indent=0) + "\n")


def read_jobs(layout: Layout) -> dict[str, Stored]:
    """Return all scaffolded jobs by worker. Raises InputError for a file that is not ours."""
    found = {}
    if layout.jobs.is_dir():
        for path in sorted(layout.jobs.glob("*.json")):
            try:
                value = json.loads(path.read_bytes())
                jobs = tuple(_job(item) for item in value["jobs"])
                found[path.stem] = Stored(jobs, value["stamps"], value.get("setups", {}))
            except (ValueError, KeyError, TypeError):
                hint = "delete it and scaffold again; results are kept"
                raise InputError(Problem("not a list of jobs", path, hint=hint)) from None
    return found


def all_specs(stored: Mapping[str, Stored]) -> Sequence[JobSpec]:
    """Return all jobs, each after the ones it needs: training, evaluations, collecting."""
    jobs = [job for item in stored.values() for job in item.jobs]
    return sorted(jobs, key=lambda job: (job.key == COLLECT, evaluation_of(job.key) is not None))


def _job(item: dict[str, object]) -> JobSpec:
    # By hand: pydantic takes ten times as long, and `status` reads thousands.
    shape, needs = item.pop("shape"), item.pop("needs")
    assert isinstance(shape, dict)
    assert isinstance(needs, list)
    key = JobKey(str(item.pop("key")))
    return JobSpec(
        key=key,
        needs=tuple(Need(JobKey(need["job"]), need["when"], need.get("experiment")) for need in needs),
        makes=tuple(item.pop("makes")),  # type: ignore[arg-type]
        shape=Shape(**shape),
        **item,  # type: ignore[arg-type]
    )
