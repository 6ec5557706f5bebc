"""Outside ids."""

from typing import NamedTuple


class Native(NamedTuple):
    """What a cluster calls a job; `task` is the place in an array."""

    cluster: str
    id: str
    task: int | None = None

    @property
    def name(self) -> str:
        """The job as its scheduler's own commands take it: `12`, `12_3`."""
        return self.id if self.task is None else f"{self.id}_{self.task}"
