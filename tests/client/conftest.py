"""Fixtures of the live tests: the pinned client with an empty home, and projects for it to work in."""

import os
import subprocess
from pathlib import Path

import pytest

from claude import BINARY, ROOT, Claude
from places import missing
from tuneloop.librarian.pack import Pack, read_pack
from ways import WAYS, Way

_MANAGED = Path("/etc/claude-code")
# As `git apply` reads it, whatever a person has configured.
_DIFF = ("-c", "diff.noprefix=false", "diff", "--binary", "--no-ext-diff", "--no-color", "HEAD")


@pytest.fixture
def claude(tmp_path: Path) -> Claude:
    if not os.access(BINARY, os.X_OK):
        missing("client", "no Claude Code client: `make client` installs it")
    if _MANAGED.exists():
        missing("client", f"{_MANAGED} would change what the client does here; test on a machine without it")
    return Claude(tmp_path / "home")


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh clone with the changes of this one; shared, so whoever changes it copies it first.

    A file that git ignores, or has never been told of, is not there to help.
    """
    if not (ROOT / ".git").exists():
        missing("client", "a fresh clone needs a checkout of git's to be made from")
    folder = tmp_path_factory.mktemp("clone") / "tuneloop"
    _git("clone", "--quiet", "--shared", ROOT, folder)
    changes = _git("-C", ROOT, *_DIFF)
    if changes:
        _git("-C", folder, "apply", standard_input=changes)
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


def _git(*arguments: str | Path, standard_input: bytes = b"") -> bytes:
    done = subprocess.run(["git", *arguments], input=standard_input, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout
