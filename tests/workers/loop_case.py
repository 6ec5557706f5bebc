"""One design through the whole loop by its scripts, whatever model it names."""

import os
import subprocess
import sys
from pathlib import Path

from inspect_support import make_experiment, run_script, verdict

import torchtune_case as case
from tuneloop.workers.torchtune.components.tokenizer import Turn

CONTROLS = {"epochs": 2, "batch_size": 20, "lr": 1e-3}  # one batch an epoch
VARIABLES = {"lora": {"lora_rank": [4]}, "full": {}}


def run_loop(folder: Path, model: str, update: str = "lora", **environment: str) -> Path:
    """Scaffold, train and evaluate the small capitalization design; return the run's folder, all of it verified."""
    evaluation = {"name": "cap", "task": "capitalization.py", "split": "test"}
    make_experiment(
        folder,
        model=model,
        method={"update": update},
        variables=VARIABLES[update],
        controls=CONTROLS,
        evaluations=[evaluation | {"generation": {"max_tokens": 4}, "limit": 4}],
    )
    said = {"OMP_NUM_THREADS": "1", **environment}
    argv = [sys.executable, "-m", "tuneloop", "scaffold-experiment", str(folder)]
    done = subprocess.run(argv, env=os.environ | said, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (run,) = (path.parent for path in folder.glob("*/finetune.slurm"))
    for script in (run / "finetune.slurm", run / "eval/cap_epoch1.slurm"):
        done = run_script(script, **said)
        assert done.returncode == 0, "".join(path.read_text() for path in script.parent.glob("slurm-*.out"))
    assert verdict(run)["reason"] == "4 samples, all scored"
    return run


def check_prompts(run: Path, model: Path) -> None:
    """Look that what was generated from has the very ids of the training: one token at the beginning, not two."""
    from inspect_ai.log import read_eval_log

    tokenizer = case.tokenizer(model)
    samples = read_eval_log(str(run / "eval/logs/cap_epoch1.eval")).samples
    prompts = [
        tokenizer.prompt([Turn(message.role, message.text, True) for message in sample.messages[:-1]])
        for sample in samples
    ]
    # inspect counts the width of a batch, padding included.
    assert max(sample.output.usage.input_tokens for sample in samples) == max(map(len, prompts))
