"""What a plan costs, by the prices of the clusters' profiles: estimated hours times what an hour costs."""

from collections.abc import Sequence
from dataclasses import dataclass

from tuneloop.documents.config import Configuration
from tuneloop.experiment.work import JobSpec


@dataclass(frozen=True)
class Cost:
    """The estimate for one cluster. Hours are those of single GPUs and processors."""

    cluster: str
    gpu_hours: float
    cpu_hours: float
    amount: float
    currency: str

    def __str__(self) -> str:
        hours = f"{self.gpu_hours:.2f} GPU hours, {self.cpu_hours:.2f} CPU hours"
        return f"{self.amount:.2f} {self.currency}".strip() + f" on {self.cluster} ({hours})"


def costs(jobs: Sequence[JobSpec], configuration: Configuration) -> list[Cost]:
    """Return what jobs cost on each cluster whose profile has prices."""
    found = []
    for name, profile in configuration.config.clusters.items():
        prices = profile.prices
        mine = [job for job in jobs if job.shape.cluster == name]
        if mine and (prices.gpu_hour or prices.cpu_hour):
            gpu_hours = sum(_hours(job) * job.shape.gpus for job in mine)
            cpu_hours = sum(_hours(job) * job.shape.cpus for job in mine)
            amount = gpu_hours * prices.gpu_hour + cpu_hours * prices.cpu_hour
            found.append(Cost(name, gpu_hours, cpu_hours, amount, prices.currency))
    return found


def _hours(job: JobSpec) -> float:
    """Return the hours of all nodes of a job."""
    return job.seconds / 3600 * job.shape.nodes
