"""Does the installed torchtune take a config? Asked once for each distinct set of keys and components."""

import inspect
from collections.abc import Mapping
from typing import Any

from tuneloop.documents.errors import did_you_mean
from tuneloop.workers.torchtune.agreement import At
from tuneloop.workers.torchtune.inputs import Faults
from tuneloop.workers.torchtune.presets import top_level_keys
from tuneloop.workers.torchtune.settings import Raw, Resolved


class Validator:
    """Remembers what was validated: a thousand runs that differ in values alone cost one look."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def check(self, config: Mapping[str, Any], resolved: Resolved, optimizer_at: At, faults: Faults) -> None:
        """Add a fault for every key or component that torchtune does not know."""
        shape = f"{resolved.recipe.name} {sorted(_shape(config))!r}"
        if shape in self._seen:
            return
        self._seen.add(shape)
        before = len(faults.found)
        for item in resolved.raw:
            _check_raw(item, config, resolved.recipe.name, faults)
        if len(faults.found) == before:
            _validate(config, optimizer_at, faults)


def _check_raw(item: Raw, config: Mapping[str, Any], recipe: str, faults: Faults) -> None:
    section, _, rest = item.key.partition(".")
    known = top_level_keys(recipe)
    if section not in known:
        faults.add(f"torchtune's {recipe} has no key `{section}`", item.at, did_you_mean(section, sorted(known)))
        return
    component = config[section].get("_component_") if rest and isinstance(config[section], dict) else None
    if component is None or "." in rest or rest == "_component_":
        return
    names = _arguments(component)
    if names is not None and rest not in names:
        faults.add(f"`{component}` takes no argument `{rest}`", item.at, did_you_mean(rest, names))


def _shape(config: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the keys of a config, with the names of its components."""
    found = []
    for key, value in config.items():
        if isinstance(value, dict):
            found += _shape(value, f"{prefix}{key}.")
        else:
            found.append(f"{prefix}{key}={value}" if key == "_component_" else f"{prefix}{key}")
    return found


def _arguments(component: str) -> list[str] | None:
    """Return the argument names of a component, or None where it takes any or cannot be imported."""
    from torchtune.config._utils import InstantiationError, _get_component_from_path

    try:
        parameters = inspect.signature(_get_component_from_path(component)).parameters.values()
    except (InstantiationError, ImportError, ValueError):
        return None
    if any(item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters):
        return None
    return [item.name for item in parameters]


def _validate(config: Mapping[str, Any], optimizer_at: At, faults: Faults) -> None:
    """Let torchtune bind every component's arguments, as it will when the job starts."""
    from omegaconf import OmegaConf
    from torchtune.config import validate
    from torchtune.config._errors import ConfigError

    sections = {name: value["_component_"] for name, value in config.items() if _is_component(value)}
    missing = {name: component for name, component in sections.items() if not _importable(component)}
    for name, component in missing.items():
        at = optimizer_at if name == "optimizer" else ()
        package = component.partition(".")[0]
        faults.add(f"`{component}` cannot be imported", at, f"check the name, or install {package}")
    if missing:
        return
    try:
        validate(OmegaConf.create(dict(config)))
    except ConfigError as error:
        for fault in error.errors:
            hint = "correct the key under `torchtune:` that it names, or take it out; `tune validate` says the same"
            faults.add(f"torchtune refuses the config: {fault}", (), hint)


def _is_component(value: Any) -> bool:
    """Tell whether torchtune builds something of a section. Of one without a component it takes the keys."""
    return isinstance(value, dict) and "_component_" in value


def _importable(component: str) -> bool:
    from torchtune.config._utils import InstantiationError, _get_component_from_path

    try:
        _get_component_from_path(component)
    except (InstantiationError, ImportError):
        return False
    return True
