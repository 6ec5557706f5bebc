"""Where configuration lies: the project's file, which marks a project, and the user's own.

Standard library only, since hooks ask too; what the files say is read by `config.py` alone.
"""

from __future__ import annotations

import os
from pathlib import Path

PROJECT_FILE = "tuneloop.yaml"


def user_file() -> Path:
    """Return the user's own configuration; it need not exist."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "tuneloop" / "config.yaml"


def find_project(start: Path) -> Path | None:
    """Return the nearest folder upwards that holds `tuneloop.yaml`."""
    here = start.resolve()
    return next((folder for folder in (here, *here.parents) if (folder / PROJECT_FILE).is_file()), None)


def configuration_files(start: Path) -> list[Path]:
    """Return the files whose configuration holds in a folder, the user's first."""
    project = find_project(start)
    files = [user_file(), *([] if project is None else [project / PROJECT_FILE])]
    return [file for file in files if file.is_file()]
