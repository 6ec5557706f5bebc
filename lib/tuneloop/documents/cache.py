"""What is remembered outside of experiments, under `$XDG_STATE_HOME`: it may be deleted at any time.

Standard library only: the hooks that Claude Code calls read it with any Python, within milliseconds.
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from tuneloop.documents.places import configuration_files


def folder() -> Path:
    """Return Tuneloop's folder for state that can be made again; it need not exist."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "tuneloop"


def plan_file(subject: Path, command: str) -> Path:
    """Return where it is remembered what a command was last shown to do with an experiment, a model or a profile."""
    return folder() / "plans" / f"{_key(subject, command)}.json"


def status_file(experiment: Path) -> Path:
    """Return where it is remembered what goes on in an experiment."""
    return status_folder() / f"{_key(experiment)}.json"


def status_folder() -> Path:
    """Return the folder of all status files; it need not exist."""
    return folder() / "status"


def fingerprint(experiment: Path, patterns: Iterable[str]) -> str:
    """Return what changes with any file of the experiment that matches a pattern, and with the configuration there.

    Of Markdown the head alone counts. Raises OSError for a file that cannot be read.
    """
    digest = hashlib.sha256()
    for path in sorted({path for pattern in patterns for path in experiment.glob(pattern)}):
        data = path.read_bytes()
        if path.suffix == ".md":
            data = data.partition(b"\n---\n")[0]  # commands write tables into the body all the time
        digest.update(os.fsencode(path.relative_to(experiment)) + b"\0" + hashlib.sha256(data).digest())
    for path in configuration_files(experiment):
        digest.update(os.fsencode(path) + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def clusters_folder() -> Path:
    """Return the folder of what clusters last said of their jobs; it need not exist."""
    return folder() / "clusters"


def links_lock(linked: Path) -> Path:
    """Return the lock of whoever changes what is linked in a folder of Claude Code's."""
    return folder() / "locks" / f"links-{_key(linked)}"


def config_lock(file: Path) -> Path:
    """Return the lock of whoever changes a configuration file."""
    return folder() / "locks" / f"config-{_key(file)}"


def _key(path: Path, *more: str) -> str:
    parts = [os.fsencode(path.resolve()), *(word.encode(errors="surrogateescape") for word in more)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
