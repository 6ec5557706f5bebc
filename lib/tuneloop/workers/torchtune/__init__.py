"""The worker for torchtune: supervised, preference, reinforcement and distillation runs, on one device or several.

Light: what needs torch or torchtune is imported by the verb that needs it. `prepare` and `verify` are the first
and the last step of a training script.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from tuneloop.experiment.work import Check, Estimate, JobKey, Row, Scaffolded
from tuneloop.workers import Order
from tuneloop.workers.models import Exported, ExportRequest, Sampled, SampleRequest

__all__ = ["TorchtuneWorker", "worker"]


class TorchtuneWorker:
    name: str = "torchtune"
    stage: Literal["train", "evaluate"] = "train"
    module: str = "tuneloop.workers.torchtune"

    def versions(self) -> Mapping[str, str]:
        from tuneloop.workers.torchtune.checks import versions

        return versions()

    def scaffold(self, order: Order) -> Scaffolded:
        from tuneloop.workers.torchtune.scaffold import scaffold

        return scaffold(order)

    def estimate(self, order: Order) -> Mapping[JobKey, Estimate]:
        from tuneloop.workers.torchtune.scaffold import estimate

        return estimate(order)

    def checks(self, order: Order) -> Sequence[Check]:
        from tuneloop.workers.torchtune.checks import checks

        return checks(order)

    def rows(self, order: Order) -> Sequence[Row]:
        from tuneloop.workers.torchtune.rows import rows

        return rows(order)

    def sample(self, request: SampleRequest) -> Sampled:
        from tuneloop.workers.torchtune.sampling import sample

        return sample(request)

    def smaller(self, order: Order) -> Mapping[str, Mapping[str, int]]:
        from tuneloop.workers.torchtune.smaller import smaller

        return smaller(order)

    def export(self, request: ExportRequest) -> Exported:
        from tuneloop.workers.torchtune.merging import export

        return export(request)


worker = TorchtuneWorker()
