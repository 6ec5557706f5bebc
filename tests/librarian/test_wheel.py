"""The wheel carries the pack: whoever only has the wheel links the same files as a checkout has."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from librarian_support import linked, state

from tuneloop.librarian.pack import read_pack

ROOT = Path(__file__).parents[2]
FOLDERS = (".claude-plugin", "agents", "bin", "commands", "hooks", "skills")
pytestmark = pytest.mark.slow


def run(*argv: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(word) for word in argv],
        cwd=cwd,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what a wheel of this checkout installs, and nothing of the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run(*pip, "wheel", ROOT, "--no-deps", "--no-build-isolation", "--wheel-dir", folder, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    run(*pip, "install", "--no-deps", "--target", folder / "site", wheel, cwd=folder)
    return folder / "site"


def files(folder: Path) -> dict[str, tuple[bool, object]]:
    """Return every file below with what it holds and whether it can be run."""
    return {
        name: (bool(mode & 0o100), holds)
        for name, (mode, holds) in state(folder).items()
        if holds is not None and "__pycache__" not in name
    }


def test_the_wheel_has_every_file_of_the_pack(installed: Path) -> None:
    found = files(installed / "tuneloop" / "pack")
    expected = {f"{name}/{path}": item for name in FOLDERS for path, item in files(ROOT / name).items()}
    assert len(expected) > 20
    assert found == expected


def test_without_a_checkout_the_same_is_linked(installed: Path, project: Path) -> None:
    argv = [sys.executable, "-m", "tuneloop", "skills"]
    run(*argv, "link", "--with-settings", cwd=project, PYTHONPATH=str(installed))
    assert linked(project) >= {f"skills/{skill.name}" for skill in read_pack(ROOT).chosen()}
    assert linked(project) == linked(ROOT)
    for place in linked(project):
        there, here = project / ".claude" / place, ROOT / ".claude" / place
        assert there.resolve().is_relative_to(installed if there.is_symlink() else project)
        assert there.read_bytes() == here.read_bytes() if there.is_file() else files(there) == files(here)
    settings = (project / ".claude/settings.json").read_text()
    assert f"{installed}/tuneloop/pack/hooks/launch" in settings
    run(installed / "tuneloop/pack/hooks/launch", "session", cwd=project)
    assert run(*argv, "doctor", cwd=project, PYTHONPATH=str(installed)) == "all is well\n"
    run(*argv, "unlink", cwd=project, PYTHONPATH=str(installed))
    assert state(project) == {}
