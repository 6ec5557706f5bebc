"""Every command's `--help` has an example, and the example runs as it stands.

`prepared` is the one place that makes what the examples need: folders in which `runs/demo` is an experiment and the
shipped examples lie where the documentation says. A command whose example cannot run there fails this test: mend the
example, or prepare what it needs.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from command_line import commands
from lab import cli, make_echo, run

ROOT = Path(__file__).parents[2]


COMMANDS = commands()
# What an example may end with: `wait` may find work going, `skills doctor` nothing linked, `cluster` no cluster; and
# `fetch` has nothing to bring, since all was made here.
ALLOWED = {"wait": {0, 1, 5}, "skills doctor": {0, 1}, "cluster add": {0, 3}, "cluster check": {0, 3}, "fetch": {2}}

pytestmark = pytest.mark.slow


def examples(name: str) -> list[str]:
    """Return the lines of a command's example block; a line that ends in a backslash goes on in the next."""
    block = (COMMANDS[name].help or "").partition("Example:\n")[2].partition("\n\n")[0]
    lines = re.sub(r"\\\n\s*", " ", block).splitlines()
    return [line.strip() for line in lines if line.strip()]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders like a clone with `runs/demo` in it.

    In `passed` it is an experiment of the echo worker that has run to its end, which takes seconds; in `real` the
    shipped one, scaffolded, for the commands of the real tools.
    """
    passed, real = tmp_path_factory.mktemp("passed"), tmp_path_factory.mktemp("real")
    run(make_echo(passed / "runs" / "demo", variables="{lora_rank: [4], lr: [3e-4, 3e-3]}", controls="{epochs: 2}"))
    demo = real / "runs" / "demo"
    shutil.copytree(ROOT / "examples" / "capitalization", demo)
    cli("design-experiment", demo, "--from", demo / "design.yaml", "--model", ROOT / "examples" / "tiny-base")
    cli("scaffold-experiment", demo)
    for place in (passed, real):
        (place / "examples").symlink_to(ROOT / "examples")
    return {"passed": passed, "real": real}


@pytest.fixture
def workplace(prepared: dict[str, Path], name: str, tmp_path: Path) -> Path:
    """A copy for one command, so that what one example changes is not the fault of another."""
    kind = "real" if name.endswith(("-torchtune", "-inspect")) else "passed"
    clone = Path(shutil.copytree(prepared[kind], tmp_path / "clone", symlinks=True))
    if name == "restore":
        cli("archive", clone / "runs" / "demo", clone / "demo.tar.gz")
    return clone


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_runs(name: str, workplace: Path) -> None:
    lines = examples(name)
    assert lines, f"`tuneloop {name} --help` has no example"
    for line in lines:
        words = shlex.split(line, comments=True)
        assert words[: 1 + len(name.split())] == ["tuneloop", *name.split()], line
        done = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=workplace,
            env=os.environ | {"COLUMNS": "120"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        said = f"{line}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in said, said
        assert done.returncode in ALLOWED.get(name, {0}), said


def test_the_commands_were_read() -> None:
    assert len(COMMANDS) >= 13
    assert {"design-experiment", "status", "retry"} <= set(COMMANDS)
