"""Fixtures of the live tests: the pinned client with an empty home, and projects for it to work in."""

import os
import shutil
from pathlib import Path

import pytest

from claude import BINARY, ROOT, Claude
from places import missing
from tuneloop.librarian.pack import Pack, read_pack
from ways import WAYS, Way

_MANAGED = Path("/etc/claude-code")
_NOT_IN_A_CLONE = (".git", ".venv", "runs", "dist", "node_modules", "__pycache__", ".*_cache", ".hypothesis")


@pytest.fixture
def claude(tmp_path: Path) -> Claude:
    if not os.access(BINARY, os.X_OK):
        missing("client", "no Claude Code client: `make client` installs it")
    if _MANAGED.exists():
        missing("client", f"{_MANAGED} would change what the client does here; test on a machine without it")
    return Claude(tmp_path / "home")


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this checkout as a fresh clone would be; shared, so whoever changes it copies it first."""
    folder = tmp_path_factory.mktemp("clone") / "tuneloop"
    shutil.copytree(ROOT, folder, symlinks=True, ignore=shutil.ignore_patterns(*_NOT_IN_A_CLONE))
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An empty project."""
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def pack() -> Pack:
    return read_pack(ROOT)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, claude: Claude, checkout: Path, project: Path) -> Way:
    return WAYS[request.param](claude, checkout, project)
