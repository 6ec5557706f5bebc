"""The formats of data: the roles of their columns, which objectives train on them, and an example of each.

The one list of them; the design's schema, the readers, `--help` and the documentation all follow it.
"""

from dataclasses import dataclass
from typing import Literal

Format = Literal["chat", "instruct", "preference", "text"]


@dataclass(frozen=True)
class DataFormat:
    """A format. `roles` are the columns that a sample must have, `optional` those that it may have."""

    name: Format
    about: str
    roles: tuple[str, ...]
    example: str  # one line of JSONL
    objectives: tuple[str, ...]
    optional: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.optional, *self.roles)


FORMATS: dict[str, DataFormat] = {
    item.name: item
    for item in (
        DataFormat(
            "instruct",
            "one question and its answer; `prompt` may put words around the input",
            ("input", "output"),
            '{"input": "capitalize: word", "output": "Word"}',
            ("sft", "rl", "distillation"),
        ),
        DataFormat(
            "chat",
            "a conversation that ends with the assistant; role and content, or from and value",
            ("messages",),
            '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}',
            ("sft", "rl", "distillation"),
        ),
        DataFormat(
            "preference",
            "a better and a worse answer, as text or as whole conversations (then without input)",
            ("chosen", "rejected"),
            '{"input": "Say hello", "chosen": "Hello!", "rejected": "No."}',
            ("preference",),
            optional=("input",),
        ),
        DataFormat(
            "text",
            "plain text, trained whole, without a chat template",
            ("text",),
            '{"text": "Once there was a model."}',
            ("sft", "distillation"),
        ),
    )
}


def formats_for(objective: str) -> list[str]:
    """Return the formats that an objective trains on."""
    return [item.name for item in FORMATS.values() if objective in item.objectives]
