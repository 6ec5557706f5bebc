"""What can be known of the work environment before compute is spent."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from tuneloop.experiment.work import Check
from tuneloop.workers import Order
from tuneloop.workers.torchtune.fields import LOGGERS

# torchtune declares no range for torchao: 0.16 breaks torchtune.training, 0.18 torchtune itself.
_WANTED = {
    "torch": ">=2.6",
    "torchtune": "==0.6.1",
    "torchao": ">=0.11,<0.16",
    "transformers": ">=4.51,<6",
    "peft": ">=0.15,<1",
}
_LOGGER_PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "comet": "comet_ml"}
MISSING = "missing"


def versions() -> Mapping[str, str]:
    """Return the packages the worker uses with their versions, `missing` where there is none."""
    return {name: _version(name) for name in _WANTED}


def checks(order: Order) -> Sequence[Check]:
    """Look at versions, the tune command, the machine, and what the design asks for."""
    found = versions()
    return [
        *(_version_check(name, found[name]) for name in _WANTED),
        _tune(order),
        *_device(order),
        *_loggers(order),
    ]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return MISSING


def _version_check(name: str, found: str) -> Check:
    wanted = _WANTED[name]
    if found == MISSING:
        return Check(name, False, f"{name} is not installed", f'pip install "{name}{wanted}"')
    if Version(found) not in SpecifierSet(wanted, prereleases=True):
        return Check(
            name, False, f"{name} {found} does not work here, wanted {wanted}", f'pip install "{name}{wanted}"'
        )
    return Check(name, True, f"{name} {found}")


def _tune(order: Order) -> Check:
    beside = Path(order.machine.python).parent / "tune"
    found = beside if beside.is_file() else shutil.which("tune")
    if found is None:
        return Check("tune", False, f"no `tune` beside {order.machine.python}", "install torchtune into it")
    return Check("tune", True, f"`tune` is {found}")


def _device(order: Order) -> Iterator[Check]:
    """A design for GPUs can be scaffolded anywhere, so a missing one is told and not refused."""
    if order.machine.gpus == 0 or find_spec("torch") is None:
        return
    import torch

    if torch.cuda.is_available():
        yield Check("cuda", True, f"{torch.cuda.device_count()} CUDA device(s) here")
    else:
        yield Check("cuda", True, f"no CUDA device here; the jobs ask for {order.machine.gpus}")


def _loggers(order: Order) -> Iterator[Check]:
    asked = {str(run.value("logger")) for run in order.runs if run.value("logger") in LOGGERS}
    for name in sorted(asked & set(_LOGGER_PACKAGES)):
        package = _LOGGER_PACKAGES[name]
        there = find_spec(package) is not None
        message = f"{package} is installed" if there else f"the logger `{name}` needs {package}, which is not installed"
        yield Check(f"logger {name}", there, message, None if there else f"pip install {package}")
