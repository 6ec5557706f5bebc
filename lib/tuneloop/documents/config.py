"""Configuration: `tuneloop.yaml` at a project's root over `~/.config/tuneloop/config.yaml`, each value with its origin.

The presence of `tuneloop.yaml` marks a project. Nothing else reads these files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from tuneloop.documents.errors import MissingError, Problems, did_you_mean
from tuneloop.documents.files import read_text, user_path
from tuneloop.documents.places import PROJECT_FILE, configuration_files, find_project, user_file
from tuneloop.documents.profile import Profile, ProfileName, contradictions
from tuneloop.documents.schema import Schema, validate
from tuneloop.documents.yamltext import lines_of, load_yaml

Lines = Mapping[tuple[str | int, ...], int]


class Experiments(Schema):
    root: str = Field(
        default=".", description="the folder that `tuneloop status` searches, from the file that names it"
    )


class Config(Schema):
    clusters: dict[ProfileName, Profile] = {}
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
    written: Mapping[str, frozenset[str]] = field(default_factory=dict)  # the profiles that each file names

    def profile(self, name: str) -> Profile:
        """Return a cluster profile. Raises MissingError with the known names."""
        if name in self.config.clusters:
            return self.config.clusters[name]
        if name == "local":
            return Profile()
        known = sorted({"local", *self.config.clusters})
        raise MissingError(f"no cluster profile `{name}`", hint=did_you_mean(name, known))

    def files_of(self, name: str) -> list[str]:
        """Return the files that name a profile, the user's first; none for `local` where nobody wrote one."""
        return [file for file, names in self.written.items() if name in names]


def load(start: Path) -> Configuration:
    """Return the configuration that holds in the folder `start`. Raises InputError with every fault of a file."""
    project = find_project(start)
    merged: dict[str, Any] = {}
    origin: dict[str, str] = {}
    lines: dict[str, Lines] = {}
    written: dict[str, frozenset[str]] = {}
    root = project or start
    for file in configuration_files(start):
        text = read_text(file)
        value = load_yaml(text, file) or {}
        lines[str(file)] = lines_of(text)
        read = validate(Config, value, file, lines[str(file)])
        written[str(file)] = frozenset(read.clusters)
        _merge(merged, value, origin, str(file))
        if "experiments" in value:
            root = file.parent / user_path(read.experiments.root)
    config = validate(Config, merged)
    _refuse_contradictions(config, origin, lines)
    origins = [Origin(key, item, origin.get(key, "default")) for key, item in _flat(config.model_dump())]
    return Configuration(config, tuple(origins), root, written)


def _refuse_contradictions(config: Config, origin: Mapping[str, str], lines: Mapping[str, Lines]) -> None:
    """Raise InputError for keys that do not go together, each at the line of the file that wrote it last."""
    problems = Problems()
    for name, profile in config.clusters.items():
        for fault in contradictions(name, profile):
            above = f"clusters.{name}"
            key = f"{above}.{fault.key}"
            file = next((origin[leaf] for leaf in origin if f"{leaf}.".startswith(f"{key}.")), None)
            line = lines[file].get(("clusters", name, fault.key)) if file else None
            problems.add(
                f"`{key}`: {fault.message}", source=Path(file) if file else None, line=line, key=key, hint=fault.hint
            )
    problems.raise_if_any()


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


__all__ = [
    "PROJECT_FILE",
    "Config",
    "Configuration",
    "Experiments",
    "Origin",
    "Profile",
    "find_project",
    "load",
    "user_file",
]
