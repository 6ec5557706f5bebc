"""Fixtures of the SLURM tests: development clusters, each brought up when a test first asks for it.

They live as long as the test process. A test that breaks one calls `restore`, or breaks it inside `stopped`.
"""

from collections.abc import Iterator

import pytest

from slurm_cluster import DevCluster, Place, may_limit_memory, script

_REAL = {"cluster", "bare_cluster", "second_cluster", "sshd"}  # fixtures that start daemons


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave what needs daemons out of the fast tests."""
    for item in items:
        if _REAL & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


def _cluster(*options: str) -> Iterator[DevCluster]:
    place = Place()
    try:
        cluster = DevCluster(place, *options)
        yield cluster
    finally:
        script("down", "--purge", "--folder", place.folder)
        place.free()


@pytest.fixture(scope="session")
def cluster() -> Iterator[DevCluster]:
    """Three nodes with accounting and, where the machine can, limits on memory."""
    yield from _cluster("--name", "first", *(["--memory-limits"] if may_limit_memory() else []))


@pytest.fixture(scope="module")
def on_cluster(cluster: DevCluster) -> Iterator[None]:
    """Let commands talk to `cluster` while a module's tests run, and leave it whole."""
    with cluster.reached():
        yield
    cluster.restore()


@pytest.fixture(scope="session")
def bare_cluster() -> Iterator[DevCluster]:
    """Three nodes without accounting: sacct answers nothing."""
    yield from _cluster("--name", "bare", "--no-accounting")


@pytest.fixture(scope="session")
def second_cluster() -> Iterator[DevCluster]:
    """Two nodes with accounting, beside `cluster`."""
    yield from _cluster("--name", "second", "--nodes", "2")
