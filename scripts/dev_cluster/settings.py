"""What a development cluster is made of, as options and on disk, and what it refuses."""

import dataclasses
import json
import os
import re
from pathlib import Path
from typing import Any

# A unix socket has a path of at most 107 characters; the longest below the folder is `munge/socket`.
_LONGEST_FOLDER = 90
_FIRST_NODE = 10  # nodes listen from the base port plus this, plus their number
_MARK = "settings.json"


class ClusterError(Exception):
    """What went wrong, what to do next, and the exit code that says which kind of fault it is."""

    def __init__(self, message: str, hint: str = "", code: int = 1) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code


class SilentError(ClusterError):
    """A daemon or a node that does not serve: its log in the cluster's folder says why."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """The options of a cluster. Memory is in MB and, like processors and GPUs, claimed by each node."""

    name: str = "dev"
    port: int = 17000
    nodes: int = 3
    cpus: int = 8
    memory: int = 32000
    gpus: int = 2
    accounting: bool = True
    memory_limits: bool = False
    min_job_age: int = 300
    kill_wait: int = 2

    @property
    def node_names(self) -> list[str]:
        return [f"n{number}" for number in range(1, self.nodes + 1)]

    @property
    def ports(self) -> dict[str, int]:
        """Return the port of each daemon that listens on one, all of them on 127.0.0.1."""
        found = {"slurmctld": self.port}
        if self.accounting:
            found |= {"slurmdbd": self.port + 1, "mariadbd": self.port + 2}
        return found | {f"slurmd:n{i}": self.port + _FIRST_NODE + i for i in range(1, self.nodes + 1)}


def default_folder() -> Path:
    state = os.environ.get("XDG_STATE_HOME")
    return Path(state, "tuneloop-slurm") if state else Path(f"/tmp/tuneloop-slurm-{os.getuid()}")


def load(folder: Path) -> Settings | None:
    """Return what the cluster in `folder` was last brought up with, None where there is none."""
    try:
        return Settings(**json.loads((folder / _MARK).read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        message = f"cannot read {folder / _MARK}: {error}"
        raise ClusterError(message, "remove that file, then try `up` again", 2) from None


def save(folder: Path, settings: Settings) -> None:
    beside = folder / f"{_MARK}.new"
    beside.write_text(json.dumps(dataclasses.asdict(settings)))
    beside.rename(folder / _MARK)


def chosen(before: Settings | None, options: dict[str, Any]) -> Settings:
    """Return the settings of `before`, or the defaults, with the options that were given."""
    given = {key: value for key, value in options.items() if value is not None}
    settings = dataclasses.replace(before or Settings(), **given)
    _refuse(_faults(settings))
    return settings


def _faults(settings: Settings) -> list[str]:
    found = []
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", settings.name):
        found.append(f"--name {settings.name!r}: small letters, digits and _ only, as in `dev_2`")
    last = settings.port + _FIRST_NODE + settings.nodes
    if not (settings.port >= 1024 and last <= 65535):
        found.append(f"--port {settings.port}: ports up to {last} would be used; they must lie in 1024 to 65535")
    for key, least in {"nodes": 1, "cpus": 1, "memory": 1, "gpus": 0, "min_job_age": 2, "kill_wait": 1}.items():
        if (value := getattr(settings, key)) < least:
            found.append(f"--{key.replace('_', '-')} {value}: at least {least}")
    return found


def check_folder(folder: Path) -> None:
    """Raise ClusterError for a folder whose name a config cannot carry, or that is somebody else's."""
    found = []
    if not re.fullmatch(r"[A-Za-z0-9/._-]+", str(folder)):
        found.append(f"--folder {str(folder)!r}: letters, digits, `/._-` only, since it stands in SLURM's configs")
    if len(str(folder)) > _LONGEST_FOLDER:
        found.append(f"--folder {folder}: at most {_LONGEST_FOLDER} characters, since sockets lie in it")
    _refuse(found)
    if not folder.exists():
        return
    if not folder.is_dir() or folder.stat().st_uid != os.getuid():
        raise ClusterError(f"{folder} is not a folder of yours", "name another one with --folder", 2)
    foreign = {path.name for path in folder.iterdir()} - {"lock", f"{_MARK}.new"}
    if foreign and _MARK not in foreign:
        raise ClusterError(f"{folder} holds something else", "name another folder with --folder", 2)


def _refuse(faults: list[str]) -> None:
    if faults:
        raise ClusterError("\n".join(faults), "`slurm-dev-cluster up --help` lists the options", 2)
