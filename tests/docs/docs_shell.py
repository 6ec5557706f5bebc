"""Types the blocks of a document into a real shell on a terminal, in a copy of the tree."""

import os
import pty
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from docs_reading import ROOT, SHELL, blocks

# How a line begins that is not typed here, and why.
NOT_TYPED = {
    "make demo": "tests/demo runs it",
    "make test": "this is a part of it",
    "make setup": "it made the environment that tests run in",
    "source .venv/bin/activate": "likewise",
    "pip install": "it would change that environment",
    ".venv/bin/pre-commit install": "it would write into the checkout's .git",
    "scripts/slurm-dev-cluster": "tests/slurm brings its clusters up and down by it",
    "tuneloop cluster": "tests/slurm types them where there is a cluster",
    "python make.py": "tests/train makes the tiny model, with fewer steps",
    "inspect eval": "the demo's jobs evaluate the same task",
    "cp -RL examples/preference": "tests/demo/test_preference.py designs, scaffolds and trains it",
    "tuneloop design-experiment runs/preference/": "likewise",
    "tuneloop scaffold-experiment runs/preference/": "likewise",
    "tuneloop run-experiment runs/preference/": "likewise",
    "claude plugin": "tests/client installs the plugin with the real client",
    "tuneloop skills link --with-settings": "the pack's own checkout refuses it; tests/client types it in a project",
}


@dataclass
class Clone:
    """A copy of the tree with a shell in it. `words` are what a reader fills in, with what is typed for them."""

    folder: Path
    words: dict[str, str] = field(default_factory=dict)

    def type(self, text: str) -> str:
        """Type a block, answer yes where it asks, and return what the terminal showed.

        Fails the test where a line does not end with 0.
        """
        text = self.filled_in(text)
        code, shown = _on_a_terminal(["bash", "-euo", "pipefail", "-c", text], self.folder)
        assert code == 0, f"exit {code}\n{text}\n{shown}"
        assert "Traceback" not in shown, shown
        return shown

    def filled_in(self, text: str) -> str:
        for word, value in self.words.items():
            text = text.replace(word, value)
        return text


def make_clone(folder: Path, **words: str) -> Clone:
    """Copy what git tracks, or would track, to `folder`."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if os.path.lexists(ROOT / name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    return Clone(folder, words)


def to_type(text: str) -> list[str]:
    """Return the shell blocks of a document without the lines of `NOT_TYPED`, and no block in which nothing is left."""
    found = []
    for block in blocks(text, *SHELL):
        lines = block.text.replace("\\\n", "\v").split("\n")
        kept = "\n".join(line for line in lines if not line.startswith(tuple(NOT_TYPED)))
        if kept.strip():
            found.append(kept.replace("\v", "\\\n"))
    return found


def _on_a_terminal(command: list[str], folder: Path) -> tuple[int, str]:
    ours, theirs = pty.openpty()
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "COLUMNS": "120",
        "TERM": "dumb",
    }
    os.write(ours, b"y\n")
    with subprocess.Popen(command, cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # how Linux tells that the other end is closed
                break
            if not part:
                break
            shown += part
    os.close(ours)
    return process.returncode, shown.decode(errors="replace")
