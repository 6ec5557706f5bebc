"""`bin/tuneloop`: whose command it becomes, that it never becomes itself, and that nothing is lost on the way."""

import os
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = ["", "two words", "it's", 'a "b"', "$(touch x)", "`touch x`", "a\nb", "-rf", "*", "ünïcode", "\\", "\udcff"]


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    folder = tmp_path / "the pack's"
    for name in ("bin", ".claude-plugin"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "pyproject.toml").touch()
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project" / "deep" / "er"
    folder.mkdir(parents=True)
    return folder


def library(place: Path, says: str, body: str = "") -> Path:
    """Write a command that says which one it is, and its arguments one a line."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(f"#!/bin/sh\necho {says}\n" + (body or "for word; do printf '%s|' \"$word\"; done\n"))
    place.chmod(0o755)
    return place


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "XDG_DATA_HOME": str(tmp_path / "data"), "HOME": str(tmp_path)} | more


def find(
    pack: Path, project: Path, *words: str, shell: tuple[str, ...] = (), **more: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*shell, pack / "bin" / "tuneloop", *words],
        cwd=project,
        env=environment(project.parents[2], **more),
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
        timeout=20,
    )


def test_the_nearest_library_is_found(pack: Path, project: Path, tmp_path: Path) -> None:
    library(tmp_path / "data" / "tuneloop" / "venv" / "bin" / "tuneloop", "data")
    assert find(pack, project).stdout == "data\n"
    library(tmp_path / "project" / ".venv" / "bin" / "tuneloop", "far")
    assert find(pack, project).stdout == "far\n"
    near = library(project.parent / ".venv" / "bin" / "tuneloop", "near")
    assert find(pack, project).stdout == "near\n"
    asked = library(tmp_path / "my own tool", "asked")
    assert find(pack, project, TUNELOOP_BIN=str(asked)).stdout == "asked\n"
    near.unlink()
    near.symlink_to("nowhere")
    assert find(pack, project).stdout == "far\n"


def test_without_a_library_it_says_what_to_type(pack: Path, project: Path) -> None:
    done = find(pack, project)
    assert (done.returncode, done.stdout) == (3, "")
    first, second = done.stderr.splitlines()
    assert first == "error: the tuneloop library is not installed"
    line = second.removeprefix("  hint: ")
    shown = subprocess.run(["sh", "-c", f"{line} --help"], capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("usage: tuneloop-setup")
    assert not (project.parents[2] / "data").exists()


def test_a_wheels_pack_names_the_command_that_it_came_with(project: Path, tmp_path: Path) -> None:
    place = tmp_path / "an env" / "lib" / "python3.11" / "site-packages" / "tuneloop" / "pack"
    for name in ("bin", ".claude-plugin"):
        shutil.copytree(ROOT / name, place / name)
    library(tmp_path / "an env" / "bin" / "tuneloop", "here")
    done = find(place, project)
    assert done.returncode == 3
    line = done.stderr.splitlines()[1].removeprefix("  hint: ")
    assert shlex.split(line) == [f"TUNELOOP_BIN={tmp_path}/an env/bin/tuneloop"]
    again = ["sh", "-c", f"{line} '{place}/bin/tuneloop'"]
    told = subprocess.run(again, env=environment(tmp_path), cwd=project, capture_output=True, text=True, check=True)
    assert told.stdout == "here\n"


def test_a_wrong_choice_is_told(pack: Path, project: Path) -> None:
    done = find(pack, project, TUNELOOP_BIN="/nowhere/tuneloop")
    assert (done.returncode, done.stderr) == (3, "error: TUNELOOP_BIN is no program: /nowhere/tuneloop\n")


@pytest.mark.parametrize("how", ["link", "copy", "older copy", "link to a link"])
def test_it_never_calls_itself(how: str, pack: Path, project: Path, tmp_path: Path) -> None:
    itself, place = pack / "bin" / "tuneloop", project / ".venv" / "bin" / "tuneloop"
    place.parent.mkdir(parents=True)
    if how == "link":
        place.symlink_to(itself)
    elif how == "link to a link":
        (tmp_path / "link").symlink_to(itself)
        place.symlink_to(tmp_path / "link")
    else:
        shutil.copy(itself, place)
        if how == "older copy":
            place.write_text(place.read_text() + "\n# as it was\n")
    assert find(pack, project, TUNELOOP_BIN=str(itself)).returncode == 3
    assert find(pack, project, TUNELOOP_BIN=str(place)).returncode == 3
    library(tmp_path / "data" / "tuneloop" / "venv" / "bin" / "tuneloop", "data")
    assert find(pack, project, TUNELOOP_BIN=str(place)).stdout == "data\n"
    own = subprocess.run([place], cwd=project, env=environment(tmp_path), capture_output=True, text=True, check=False)
    assert own.stdout == "data\n"


@pytest.mark.parametrize("shell", [(), ("dash",), ("bash", "--posix")], ids=["sh", "dash", "bash"])
def test_arguments_arrive_as_they_were(shell: tuple[str, ...], pack: Path, project: Path) -> None:
    if shell and shutil.which(shell[0]) is None:
        pytest.skip(f"there is no {shell[0]}")
    library(project / ".venv" / "bin" / "tuneloop", "here")
    done = find(pack, project, *HOSTILE, shell=shell)
    assert done.stdout == "here\n" + "".join(f"{word}|" for word in HOSTILE)


@pytest.mark.parametrize("code", [0, 1, 5, 130])
def test_exit_codes_pass_through(code: int, pack: Path, project: Path) -> None:
    library(project / ".venv" / "bin" / "tuneloop", "here", f"exit {code}")
    assert find(pack, project).returncode == code


def test_signals_reach_the_library(pack: Path, project: Path, tmp_path: Path) -> None:
    body = "trap 'echo ended; exit 7' TERM\necho ready >ready\nwhile :; do sleep 0.05; done"
    library(project / ".venv" / "bin" / "tuneloop", "here", body)
    with subprocess.Popen(
        [pack / "bin" / "tuneloop"], cwd=project, env=environment(tmp_path), stdout=subprocess.PIPE, text=True
    ) as process:
        while not (project / "ready").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (7, "here\nended\n")


@pytest.mark.parametrize(
    ("version", "told"),
    [("0.1.0", False), ("0.1.9.dev3", False), ("0.2.0", True), ("0.10.0", True), ("1.1.0", True)],
)
def test_another_version_is_told_and_used(version: str, told: bool, pack: Path, project: Path) -> None:
    manifest = pack / ".claude-plugin" / "plugin.json"
    manifest.write_text(manifest.read_text().replace('"version": "', '"version": "0.1.0", "was": "'))
    library(project / ".venv" / "bin" / "tuneloop", "here")
    record = project / ".venv" / "lib" / "python3.11" / "site-packages" / f"tuneloop-{version}.dist-info"
    record.mkdir(parents=True)
    done = find(pack, project)
    assert (done.returncode, done.stdout) == (0, "here\n")
    assert (f"note: the library is {version} and this pack 0.1:" in done.stderr) is told
    assert told or done.stderr == ""


@pytest.mark.parametrize("where", ["nearest", "asked", "linked", "data", "wheel"])
def test_another_version_is_told_with_what_upgrades_that_one(
    where: str, pack: Path, project: Path, tmp_path: Path
) -> None:
    venv = tmp_path / "data" / "tuneloop" / "venv" if where == "data" else project / ".venv"
    asked = {}
    if where in ("asked", "linked"):
        venv = tmp_path / "it's another"
        place = tmp_path / "link" if where == "linked" else venv / "bin" / "tuneloop"
        asked["TUNELOOP_BIN"] = str(place)
        if where == "linked":
            place.symlink_to(venv / "bin" / "tuneloop")
    found = library(venv / "bin" / "tuneloop", "here")
    (venv / "lib" / "python3.11" / "site-packages" / "tuneloop-9.0.0.dist-info").mkdir(parents=True)
    if where == "wheel":
        (pack / "pyproject.toml").unlink()
    note = find(pack, project, **asked).stderr
    assert note.startswith("note: the library is 9.0.0 and this pack ")
    assert f": {asked.get('TUNELOOP_BIN', found)}; " in note
    line = note.partition("; ")[2].removesuffix(" installs the pack's\n")
    told = shlex.split(line)
    if where == "data":
        assert told == [str(pack / "bin" / "tuneloop-setup")]
    else:
        assert told[:4] == [str(venv / "bin" / "python"), "-m", "pip", "install"]
        assert told[4:] == (["tuneloop==0.1.*"] if where == "wheel" else [str(pack)])


@pytest.mark.parametrize(
    "shim",
    [
        'exec tuneloop "$@"',
        'exec env tuneloop "$@"',
        'exec sh -c "exec tuneloop"',
        'tuneloop "$@"',
        '(sh -c "tuneloop; exit \\$?")',
        'tuneloop "$@"; exit $?',
    ],
)
def test_a_shim_that_leads_back_here_is_refused(shim: str, pack: Path, project: Path, tmp_path: Path) -> None:
    place = project / ".venv" / "bin" / "tuneloop"
    place.parent.mkdir(parents=True)
    place.write_text(f"#!/bin/sh\n{shim}\n")
    place.chmod(0o755)
    done = find(pack, project, "status", PATH=f"{pack / 'bin'}:/usr/bin:/bin")
    assert (done.returncode, done.stdout) == (3, "")
    first, second = done.stderr.splitlines()
    assert first == f"error: {place} is no library: it calls this script again"
    assert second.startswith("  hint: take it away, then '")


def test_a_library_may_call_the_command_again(pack: Path, project: Path) -> None:
    """As a job does that types `tuneloop` itself."""
    body = f'[ $# = 0 ] || "{pack}/bin/tuneloop"\n'
    library(project / ".venv" / "bin" / "tuneloop", "here", body)
    done = find(pack, project, "once")
    assert (done.returncode, done.stdout) == (0, "here\nhere\n")


def test_a_chain_of_jobs_may_go_on_for_ever(pack: Path, project: Path) -> None:
    """Each job types `tuneloop`, which hands over the next one and ends before that begins."""
    body = 'echo "$TUNELOOP_FOUND_BY" >noted\n'
    library(project / ".venv" / "bin" / "tuneloop", "here", body)
    noted = "0:1"
    for _ in range(15):
        assert find(pack, project, TUNELOOP_FOUND_BY=noted).returncode == 0
        noted = (project / "noted").read_text().strip()


@pytest.mark.parametrize("noted", ["", "x", "1:", ":1", "1:2:3", "7", "1:08", "$(exit 1):1"])
def test_what_else_stands_in_the_variable_stops_nothing(noted: str, pack: Path, project: Path) -> None:
    library(project / ".venv" / "bin" / "tuneloop", "here")
    done = find(pack, project, TUNELOOP_FOUND_BY=noted)
    assert (done.returncode, done.stdout, done.stderr) == (0, "here\n", "")


def test_a_link_on_the_path_knows_its_pack(pack: Path, project: Path, tmp_path: Path) -> None:
    (tmp_path / "tuneloop").symlink_to(pack / "bin" / "tuneloop")
    done = subprocess.run(
        ["tuneloop"],
        cwd=project,
        env=environment(tmp_path, PATH=f"{tmp_path}:/usr/bin:/bin"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert os.fspath(pack / "bin").replace("'", "'\\''") in done.stderr
