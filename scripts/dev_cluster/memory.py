"""Memory limits by control groups of version 1, in a group of the cluster's own.

SLURM names the groups of a node after the node, so two clusters on one machine would share them; a mount point
made of links into a group a cluster keeps them apart.
"""

import os
from contextlib import suppress
from pathlib import Path

from dev_cluster.settings import ClusterError

_ROOT = Path("/sys/fs/cgroup")
_CONTROLLERS = ("memory", "freezer")


def mount_point(folder: Path) -> Path:
    return folder / "cgroup"


def check() -> None:
    """Raise ClusterError where the machine or the user cannot limit memory."""
    if not all(os.access(_ROOT / name / "tasks", os.W_OK) for name in _CONTROLLERS):
        message = "--memory-limits needs root and control groups of version 1, memory and freezer"
        raise ClusterError(message, "do without, by --no-memory-limits", 3)


def make_groups(folder: Path, port: int) -> None:
    mount_point(folder).mkdir(exist_ok=True)
    for controller in _CONTROLLERS:
        link = mount_point(folder) / controller
        link.unlink(missing_ok=True)
        _group(controller, port).mkdir(exist_ok=True)
        link.symlink_to(_group(controller, port))


def remove_groups(port: int) -> None:
    """Remove the groups that are empty, as all are once the jobs have ended."""
    for controller in _CONTROLLERS:
        for path, _, _ in os.walk(_group(controller, port), topdown=False):
            with suppress(OSError):
                Path(path).rmdir()


def _group(controller: str, port: int) -> Path:
    return _ROOT / controller / f"tuneloop-{port}"
