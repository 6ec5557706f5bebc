"""Configuration: `tuneloop.yaml` at a project's root over `~/.config/tuneloop/config.yaml`, each value with its origin.

The presence of `tuneloop.yaml` marks a project. Nothing else reads these files.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from tuneloop.documents.errors import MissingError, did_you_mean
from tuneloop.documents.files import read_text, user_path
from tuneloop.documents.schema import Schema, validate
from tuneloop.documents.yamltext import lines_of, load_yaml

PROJECT_FILE = "tuneloop.yaml"


class Limits(Schema):
    """What a site allows, as far as a profile knows."""

    array: int = Field(default=1000, ge=1, description="jobs in one array; SLURM's own default allows 1,000")
    jobs: int | None = Field(default=None, ge=1, description="jobs of one user in the queue at once")
    running: int | None = Field(default=None, ge=1, description="jobs of one array that run at once")
    minutes: int | None = Field(default=None, ge=1, description="the longest time limit of a job")


class Prices(Schema):
    """What an hour costs, for the estimate of a plan."""

    gpu_hour: float = Field(default=0, ge=0)
    cpu_hour: float = Field(default=0, ge=0)
    currency: str = ""


class Mail(Schema):
    """The scheduler's own mail."""

    to: str
    on: list[Literal["end", "fail", "begin", "requeue", "time-limit-80"]] = ["end", "fail"]


class Profile(Schema):
    """A cluster profile: where and with what a site runs jobs."""

    executor: Literal["local", "slurm"] = "local"
    slots: int | None = Field(
        default=None, ge=1, description="local: jobs at once; default one per GPU, else one per core up to 4"
    )
    python: str | dict[str, str] | None = Field(
        default=None, description="the work environment's interpreter: one for all workers, or one per worker"
    )
    account: str | None = None
    partition: str | None = None
    qos: str | None = None
    constraint: str | None = Field(default=None, description="features that a node must have")
    gpus: int = Field(default=0, ge=0, description="GPUs in a node; 0 for jobs of the processor alone")
    gpu_type: str | None = Field(default=None, description="as the site calls it in `--gpus-per-node=TYPE:N`")
    cpus: int = Field(default=4, ge=1, description="processors of a job")
    memory_mb: int | None = Field(default=None, ge=1, description="memory of a job in each node; else as estimated")
    modules: list[str] = Field(default=[], description="loaded before a job starts")
    source: list[str] = Field(default=[], description="shell files that are read before a job starts")
    environment: dict[str, str] = Field(default={}, description="variables of every job; never secrets")
    ssh: str | None = Field(default=None, description="the host to reach the cluster by, as OpenSSH knows it")
    ssh_config: str | None = Field(default=None, description="an OpenSSH configuration of its own")
    scratch: str | None = Field(default=None, description="over SSH: the folder there that holds the experiments")
    models: str | None = Field(default=None, description="over SSH: a folder there with models that need no copying")
    limits: Limits = Limits()
    prices: Prices = Prices()
    mail: Mail | None = None
    signal_s: int = Field(default=120, ge=1, description="seconds before the time limit at which a job saves and ends")

    def interpreter(self, worker: str) -> str | None:
        return self.python.get(worker) if isinstance(self.python, dict) else self.python


class Experiments(Schema):
    root: str = Field(
        default=".", description="the folder that `tuneloop status` searches, from the file that names it"
    )


class Config(Schema):
    clusters: dict[str, Profile] = {}
    experiments: Experiments = Experiments()


@dataclass(frozen=True)
class Origin:
    """A configured value and the file it came from."""

    key: str
    value: Any
    origin: str


@dataclass(frozen=True)
class Configuration:
    config: Config
    origins: tuple[Origin, ...]
    root: Path

    def profile(self, name: str) -> Profile:
        """Return a cluster profile. Raises MissingError with the known names."""
        if name in self.config.clusters:
            return self.config.clusters[name]
        if name == "local":
            return Profile()
        known = sorted({"local", *self.config.clusters})
        raise MissingError(f"no cluster profile `{name}`", hint=did_you_mean(name, known))


def find_project(start: Path) -> Path | None:
    """Return the nearest folder upwards that holds `tuneloop.yaml`."""
    here = start.resolve()
    return next((folder for folder in (here, *here.parents) if (folder / PROJECT_FILE).is_file()), None)


def load(start: Path) -> Configuration:
    """Return the configuration that holds in the folder `start`. Raises InputError with every fault of a file."""
    project = find_project(start)
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    files = [Path(base) / "tuneloop" / "config.yaml"]
    if project is not None:
        files.append(project / PROJECT_FILE)
    merged: dict[str, Any] = {}
    origin: dict[str, str] = {}
    root = project or start
    for file in files:
        if not file.is_file():
            continue
        text = read_text(file)
        value = load_yaml(text, file) or {}
        read = validate(Config, value, file, lines_of(text))
        _merge(merged, value, origin, str(file))
        if "experiments" in value:
            root = file.parent / user_path(read.experiments.root)
    config = validate(Config, merged)
    origins = [Origin(key, item, origin.get(key, "default")) for key, item in _flat(config.model_dump())]
    return Configuration(config, tuple(origins), root)


def _merge(into: dict[str, Any], new: dict[str, Any], origin: dict[str, str], source: str, prefix: str = "") -> None:
    for key, value in new.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value, origin, source, f"{path}.")
            continue
        into[key] = value
        for leaf, _ in _flat({path: value}):
            origin[leaf] = source


def _flat(value: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, item in value.items():
        path = f"{prefix}{key}"
        found += _flat(item, f"{path}.") if isinstance(item, dict) and item else [(path, item)]
    return found
