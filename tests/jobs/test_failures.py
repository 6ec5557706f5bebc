"""Likely causes are recognised from what the tools really say."""

import pytest

from tuneloop.jobs.failures import likely_cause

# The messages are those that the tools and the workers raise; the last one nobody knows.
CASES = [
    ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", "", "out of memory"),
    ("RuntimeError: [enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory", "", "out of memory"),
    ("OSError: [Errno 28] No space left on device", "", "the disk is full"),
    ("ModuleNotFoundError: No module named 'torchtune'", "", "the work environment lacks a package"),
    ("error: data/train.jsonl: has changed since the run was scaffolded", "", "an input has changed"),
    ("1|12|Loss: nan: 100%", "", "the loss is not a number"),
    ("", "epoch_0: the weights hold a value that is not finite", "the loss is not a number"),
    ("RuntimeError: size mismatch for layers.0.attn.q_proj.weight", "", "weights and model do not fit"),
    ("FileNotFoundError: [Errno 2] No such file or directory: 'x'", "", "a file is missing"),
    ("all is well", "exit code 3", None),
]


@pytest.mark.parametrize("line, reason, cause", CASES, ids=[str(case[2]) for case in CASES])
def test_cause(line: str, reason: str, cause: str | None) -> None:
    found, hint = likely_cause(["before", line, "after"], reason)
    assert found == cause
    assert (hint is None) == (cause is None)


def test_a_kill_needs_no_log() -> None:
    assert likely_cause([], "killed")[0] == "something killed it: a person, or the kernel when memory ran out"
