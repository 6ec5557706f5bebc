"""A profile's set-up: what `cluster check` finds of it is what jobs find, and `~/` is the home of whoever runs them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from lab import until
from tuneloop.documents.profile import Profile
from tuneloop.experiment.script import Script, render
from tuneloop.experiment.work import JobKey, Machine, Shape
from tuneloop.jobs.slurm import probe
from tuneloop.jobs.slurm.site import site_of

MODULE = 'module() { [ "$2" = here ] || { echo "no module $2" >&2; return 1; }; }\n'
# The files that are read, the modules, and the line that fails.
CASES: dict[str, tuple[list[str], list[str], str | None]] = {
    "a test that fails within": (["grep -q zzz /dev/null\n:\n"], [], None),
    "an unset name": (['[ -z "$NOBODY_SET_IT" ]\n'], [], None),
    "a pipe that breaks": (["false | true\n"], [], None),
    "options of its own": (["set -euo pipefail\n", "false | grep -q zzz /dev/null\n: $NOBODY_SET_IT\n"], [], None),
    "a last line that fails": ([":\n", "grep -q zzz /dev/null\n"], [], "source -- ./file1"),
    "a file that is not there": (["", "gone"], [], "source -- ./file1"),
    "the shell is ended": (["exit 0\n"], [], "source -- ./file0"),
    "a module": ([MODULE], ["here"], None),
    "a module that is not there": ([MODULE], ["here", "gone"], "module load gone"),
    "no command `module`": ([], ["here"], "module load here"),
}


class Met(NamedTuple):
    """What a script met: its exit code, and what it said of the set-up."""

    code: int
    said: str


def profile(folder: Path, files: list[str], modules: list[str]) -> Profile:
    for number, text in enumerate(files):
        if text != "gone":
            (folder / f"file{number}").write_text(text)
    source = [f"./file{number}" for number in range(len(files))]
    return Profile(executor="slurm", source=source, modules=modules, environment={"LAST": "set"})


def surroundings(**more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("TUNELOOP", "SLURM", "BASH_FUNC"))}
    return kept | {"TUNELOOP_ATTEMPT": "x"} | more


def job(folder: Path, site: Profile, step: str = 'echo "it goes on: $LAST"', **more: str) -> Met:
    """Run a job script of the profile behind its claim."""
    machine = Machine("dev", 0, 1, sys.executable, site_of(site))
    text = render(Script("Train a", "c", JobKey("train/a"), Shape("dev"), machine, "a", "log", "d", (step,)))
    (folder / "job.slurm").write_text(text)
    done = subprocess.run(
        ["bash", "job.slurm"], cwd=folder, env=surroundings(**more), capture_output=True, text=True, check=False
    )
    return Met(done.returncode, done.stdout + done.stderr)


def checked(folder: Path, site: Profile) -> list[str]:
    """Run the job that checks the profile; return what it found wrong."""
    (folder / "probe").write_text(probe.render(site, "dev", [sys.executable]))
    process = subprocess.Popen(["bash", "probe"], cwd=folder, env=surroundings(), stderr=subprocess.DEVNULL)
    told = folder / "told"
    until(told.exists, what="the end of the check")
    found = probe.checks(probe.parse(told.read_text()), site, [sys.executable])
    told.unlink()  # it holds its lock until then
    process.wait(timeout=30)
    return [check.message for check in found if not check.ok]


@pytest.mark.parametrize("name", CASES)
def test_what_is_checked_is_what_jobs_meet(name: str, tmp_path: Path) -> None:
    files, modules, failing = CASES[name]
    site = profile(tmp_path, files, modules)
    met, found = job(tmp_path, site), checked(tmp_path, site)
    if failing is None:
        assert met == (0, "it goes on: set\n")
        assert found == []
        return
    assert met.code != 0
    assert "it goes on" not in met.said
    assert f"in: {failing}\n" in met.said
    assert any(failing in message for message in found), found
    assert all(message.rstrip(": ") == message for message in found), "a fault without a word"


def test_a_leading_home_in_files_and_variables_is_that_of_whoever_runs_the_job(tmp_path: Path) -> None:
    home = tmp_path / "home of $USER's"
    home.mkdir()
    (home / "my env.sh").write_text("export READ=yes\n")
    variables = {"AT_HOME": "~/hub's cache", "HOME_ITSELF": "~/", "ALONE": "~", "LATER": "/a:~/b", "OTHER": "~nobody/x"}
    site = Profile(executor="slurm", source=["~/my env.sh"], environment=variables)
    words = " ".join(f'"${name}"' for name in ("READ", *variables))
    met = job(tmp_path, site, f"printf '%s\\n' {words}", HOME=str(home))
    assert met.code == 0, met.said
    assert met.said.splitlines() == ["yes", f"{home}/hub's cache", f"{home}/", "~", "/a:~/b", "~nobody/x"]
