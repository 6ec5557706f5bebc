"""Fixtures for the tests of the pack: a home of its own, a small pack, an empty project."""

from pathlib import Path

import pytest
from librarian_support import make_pack

from tuneloop.librarian.pack import Pack, read_pack


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home in which no skill, no setting and no lock of the person who runs the tests is seen or left."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)
    return folder


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    return read_pack(make_pack(tmp_path / "pack"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder
