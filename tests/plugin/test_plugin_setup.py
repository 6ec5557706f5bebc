"""`bin/tuneloop-setup`: what it would do, what it does once, and that a killed one is repaired by typing it again."""

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

from lab import until

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ["bin/tuneloop", "bin/tuneloop-setup", "hooks/launch", "scripts/install-torch"]


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A pack as the client keeps it, in a folder whose name has a space."""
    folder = tmp_path / "the pack"
    for name in ("bin", ".claude-plugin", "lib", "scripts"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def environment(tmp_path: Path) -> dict[str, str]:
    # What the library needs is lent by this environment, so that nothing but the build's own tool is downloaded.
    lent = sysconfig.get_path("purelib")
    return os.environ | {"XDG_DATA_HOME": str(tmp_path / "the data"), "PYTHON": sys.executable, "PYTHONPATH": lent}


def setup(pack: Path, tmp_path: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [pack / "bin" / "tuneloop-setup", *words],
        cwd=tmp_path,
        env=environment(tmp_path) | more,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_dry_run_shows_every_step_and_does_none(pack: Path, tmp_path: Path) -> None:
    done = setup(pack, tmp_path, "--with", "train", "--with=eval", "--dry-run", PATH="/usr/bin:/bin", PYTHONPATH="")
    assert done.returncode == 0, done.stderr
    venv = tmp_path / "the data" / "tuneloop" / "venv"
    lines = done.stdout.splitlines()
    assert lines[0] == f"would run: {sys.executable} -m venv --clear {venv}"
    assert "install torch==" in lines[1]
    assert lines[-2].endswith(f"install {pack}[eval,train]")
    assert not venv.exists()


def test_the_core_alone_brings_no_torch(pack: Path, tmp_path: Path) -> None:
    done = setup(pack, tmp_path, "--dry-run")
    assert "torch" not in done.stdout
    assert done.stdout.splitlines()[1].endswith(f"install {pack}")


# What `PYTHON` may name: it notes how it is called, makes an environment of itself, and fails or hangs on request.
INTERPRETER = """\
#!/bin/sh
echo "$*" >>"$CALLS"
case "$*" in
*venv*)
  for venv; do :; done
  rm -rf "$venv" && mkdir -p "$venv/bin"
  cp "$0" "$venv/bin/python" && cp "$0" "$venv/bin/tuneloop"
  ;;
*pip*)
  case $PIP in
  fails) exit 1 ;;
  hangs) sleep 60 ;;
  esac
  ;;
esac
"""


@pytest.fixture
def interpreter(tmp_path: Path) -> dict[str, str]:
    """Return what makes a set-up use an interpreter that installs nothing."""
    program = tmp_path / "python"
    program.write_text(INTERPRETER)
    program.chmod(0o755)
    return {"PYTHON": str(program), "CALLS": str(tmp_path / "calls"), "PIP": "works"}


def test_another_part_is_added_to_what_is_there(pack: Path, tmp_path: Path, interpreter: dict[str, str]) -> None:
    venv = tmp_path / "the data" / "tuneloop" / "venv"
    setup(pack, tmp_path, "--with", "analysis", **interpreter)
    done = setup(pack, tmp_path, "--with", "analysis", **interpreter)
    assert done.stdout == f"all is there already: {venv}\n"
    done = setup(pack, tmp_path, "--with", "train", "--dry-run", **interpreter)
    assert "venv" not in done.stdout.splitlines()[0].split(), "it is made anew"
    assert done.stdout.splitlines()[-2].endswith(f"install {pack}[analysis,train]")

    shutil.rmtree(venv)
    done = setup(pack, tmp_path, **interpreter)
    assert done.returncode == 0, done.stderr
    assert last_install(tmp_path) == f"{pack}[analysis]"


@pytest.mark.parametrize("fault", ["fails", "is killed"])
@pytest.mark.parametrize("when", ["at first", "on an update"])
def test_an_interrupted_one_keeps_its_parts(
    fault: str, when: str, pack: Path, tmp_path: Path, interpreter: dict[str, str]
) -> None:
    words = ["--with", "analysis"]
    if when == "on an update":
        assert setup(pack, tmp_path, *words, **interpreter).returncode == 0
        (pack / "lib" / "tuneloop" / "later.py").touch()
        words = []
    (tmp_path / "calls").unlink(missing_ok=True)
    if fault == "fails":
        assert setup(pack, tmp_path, *words, **interpreter | {"PIP": "fails"}).returncode != 0
    else:
        killed(pack, tmp_path, *words, **interpreter | {"PIP": "hangs"})
    assert last_install(tmp_path) == f"{pack}[analysis]"

    (tmp_path / "calls").unlink()
    again = setup(pack, tmp_path, **interpreter)
    assert again.returncode == 0, again.stderr
    calls = (tmp_path / "calls").read_text()
    assert " --clear " in calls
    assert last_install(tmp_path) == f"{pack}[analysis]"
    assert setup(pack, tmp_path, *words, **interpreter).stdout.startswith("all is there already")


def killed(pack: Path, tmp_path: Path, *words: str, **more: str) -> None:
    """Kill a set-up and its children as soon as pip is at work."""
    with subprocess.Popen(
        [pack / "bin" / "tuneloop-setup", *words],
        cwd=tmp_path,
        env=environment(tmp_path) | more,
        start_new_session=True,
    ) as process:
        until(lambda: "pip" in Path(more["CALLS"]).read_text() if Path(more["CALLS"]).exists() else False, what="pip")
        os.killpg(process.pid, signal.SIGKILL)


def last_install(tmp_path: Path) -> str:
    """Return what pip was told to install last."""
    lines = [line for line in (tmp_path / "calls").read_text().splitlines() if " install " in line]
    return lines[-1].partition(" install ")[2]


def test_without_a_home_it_says_what_to_type(pack: Path, tmp_path: Path) -> None:
    done = setup(pack, tmp_path, "--dry-run", XDG_DATA_HOME="", HOME="")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "error: neither XDG_DATA_HOME nor HOME says where to",
        "  hint: XDG_DATA_HOME=/path/of/data tuneloop-setup",
    ]
    unset = ["env", "-u", "HOME", "-u", "XDG_DATA_HOME", str(pack / "bin" / "tuneloop-setup"), "--dry-run"]
    assert subprocess.run(unset, capture_output=True, text=True, check=False).stderr == done.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--with", "everything"], 2, "error: cannot bring `everything`"),
        (["--with"], 2, "error: cannot bring ``"),
        (["train"], 2, "error: unknown argument `train`"),
    ],
)
def test_bad_words_are_refused(words: list[str], code: int, message: str, pack: Path, tmp_path: Path) -> None:
    done = setup(pack, tmp_path, *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(f"{message}\n  hint: ")


def test_an_old_python_is_refused(pack: Path, tmp_path: Path) -> None:
    done = setup(pack, tmp_path, PYTHON="/nowhere/python")
    assert done.returncode == 3
    assert done.stderr.startswith("error: Python 3.11 or newer is needed")


@pytest.mark.slow
def test_killed_and_typed_again_it_is_whole(pack: Path, tmp_path: Path) -> None:
    venv = tmp_path / "the data" / "tuneloop" / "venv"
    with subprocess.Popen(
        [pack / "bin" / "tuneloop-setup"], cwd=tmp_path, env=environment(tmp_path), start_new_session=True
    ) as process:
        while not (venv / "bin" / "python").exists():
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
    tool = [str(pack / "bin" / "tuneloop"), "--version"]
    before = subprocess.run(tool, cwd=tmp_path, env=environment(tmp_path), capture_output=True, check=False)
    assert before.returncode == 3

    done = setup(pack, tmp_path)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(pack / "lib")  # the next version of a plugin lies elsewhere
    after = subprocess.run(tool, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, check=False)
    assert (after.returncode, after.stderr) == (0, "")
    assert after.stdout.startswith("tuneloop ")

    shutil.copytree(ROOT / "lib", pack / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    assert setup(pack, tmp_path).stdout == f"all is there already: {venv}\n"


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("shell", ["sh", "dash", "bash"])
def test_scripts_are_plain_shell(name: str, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    assert (ROOT / name).read_text().startswith("#!/bin/sh\n")
    subprocess.run([shell, "-n", ROOT / name], check=True)
