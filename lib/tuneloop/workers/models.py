"""What a worker that trains is asked about a model that exists: answer a prompt, become a folder of its own.

The requests and answers cross the process boundary as JSON; workers that only evaluate do not know these verbs.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from tuneloop.documents.errors import InputError, Problem

# In a folder that an export made: what it was made from. A folder without it is nobody's to replace.
MARK = "tuneloop.json"
MARK_SCHEMA = "tuneloop.merged/1"
Precision = Literal["bf16", "fp32"]


@dataclass(frozen=True)
class Weights:
    """A checkpoint, or the base model itself. Paths are absolute."""

    folder: str
    base: str  # the model that an adapter belongs to; the folder itself for a model as it is
    chat_template: str | None = None  # a file; None: the model's own
    gpus: int = 0


@dataclass(frozen=True)
class SampleRequest:
    weights: Weights
    messages: Sequence[Mapping[str, str]]  # role, content
    max_tokens: int
    temperature: float | None = None  # None: greedy
    seed: int = 0  # decides nothing when greedy


@dataclass(frozen=True)
class Sampled:
    prompt: str  # as it was sent: the messages under the chat template
    output: str
    tokens: int  # that the model wrote
    ended: bool  # False: cut off at `max_tokens`


@dataclass(frozen=True)
class ExportRequest:
    weights: Weights
    target: str  # a folder that is not there yet, or one with the mark
    dtype: Precision | None = None  # None: that of the weights
    files: Mapping[str, str] = field(default_factory=dict)  # texts that go along, by name


@dataclass(frozen=True)
class Exported:
    files: Mapping[str, int]  # name to bytes


class Trainer(Protocol):
    """What a worker of the stage `train` has beside the functions of `Worker`."""

    def sample(self, request: SampleRequest) -> Sampled:
        """Return the model's answer. Raises FailedError when it does not load."""

    def export(self, request: ExportRequest) -> Exported:
        """Make a folder that loads by itself, whole or not at all. Raises InputError where something else is."""


def mark_of(folder: Path) -> dict[str, Any] | None:
    """Return what an exported folder was made from, None where it was not exported."""
    try:
        value = json.loads((folder / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) and value.get("schema") == MARK_SCHEMA else None


def refuse_foreign(target: Path) -> None:
    """Raise InputError when something is at `target` that no export made."""
    if mark_of(target) is None and (target.is_file() or (target.is_dir() and any(target.iterdir()))):
        raise InputError(Problem("something else is here already", target, hint="choose another folder"))


def sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()}
