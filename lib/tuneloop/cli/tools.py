"""The names of the workers, for the commands that are made from them."""

from importlib.metadata import entry_points


def worker_names() -> list[str]:
    # Not through `tuneloop.workers`: its imports would double the time of `tuneloop --help`.
    return sorted({entry.name for entry in entry_points(group="tuneloop.workers")})
