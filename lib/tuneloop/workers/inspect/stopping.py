"""Where an answer ends, for a model that would not end it by itself.

A base model's own end-of-text token is not the one that ends a turn of the chat it was trained on: it learns to write
the latter, and generating goes on behind it until `max_tokens`. Then inspect is told to stop there. Imports nothing
of inspect or transformers.
"""

import json
from pathlib import Path
from typing import Any

from jinja2.sandbox import ImmutableSandboxedEnvironment

from tuneloop.documents.files import read_text

_ANSWER = "tuneloop-answer"


def end_of_turn(template: str, special: list[str]) -> str | None:
    """Return the special token that a chat template writes behind an answer, None where it writes none."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    said = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _ANSWER}]
    behind = environment.from_string(template).render(messages=said, add_generation_prompt=False)
    rest = behind.partition(_ANSWER)[2].lstrip()
    # The longest one, where one token's text begins with another's.
    return max((token for token in special if rest.startswith(token)), key=len, default=None)


def missing_stop(template: str, tokenizer: Path, model: Path) -> str | None:
    """Return the end of a turn under `template` where generating from the folder `model` does not stop there."""
    path = tokenizer / "tokenizer.json"
    if not path.is_file():
        return None
    added = {item["content"]: item["id"] for item in _json(path).get("added_tokens", [])}
    token = end_of_turn(template, list(added))
    return token if token is not None and added[token] not in _stops(model) else None


def _stops(model: Path) -> list[Any]:
    """Return the ids at which transformers stops; an adapter generates as its base does."""
    if (model / "adapter_config.json").is_file():
        named = str(_json(model / "adapter_config.json").get("base_model_name_or_path"))
        model = model.parent / named
    names = ("generation_config.json", "config.json")
    source = next((model / name for name in names if (model / name).is_file()), None)
    found = None if source is None else _json(source).get("eos_token_id")
    return found if isinstance(found, list) else [found]


def _json(path: Path) -> dict[str, Any]:
    value = json.loads(read_text(path))
    return value if isinstance(value, dict) else {}
