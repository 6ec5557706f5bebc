"""`eval ARGUMENTS`: what `inspect eval ARGUMENTS` does, with one obstacle taken away before.

peft 0.19 and later refuse to load any adapter beside a torchao below 0.16, needed or not, and torchtune 0.6.1 is
not importable beside a newer one. Where both share an environment, peft is told that there is no torchao.
"""

import json
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from tuneloop.workers.adapters import hide_old_torchao
from tuneloop.workers.inspect.request import attempt_folder


def evaluate(arguments: Sequence[str]) -> int:
    """Run inspect in this process; it ends by raising SystemExit with its exit code."""
    model = json.loads((attempt_folder() / "model.json").read_text())["model_path"]
    if (Path(model) / "adapter_config.json").is_file():
        hide_old_torchao()
    sys.argv = ["inspect", "eval", *arguments]
    runpy.run_module("inspect_ai", run_name="__main__", alter_sys=True)
    return 0
