"""Experiments to measure on, made in a temporary folder."""

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def tuneloop(*arguments: str | Path) -> str:
    argv = [sys.executable, "-m", "tuneloop", *map(str, arguments)]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


@contextlib.contextmanager
def real_design(variables: str | None = None, *, scaffold: bool = True) -> Iterator[Path]:
    """The shipped experiment, designed and scaffolded; `variables` replaces its matrix."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "demo"
        shutil.copytree(ROOT / "examples" / "capitalization", folder)
        if variables is not None:
            design = folder / "design.yaml"
            text = design.read_text().replace("lora_rank: [4, 32]", variables).replace("  lr: [3e-4, 3e-3]\n", "")
            design.write_text(text.replace("epochs: 2", "epochs: 1"))
        tuneloop(
            "design-experiment", folder, "--from", folder / "design.yaml", "--model", ROOT / "examples" / "tiny-base"
        )
        if scaffold:
            tuneloop("scaffold-experiment", folder)
        yield folder
