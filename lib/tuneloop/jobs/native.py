"""Outside ids."""

from typing import NamedTuple


class Native(NamedTuple):
    """What a cluster calls a job; `task` is the place in an array."""

    cluster: str
    id: str
    task: int | None = None
