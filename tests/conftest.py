"""Fixtures for all tests: folders that are hard to write to, and names that are hard to quote."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--renew", action="store_true", help="write the golden files anew instead of comparing")


@pytest.hookimpl(trylast=True)  # what marks tests comes before
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take long: at the end the short ones fill whoever has nothing left to do.

    They are ordered by their names, not their folders, so that those that wait for a cluster run beside those that
    compute.
    """
    long = {item.path for item in items if item.get_closest_marker("slow") or item.get_closest_marker("train")}
    items.sort(key=lambda item: (item.path not in long, item.path.name, item.path))


@pytest.fixture
def renew(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--renew"))


@pytest.fixture(scope="session", autouse=True)
def state_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what commands remember outside of experiments away from the person who runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(
    params=["two words", "it's", 'a "b"', "'; echo foo", "$(touch x)", "`touch x`", "a\nb", "-rf", "ünïcode"],
    ids=["space", "apostrophe", "quotes", "command", "substitution", "backquotes", "newline", "dash", "unicode"],
)
def hostile_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder whose name would run something, or fall apart, where a script does not quote it."""
    folder = tmp_path / request.param
    folder.mkdir()
    return folder


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB, for `places.fill`. Skips where nobody may mount one."""
    yield from _mounted(tmp_path / "tiny", "size=64k")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB, for `places.fill`; what a run writes has room there. Skips where nobody may mount one."""
    yield from _mounted(tmp_path / "small", "size=1m")


def _mounted(folder: Path, options: str) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"cannot mount a tmpfs: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def read_only_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system that `places.make_read_only` makes read-only. Skips where nobody may mount one."""
    yield from _mounted(tmp_path / "read-only", "size=1m")
