"""What can be known of the work environment before compute is spent. Faults of the design are scaffold's to tell."""

from collections.abc import Mapping, Sequence
from importlib import metadata

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from tuneloop.experiment.work import Check
from tuneloop.workers import Order

_WANTED = {
    "inspect-ai": ">=0.3.180,<0.4",
    "torch": ">=2.6",
    "transformers": ">=4.51,<6",
    "peft": ">=0.15,<1",
    "accelerate": ">=1.2,<2",
}
MISSING = "missing"


def versions() -> Mapping[str, str]:
    """Return the packages the worker uses with their versions, `missing` where there is none."""
    return {name: _version(name) for name in _WANTED}


def checks(order: Order) -> Sequence[Check]:
    """Look at versions and at the machine."""
    found = versions()
    return [*(_version_check(name, found[name]) for name in _WANTED), _device(order)]


def _version_check(name: str, found: str) -> Check:
    wanted = _WANTED[name]
    line = f'pip install "{name}{wanted}"'
    if found == MISSING:
        return Check(name, False, f"{name} is not installed", line)
    if Version(found) not in SpecifierSet(wanted, prereleases=True):
        return Check(name, False, f"{name} {found} does not work here, wanted {wanted}", line)
    return Check(name, True, f"{name} {found}")


def _device(order: Order) -> Check:
    machine = order.machine
    if not machine.gpus:
        return Check("evaluation device", True, f"CPU, {machine.cpus} cores a job")
    return Check("evaluation device", True, f"CUDA, {machine.gpus} GPU a job on `{machine.cluster}`")


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return MISSING
