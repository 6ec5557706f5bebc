"""What a site prints of itself, read; and a real site, asked."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurm_cluster import DevCluster
from tuneloop.documents.errors import MissingError, UnreachableError
from tuneloop.jobs.slurm.survey import Nodes, minutes_of, parse_accounts, parse_config, parse_partitions, survey
from tuneloop.jobs.transport import Here


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("infinite", None), ("n/a", None), ("30:00", 30), ("1:00:00", 60), ("2-12:30:00", 3630), ("7-00:00:00", 10080)],
)
def test_times_of_a_site_are_minutes(text: str, minutes: int | None) -> None:
    assert minutes_of(text) == minutes


def test_partitions_keep_their_kinds_of_nodes_apart() -> None:
    printed = (
        "cpu*|up|2-00:00:00|40|64|256000|(null)\n"
        "gpu|up|1-00:00:00|4|48|512000+|gpu:a100:4(S:0-1)\n"
        "gpu|up|1-00:00:00|2|96|1024000|gpu:h100:8,nvme:1\n"
        "mixed|down|infinite|1|16|64000|gpu:v100:1,gpu:k80:2\n"
        "Welcome to the site\n"
        "odd|up|infinite|n/a|1|1|(null)\n"
    )
    cpu, gpu, mixed = parse_partitions(printed)
    assert (cpu.name, cpu.default, cpu.minutes, cpu.nodes) == ("cpu", True, 2880, (Nodes(40, 64, 256000),))
    assert gpu.nodes == (Nodes(4, 48, 512000, 4, "a100"), Nodes(2, 96, 1024000, 8, "h100"))
    assert gpu.richest.gpu_type == "h100"
    assert (mixed.up, mixed.minutes, mixed.richest) == (False, None, Nodes(1, 16, 64000, 2, "k80"))


def test_an_array_holds_one_job_less_than_its_largest_size() -> None:
    found = parse_config("MaxArraySize            = 1001\nMinJobAge = 300 sec\nAccountingStorageType = (null)\n")
    assert (found.array, found.remembers_s, found.accounting) == (1000, 300, False)
    assert parse_config("").array is None


def test_accounts_are_those_of_this_cluster() -> None:
    printed = "here|lab|normal,long|100\nhere|guests|normal|\nthere|lab|normal|3\nhere||normal|7\n"
    assert parse_accounts(printed, "here") == (("lab", "guests"), ("normal", "long"), [100, 7])


@pytest.fixture
def site(cluster: DevCluster) -> Iterator[DevCluster]:
    with cluster.reached():
        yield cluster


def test_a_real_site_is_asked(site: DevCluster) -> None:
    # Fewer than any limit that another test has left.
    site.call("sacctmgr", "-i", "modify", "qos", "normal", "set", "MaxSubmitJobsPerUser=3")
    try:
        found = survey(Here())
    finally:
        site.call("sacctmgr", "-i", "modify", "qos", "normal", "set", "MaxSubmitJobsPerUser=-1")
    main = found.partition(None)
    assert main is not None
    assert (main.name, main.up, main.minutes) == ("main", True, None)
    assert [item.name for item in found.partitions] == ["main", "low", "lowcancel"]
    (nodes,) = main.nodes
    assert (nodes.count, nodes.gpus, nodes.gpu_type) == (3, 2, None)
    assert found.partition("nowhere") is None
    assert (found.cluster, found.array, found.accounting) == ("first", 10000, True)
    assert found.version[0].isdigit()
    if found.accounts:  # whoever runs the tests has an account of the site, or none
        assert found.jobs == 3


def test_a_site_without_accounting_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = "AccountingStorageType = (null)\nSLURM_VERSION = 22.05.8\nMaxArraySize = 1001\n"
    put(tmp_path, "sinfo", "echo 'main*|up|infinite|3|8|32000|(null)'")
    put(tmp_path, "scontrol", f"echo '{printed}'")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = survey(Here())
    assert (found.accounting, found.jobs, found.accounts, found.array) == (False, None, (), 1000)
    assert found.unknown == ("your accounts and limits: the site keeps no accounting",)


def test_no_slurm_and_no_answer_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingError, match="no `sinfo`"):
        survey(Here())
    put(tmp_path, "sinfo", "echo 'slurm_load_partitions: Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(UnreachableError, match="does not answer: slurm_load_partitions: Unable to contact"):
        survey(Here())


def put(folder: Path, name: str, line: str) -> None:
    """Put a command in a folder that prints what a site would."""
    (folder / name).write_text(f"#!/bin/sh\n{line}\n")
    (folder / name).chmod(0o755)
