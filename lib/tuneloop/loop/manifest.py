"""The manifest: with what, on what and from which commit an experiment was scaffolded."""

import os
import platform
import subprocess
from collections.abc import Mapping

import tuneloop
from tuneloop.documents.files import write_json
from tuneloop.experiment.design import sources
from tuneloop.experiment.identity import file_hash
from tuneloop.experiment.read import Experiment


def write_manifest(experiment: Experiment, versions: Mapping[str, Mapping[str, str]]) -> None:
    found = (source for entries in sources(experiment.design).values() for source in entries)
    data = {source.path: experiment.path(source.path) for source in found}
    value = {
        "schema": "tuneloop.manifest/1",
        "tuneloop": tuneloop.__version__,
        "commit": _commit(experiment),
        "tools": {name: dict(found) for name, found in versions.items()},
        "data": {name: file_hash(path) for name, path in data.items() if path.is_file()},
        "hardware": {"machine": platform.machine(), "cores": os.cpu_count(), "system": platform.platform()},
        "python": platform.python_version(),
    }
    write_json(experiment.layout.manifest, value, sync=False)


def _commit(experiment: Experiment) -> str | None:
    """Return the commit that the experiment's folder is in, `+` for uncommitted changes, None outside git."""
    git = ["git", "-C", str(experiment.layout.folder)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
        dirty = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return None if head.returncode else head.stdout.strip() + ("+" if dirty.stdout.strip() else "")
