"""What a cluster profile puts into scripts when they are scaffolded, against what it says when they are handed over.

Partition, memory and the like are read at each submission. What stands in the scripts is not, so an edit of those
keys would go unnoticed without this.
"""

from collections.abc import Sequence

from tuneloop.documents.config import Configuration, Profile
from tuneloop.documents.errors import InputError
from tuneloop.documents.shell import typed
from tuneloop.experiment.identity import digest
from tuneloop.experiment.read import Experiment
from tuneloop.experiment.store import read_jobs
from tuneloop.experiment.work import JobSpec
from tuneloop.loop.placement import named_at

_KEYS = "`ssh`, `source`, `modules`, `environment`, `python`, `cpus`, `gpus` or `limits.minutes`"


def setup_mark(profile: Profile, job: JobSpec) -> str:
    """Return the fingerprint of what a profile puts into the script of a job; no part of what decides its result."""
    own: list[object] = [profile.source, profile.modules, profile.environment, profile.interpreter(job.worker)]
    if profile.executor == "slurm":
        limit = profile.limits.minutes
        own += [profile.cpus, min(1, profile.gpus), limit if job.shape.minutes == limit else None]
    if profile.ssh is not None:
        own.append("ssh")  # scripts then name copies of what they read
    return digest(own)


def refuse_other_setup(experiment: Experiment, jobs: Sequence[JobSpec], configuration: Configuration) -> None:
    """Raise InputError for jobs whose scripts were written with another set-up than their profile has now.

    Experiments scaffolded before there was a fingerprint have none, and are taken as they are.
    """
    marks = {key: mark for stored in read_jobs(experiment.layout).values() for key, mark in stored.setups.items()}
    for job in jobs:
        cluster = job.shape.cluster
        if job.key in marks and marks[job.key] != setup_mark(configuration.profile(cluster), job):
            message = f"the profile `{cluster}` has changed since {job.key} was scaffolded: its {_KEYS}"
            hint = f"`tuneloop scaffold-experiment {typed(experiment.layout.folder)}`; results are kept"
            raise InputError(experiment.problem(named_at(experiment, cluster), message, hint))
