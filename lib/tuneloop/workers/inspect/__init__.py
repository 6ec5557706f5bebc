"""inspect-ai: evaluates a model folder with a task and reads the log.

Light to import; every verb loads what it needs. `prepare`, `eval` and `verify` are steps of a job's script.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from tuneloop.experiment.work import Check, Estimate, JobKey, Row, Scaffolded
from tuneloop.workers import Order

__all__ = ["worker"]


class InspectWorker:
    name = "inspect"
    stage: Literal["train", "evaluate"] = "evaluate"
    module = "tuneloop.workers.inspect"

    def versions(self) -> Mapping[str, str]:
        from tuneloop.workers.inspect.checks import versions

        return versions()

    def scaffold(self, order: Order) -> Scaffolded:
        from tuneloop.workers.inspect.scaffold import scaffold

        return scaffold(order)

    def estimate(self, order: Order) -> Mapping[JobKey, Estimate]:
        from tuneloop.workers.inspect.scaffold import estimates

        return estimates(order)

    def checks(self, order: Order) -> Sequence[Check]:
        from tuneloop.workers.inspect.checks import checks

        return checks(order)

    def rows(self, order: Order) -> Sequence[Row]:
        from tuneloop.workers.inspect.rows import rows

        return rows(order)


worker = InspectWorker()
