"""`cluster list` and `cluster add`: what a site tells becomes one entry, and a file of a person's keeps its bytes."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cli_support import problems

from places import content
from tuneloop.documents.config import load
from typed import as_json, tuneloop

pytestmark = pytest.mark.slow

# What a site with GPUs prints.
SINFO = """\
cpu*|up|2-00:00:00|40|64|256000|(null)
gpu|up|1-00:00:00|4|48|512000|gpu:a100:4(S:0-1)
old|down|infinite|1|4|16000|(null)
"""
CONFIG = """\
AccountingStorageEnforce = associations,limits
AccountingStorageType = accounting_storage/slurmdbd
ClusterName = site
MaxArraySize = 501
MinJobAge = 300 sec
SLURM_VERSION = 23.11.4
"""
ACCOUNTS = "site|lab|normal,long|\nsite|guests|normal|1000\n"
QOS = "normal|400\nlong|50\nforeign|1\n"


class Site:
    """A folder with the commands of a site, and a project beside it."""

    def __init__(self, root: Path) -> None:
        self.project, self.bin, self.user = root / "project", root / "bin", root / "user"
        self.project.mkdir()
        self.bin.mkdir()
        (self.bin / "sinfo").symlink_to(self._told("sinfo", SINFO))
        (self.bin / "scontrol").symlink_to(self._told("scontrol", CONFIG))
        both = f'case "$*" in *associations*) printf %s "{ACCOUNTS}" ;; *) printf %s "{QOS}" ;; esac'
        (self.bin / "sacctmgr").symlink_to(self.script("sacctmgr.sh", both))

    def type(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        surroundings = {"PATH": f"{self.bin}:{os.environ['PATH']}", "XDG_CONFIG_HOME": str(self.user), **environment}
        return tuneloop(self.project, "cluster", *words, **surroundings)

    @property
    def file(self) -> Path:
        return self.project / "tuneloop.yaml"

    def _told(self, name: str, text: str) -> Path:
        (self.bin / f"{name}.txt").write_text(text)
        return self.script(f"{name}.sh", f"cat '{self.bin / name}.txt'")

    def script(self, name: str, line: str) -> Path:
        (self.bin / name).write_text(f"#!/bin/sh\n{line}\n")
        (self.bin / name).chmod(0o755)
        return self.bin / name


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def added(site: Site, *words: str) -> dict[str, Any]:
    value: dict[str, Any] = as_json(site.type("add", *words, "--json"))
    assert value["schema"] == "tuneloop.cluster-add/1"
    return value


def test_a_default_partition_becomes_a_profile(site: Site) -> None:
    value = added(site, "site", "--project")
    assert value["profile"] == {
        "executor": "slurm",
        "cpus": 4,
        "limits": {"array": 500, "jobs": 50, "minutes": 2880},
    }
    assert value["notes"] == ["you have several accounts: lab, guests; without `account:` the default one pays"]
    assert value["unknown"] == []
    assert value["found"]["remembers_s"] == 300
    assert load(site.project).profile("site").limits.jobs == 50
    assert Path(value["file"]) == site.file


def test_a_partition_with_gpus_gives_each_gpu_its_share_of_a_node(site: Site) -> None:
    value = added(site, "gpus", "--project", "--partition", "gpu", "--account", "lab", "--python", "/opt/py")
    assert value["profile"] == {
        "executor": "slurm",
        "python": "/opt/py",
        "partition": "gpu",
        "account": "lab",
        "gpus": 4,
        "gpu_type": "a100",
        "cpus": 12,
        "limits": {"array": 500, "jobs": 50, "minutes": 1440},
    }
    assert value["notes"] == []


def test_every_other_byte_stays_and_the_mode_too(site: Site) -> None:
    before = "# ours\nclusters:\n  here: {slots: 2}  # few\n\nexperiments: {root: runs}  # all\n"
    site.file.write_text(before)
    site.file.chmod(0o600)
    kept = site.project / "kept.yaml"
    site.file.rename(kept)
    site.file.symlink_to(kept)
    shown = site.type("add", "site", "--dry-run")
    assert "nothing was written" in shown.stdout
    assert kept.read_text() == before
    added(site, "site")
    block = "  site:\n    executor: slurm\n    cpus: 4\n    limits: {array: 500, jobs: 50, minutes: 2880}\n"
    assert block in shown.stdout
    assert kept.read_text() == before.replace("# few\n", f"# few\n{block}")
    assert site.file.is_symlink()
    assert kept.stat().st_mode & 0o777 == 0o600


def test_a_folder_that_is_no_project_becomes_none_by_itself(site: Site) -> None:
    value = added(site, "site")
    assert Path(value["file"]) == site.user / "tuneloop" / "config.yaml"
    assert content(site.project) == {}
    site.file.write_text("")
    assert Path(added(site, "other")["file"]) == site.file
    assert Path(added(site, "third", "--user")["file"]) == site.user / "tuneloop" / "config.yaml"


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["here"], "there is a profile `here` already", "choose another name, or edit it there"),
        (["local"], "there is a profile `local` already", "choose another name"),
        (["-site"], "No such option: -s", "`tuneloop cluster add --help` shows the arguments"),
        (["a b"], "`clusters.a b`: profile 'a b' is not a plain name", None),
        (["site", "--partition", "gpus"], "no partition `gpus`", "did you mean `gpu`?"),
        (["site", "--account", "a\nb"], "`clusters.site.account`: a control character in 'a\\nb'", None),
        (["site", "--ssh", "login"], "a remote cluster needs a folder for the experiments", "add `--scratch DIR`"),
        (["site", "--scratch", "/s"], "`--scratch` is for a remote cluster", "add `--ssh HOST`, or leave it out"),
        (["site", "--ssh-config", "f"], "`--ssh-config` is for a remote cluster", "add `--ssh HOST`, or leave it out"),
    ],
)
def test_bad_input_writes_nothing(site: Site, words: list[str], message: str, hint: str | None) -> None:
    site.file.write_text("clusters: {here: {}}\n")
    before = content(site.project)
    done = site.type("add", *words, "--json")
    assert done.returncode == 2
    (problem,) = problems(done)
    assert problem.message == message
    assert hint is None or (problem.hint or "").startswith(hint)
    assert content(site.project) == before


def test_a_remote_profile_is_asked_by_the_ssh_configuration_that_it_names(site: Site) -> None:
    """ssh here answers by this machine's shell, when it is given the file."""
    site.script(
        "ssh", 'case " $* " in *" -F $PWD/my config "*) ;; *) exit 255 ;; esac\nfor last; do :; done\nsh -c "$last"'
    )
    far = ("--ssh", "login", "--scratch", "/s", "--python", "/opt/py")
    value = added(site, "far", "--project", "--ssh-config", "my config", *far)
    assert value["profile"]["ssh_config"] == str(site.project / "my config")
    assert load(site.project).profile("far").ssh_config == str(site.project / "my config")


def test_a_time_limit_is_told_in_the_words_of_people(site: Site) -> None:
    (site.bin / "sinfo.txt").write_text("short*|up|20:00|4|8|16000|(null)\nlong|up|2-00:00:00|4|8|16000|(null)\n")
    shown = site.type("add", "site", "--dry-run").stdout
    assert "20 min" in shown
    assert "48 h" in shown
    site.type("add", "site", "--project")
    assert "20 min a job" in site.type("list").stdout


def test_without_slurm_something_is_missing(site: Site, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = site.type("add", "site", "--json", PATH=str(tmp_path / "empty"))
    assert done.returncode == 3
    assert problems(done)[0].message == "SLURM is not here: no `sinfo`"
    assert content(site.project) == {}


def test_what_is_not_told_is_told_as_unknown(site: Site) -> None:
    (site.bin / "sacctmgr.sh").write_text("#!/bin/sh\necho 'sacctmgr: error: Connection refused' >&2\nexit 1\n")
    value = added(site, "site")
    assert value["unknown"] == ["your accounts and limits: sacctmgr: error: Connection refused"]
    assert value["profile"]["limits"] == {"array": 500, "minutes": 2880}


def test_the_list_notes_an_interpreter_of_no_worker(site: Site) -> None:
    site.file.write_text("clusters: {far: {executor: slurm, python: {torchtunes: /x, inspect: /y, analysis: /z}}}\n")
    remark = "`python` names an unknown worker `torchtunes`; did you mean `torchtune`?"
    assert f"note: profile far: {remark}\n" in site.type("list").stderr
    notes = {item["name"]: item["notes"] for item in as_json(site.type("list", "--json"))["clusters"]}
    assert notes == {"local": [], "far": [remark]}


def test_the_list_has_every_profile_with_its_files(site: Site) -> None:
    user = site.user / "tuneloop" / "config.yaml"
    user.parent.mkdir(parents=True)
    user.write_text("clusters: {far: {executor: slurm, ssh: login, scratch: /s}, mine: {slots: 2}}\n")
    site.file.write_text("clusters: {far: {partition: gpu, limits: {jobs: 7, running: 2, minutes: 90}}}\n")
    value = as_json(site.type("list", "--json"))
    assert value["schema"] == "tuneloop.clusters/1"
    files = {item["name"]: sorted(item["files"]) for item in value["clusters"]}
    assert files == {"local": [], "far": sorted([str(site.file), str(user)]), "mine": [str(user)]}
    shown = site.type("list").stdout
    assert "over SSH on login, partition gpu" in shown
    assert "arrays of 1,000, 7 jobs in the queue, 2 of an array at once, 1.5 h a job" in shown
    assert "built in" in shown
    assert json.loads(json.dumps(value)) == value
