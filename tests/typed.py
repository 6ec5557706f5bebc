"""`tuneloop` typed in a folder, and what it answers."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def tuneloop(folder: Path, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in `folder`; a traceback is a bug whatever the test is about."""
    argv = [sys.executable, "-m", "tuneloop", *map(str, arguments)]
    done = subprocess.run(
        argv,
        cwd=folder,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return done


def as_json(done: subprocess.CompletedProcess[str], exit_code: int = 0) -> Any:
    assert done.returncode == exit_code, done.stdout + done.stderr
    return json.loads(done.stdout)
