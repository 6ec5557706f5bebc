"""Acts on folders and file systems, looks at them, and says what a machine lacks for a test."""

import os
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest


def missing(part: str, reason: str) -> NoReturn:
    """Skip the test, or fail it where `TUNELOOP_REQUIRE` (a comma list) names the part."""
    if part in os.environ.get("TUNELOOP_REQUIRE", "").split(","):
        pytest.fail(f"{part} is required here: {reason}", pytrace=False)
    pytest.skip(reason)


def make_read_only(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Leave no free block on the file system of `folder`."""
    with (folder / "ballast").open("wb", buffering=0) as file:
        while True:
            try:
                file.write(b"x" * 4096)
            except OSError:
                return


def content(folder: Path) -> dict[str, bytes | None]:
    """Return every file below with its bytes, and every folder with None."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }
