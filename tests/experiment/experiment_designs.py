"""Designs, from a small sound one with some keys changed."""

from typing import Any

from tuneloop.experiment.design import Design

SOUND: dict[str, Any] = {
    "schema": "tuneloop.experiment/1",
    "name": "rank",
    "question": "Does a higher rank help?",
    "model": "models/base",
    "data": [
        {"split": "train", "path": "train.jsonl", "format": "instruct", "columns": {"input": "word"}},
        {"split": "validation", "path": "validation.jsonl"},
        {"split": "test", "path": "test.jsonl"},
    ],
    "variables": {"lora_rank": [4, 8], "lr": [1e-5, 3e-4]},
    "controls": {"epochs": 2},
    "evaluations": [{"name": "cap", "task": "cap.py", "split": "test"}],
    "runs": [{"name": "control", "kind": "control"}],
}


def design(**changes: Any) -> Design:
    """Return the sound design with these keys; None takes a key out."""
    head = {key: value for key, value in (SOUND | changes).items() if value is not None}
    return Design.model_validate(head)
