"""Validation loss, and two audits of what was trained: the mask and the template. No torchtune."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneloop.workers.torchtune.attempts import Setup
from tuneloop.workers.torchtune.components.tokenizer import ChatTokenizer, Turn
from tuneloop.workers.torchtune.data import Reading, read_samples, reading, turns

IGNORED = -100
_BATCH = 64
_AUDITED = 20  # samples of a split; a fault of the template or the mask is in every one


@dataclass(frozen=True)
class Split:
    samples: list[dict[str, Any]]
    how: Reading
    tokenizer: ChatTokenizer


@dataclass(frozen=True)
class Validation:
    train: Split
    validation: Split | None

    @classmethod
    def read(cls, setup: Setup) -> "Validation":
        """Read both splits as the training did."""
        config = setup.config()
        data = setup["data"]
        validation = _split(setup, data["validation"], config) if "validation" in data else None
        return cls(_split(setup, data["train"], config), validation)


def _split(setup: Setup, data: Mapping[str, Any], config: Mapping[str, Any]) -> Split:
    how = reading(
        data["format"],
        data.get("columns"),
        data.get("new_system_prompt"),
        bool(config["dataset"]["train_on_input"]),
    )
    arguments = {key: value for key, value in config["tokenizer"].items() if key != "_component_"}
    for name in ("path", "chat_template"):
        arguments[name] = str(setup.path(arguments[name]))
    if data["format"] == "instruct" and data["prompt"] is not None:
        arguments["prompt_template"] = {"user": data["prompt"].split("{input}")}
    else:
        arguments.pop("prompt_template", None)
    return Split(read_samples(setup.path(data["path"]), how), how, ChatTokenizer(**arguments))


def no_loss(validation: Validation, loss: float | None) -> str | None:
    """Return why there is no validation loss, or None where there is one."""
    if loss is not None:
        return None
    return "no validation split" if validation.validation is None else "no trained token in the validation split"


def validation_loss(model: Any, validation: Validation) -> tuple[float | None, int]:
    """Return the mean loss over the trained tokens of the validation split, and how many those are.

    The sum over all tokens divided by their number, in float32, as torchtune reports a step's loss.
    """
    import torch
    from torch.nn.functional import cross_entropy

    if validation.validation is None:
        return None, 0
    total, count = 0.0, 0
    with torch.inference_mode():
        for ids, labels, mask in _batches(validation.validation, model.device):
            logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1].float()
            wanted = labels[:, 1:]
            total += float(cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=IGNORED, reduction="sum"))
            count += int((wanted != IGNORED).sum())
    return (total / count if count else None), count


def _batches(split: Split, device: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Yield ids, labels and attention masks, samples of like length together to spare padding."""
    import torch

    encoded = sorted((split.tokenizer.tokenize(turns(sample, split.how)) for sample in split.samples), key=_length)
    for start in range(0, len(encoded), _BATCH):
        batch = encoded[start : start + _BATCH]
        width = max(len(tokens) for tokens, _ in batch)
        ids = torch.full((len(batch), width), split.tokenizer.pad_id)
        labels = torch.full((len(batch), width), IGNORED)
        attention = torch.zeros((len(batch), width), dtype=torch.long)
        for row, (tokens, mask) in enumerate(batch):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            attention[row, : len(tokens)] = 1
            labels[row, : len(tokens)] = torch.tensor(
                [IGNORED if masked else token for token, masked in zip(tokens, mask, strict=True)]
            )
        yield ids.to(device), labels.to(device), attention.to(device)


def _length(encoded: tuple[list[int], list[bool]]) -> int:
    return len(encoded[0])


def audit(validation: Validation, folder: Path) -> str | None:
    """Return what is wrong with the mask or the template, or None."""
    split = validation.train
    tokenizer = _transformers_tokenizer(folder)
    for sample in split.samples[:_AUDITED]:
        said = turns(sample, split.how)
        fault = _mask_fault(split.tokenizer, said) or _template_fault(split.tokenizer, tokenizer, said)
        if fault:
            return fault
    return None


def _mask_fault(tokenizer: ChatTokenizer, said: list[Turn]) -> str | None:
    tokens, mask = tokenizer.tokenize(said)
    cut = tokenizer.max_seq_len is not None and len(tokens) == tokenizer.max_seq_len
    if not cut and (tokens[-1] != tokenizer.eos_id or mask[-1]):
        return f"the end-of-turn token {tokenizer.end_of_turn} is not trained, so the model would never stop"
    return None


def _template_fault(ours: ChatTokenizer, theirs: Any, said: list[Turn]) -> str | None:
    """Compare the prompt, up to where the model speaks, as it was trained and as it will be evaluated."""
    messages = []
    for turn in said[:-1]:
        before, after = ours.prompt_template.get(turn.role, ("", ""))
        messages.append({"role": turn.role, "content": f"{before}{turn.text}{after}"})
    evaluated = theirs.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
    prompt = ours.prompt(said[:-1])
    trained = ours.tokenize(said)[0][: len(prompt)]
    if list(evaluated) != prompt or trained != prompt[: len(trained)]:
        return "the prompt as trained and as evaluated differ in their tokens"
    return None


def _transformers_tokenizer(folder: Path) -> Any:
    os.environ["HF_HUB_OFFLINE"] = "1"
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True)
