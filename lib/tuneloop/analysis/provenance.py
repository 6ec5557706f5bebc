"""Where the results come from: design, model, data with their hashes, seeds, tools, compute.

Reads the data files to hash them and the manifest to name versions; whatever is missing is said to be.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tuneloop.documents.errors import InputError
from tuneloop.documents.files import read_text
from tuneloop.documents.logs import duration
from tuneloop.experiment.design import DataEntry
from tuneloop.experiment.identity import file_hash
from tuneloop.experiment.read import Experiment
from tuneloop.experiment.work import JobKey, Usage, evaluation_of

Used = Mapping[str, Mapping[str, Mapping[str, Any]]]  # job to kind of setting (generation, scorers) to its values
Compute = Mapping[str, Sequence[Usage]]  # job to what its attempts used
Facts = list[tuple[str, str]]
_MOST = 80  # facts of a manifest that a report shows


def gather(experiment: Experiment) -> Facts:
    """Return (what, value) pairs. Raises nothing for what is not there."""
    design = experiment.design
    method = " ".join(filter(None, [design.method.objective, design.method.algorithm, design.method.update]))
    facts: Facts = [("experiment", design.name), ("method", f"{method}, {design.backend}"), ("model", design.model)]
    facts += [("preset", design.preset)] if design.preset else []
    facts += [(f"data: {entry.split}", _data(experiment, entry)) for entry in design.data]
    facts.append(("seeds", ", ".join(map(str, design.seeds))))
    facts += [(f"control: {name}", str(value)) for name, value in design.controls.items()]
    return facts + _manifest(experiment)


def settings(used: Used) -> Facts:
    """Return what each evaluation was made with: one line where all its jobs agree, else one for each difference."""
    found: dict[str, dict[str, list[str]]] = {}
    for key, kinds in used.items():
        for kind, values in kinds.items():
            name = f"{kind}: {evaluation_of(JobKey(key))}"
            text = ", ".join(f"{what} {_plain(value)}" for what, value in sorted(values.items()))
            found.setdefault(name, {}).setdefault(text, []).append(key)
    return [
        (name if len(texts) == 1 else f"{name} ({', '.join(keys)})", text)
        for name, texts in sorted(found.items())
        for text, keys in texts.items()
    ]


def compute(used: Compute) -> Facts:
    """Return what training and evaluation cost: all attempts count, whatever became of them."""
    stages: dict[str, list[Sequence[Usage]]] = {}
    for key, attempts in used.items():
        if attempts:
            stage = "training" if evaluation_of(JobKey(key)) is None else "evaluation"
            stages.setdefault(stage, []).append(attempts)
    return [(f"compute: {stage}", _cost(jobs)) for stage, jobs in stages.items()]


def _cost(jobs: Sequence[Sequence[Usage]]) -> str:
    usages = [usage for attempts in jobs for usage in attempts]
    repeated = f" in {len(usages)} attempts" if len(usages) > len(jobs) else ""
    found = [
        f"{len(jobs)} {'job' if len(jobs) == 1 else 'jobs'}{repeated}",
        f"{duration(sum(usage.wall_s for usage in usages))} one after the other",
        f"{duration(sum(usage.cpu_s for usage in usages))} of CPU{_share(usages)}",
        f"{max(usage.peak_memory_mb for usage in usages):,.0f} MB of memory at most",
    ]
    busy = [(usage.gpu_use, usage.wall_s * usage.gpus) for usage in usages if usage.gpu_use is not None]
    seconds = sum(usage.wall_s * usage.gpus for usage in usages)
    if seconds:
        weight = sum(weight for _, weight in busy)
        share = f" ({sum(use * weight for use, weight in busy) / weight:.0%} busy)" if weight else ""
        found.append(f"{duration(seconds)} of GPU{share}")
    memory = [usage.gpu_memory_mb for usage in usages if usage.gpu_memory_mb is not None]
    return ", ".join(found + ([f"{max(memory):,.0f} MB of GPU memory at most"] if memory else []))


def _share(usages: Sequence[Usage]) -> str:
    known = [usage for usage in usages if usage.cpus]
    allotted = sum(usage.wall_s * (usage.cpus or 0) for usage in known)
    return f" ({sum(usage.cpu_s for usage in known) / allotted:.0%} of what was asked for)" if allotted else ""


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _data(experiment: Experiment, entry: DataEntry) -> str:
    try:
        now = file_hash(experiment.path(entry.path))
    except InputError:
        return f"{entry.path} (not found; {entry.hash or 'no hash in the design'})"
    if entry.hash is not None and entry.hash.removeprefix("sha256:") != now.removeprefix("sha256:"):
        return f"{entry.path} ({now}; the design says {entry.hash}: the file has changed)"
    return f"{entry.path} ({now})"


def _manifest(experiment: Experiment) -> Facts:
    path = experiment.layout.manifest
    if not path.is_file():
        return [("tools", "not recorded: there is no manifest")]
    try:
        manifest = json.loads(read_text(path))
    except (InputError, ValueError):
        return [("tools", "the manifest cannot be read")]
    if isinstance(manifest, dict):  # the data are hashed above, as they are now
        manifest = {key: value for key, value in manifest.items() if key not in {"schema", "data"}}
    facts = list(_leaves(manifest, ""))
    left = len(facts) - _MOST
    return facts[:_MOST] + ([("", f"{left} more in the manifest")] if left > 0 else [])


def _leaves(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        yield name, ", ".join(item if isinstance(item, str) else json.dumps(item) for item in value)
    elif value is not None:
        yield name, str(value)
