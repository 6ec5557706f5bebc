"""Likely causes: what the last lines of a log usually mean, and the repair. Pure."""

import re
from collections.abc import Sequence

_CAUSES = [
    (
        r"CUDA out of memory|OutOfMemoryError|DefaultCPUAllocator: can't allocate memory|MemoryError",
        "out of memory",
        "halve `batch_size` and double `gradient_accumulation`: the effective batch stays the same",
    ),
    (r"No space left on device|Disk quota exceeded", "the disk is full", "free some space, then `tuneloop retry`"),
    (
        r"ModuleNotFoundError: No module named '([\w.]+)'",
        "the work environment lacks a package",
        "install it there; `python:` of the cluster profile names the environment",
    ),
    (r"data hash|has changed since it was scaffolded", "an input has changed", "scaffold again to see what changed"),
    (r"nonfinite|loss is (nan|inf)", "the loss is not a number", "lower `lr` or add `warmup_steps`"),
    (r"size mismatch for|shape mismatch", "weights and model do not fit", "check `model` and `lora_rank`"),
    (r"FileNotFoundError|No such file or directory", "a file is missing", "check the paths of the design"),
]


def likely_cause(lines: Sequence[str], reason: str) -> tuple[str | None, str | None]:
    """Return the cause and its repair, or None for both where the log says nothing known."""
    if reason == "killed":
        return "something killed it: a person, or the kernel when memory ran out", "`dmesg` names the kernel's victims"
    text = "\n".join(lines)
    for pattern, cause, hint in _CAUSES:
        if re.search(pattern, text):
            return cause, hint
    return None, None
