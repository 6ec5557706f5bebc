"""Checks: what can be known before compute is spent, beyond the faults that scaffolding finds."""

from collections.abc import Mapping, Sequence
from importlib import metadata

from tuneloop.experiment.work import Check
from tuneloop.workers import Order

PACKAGES = ("inspect-ai", "torch", "transformers", "peft", "accelerate")


def versions() -> Mapping[str, str]:
    return {name: _version(name) for name in PACKAGES}


def checks(order: Order) -> Sequence[Check]:
    from tuneloop.workers.inspect.scaffold import scaffold

    found = [_installed(), _device(order)]
    result = scaffold(order)
    found += [Check("evaluations", False, fault.message, fault.hint) for fault in result.faults]
    if not result.faults:
        found.append(Check("evaluations", True, f"{len(result.jobs)} evaluations: every task loads and has samples"))
    return found


def _installed() -> Check:
    missing = [name for name, version in versions().items() if version == "missing"]
    if missing:
        hint = 'pip install "tuneloop[eval]"'
        return Check("evaluation packages", False, f"missing: {', '.join(missing)}", hint)
    listed = ", ".join(f"{name} {version}" for name, version in versions().items())
    return Check("evaluation packages", True, listed)


def _device(order: Order) -> Check:
    if not order.machine.gpus:
        return Check("evaluation device", True, f"CPU, {order.machine.cpus} cores")
    return Check("evaluation device", True, f"CUDA, {order.machine.gpus} GPU")


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"
