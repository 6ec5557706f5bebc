"""Validation loss, and two audits of what was trained: the mask and the template. No torchtune."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneloop.workers.torchtune.attempts import Setup
from tuneloop.workers.torchtune.components.tokenizer import ChatTokenizer, Turn
from tuneloop.workers.torchtune.data import Reading, answers, read_samples, turns
from tuneloop.workers.torchtune.encoding import IGNORED, Encoded, Kind, encode, encode_pair, end_of_text, kind_of
from tuneloop.workers.torchtune.preferring import is_dpo, padded, preferred
from tuneloop.workers.torchtune.splits import reading_from

_BATCH = 64
_AUDITED = 20  # samples of a file; a fault of the template or the mask is in every one


@dataclass(frozen=True)
class Split:
    """A split as it was trained: every sample once, with how it is read."""

    kind: Kind
    files: Sequence[tuple[Reading, list[dict[str, Any]]]]
    tokenizer: ChatTokenizer

    @property
    def read(self) -> Iterator[tuple[Reading, dict[str, Any]]]:
        """Every sample with how it is read."""
        return ((how, sample) for how, samples in self.files for sample in samples)


@dataclass(frozen=True)
class Validation:
    train: Split
    validation: Split | None
    loss: Mapping[str, Any]  # the config of the training's loss

    @classmethod
    def read(cls, setup: Setup) -> "Validation":
        """Read both splits as the training did."""
        config = setup.config()
        data = setup["data"]
        validation = _split(setup, data["validation"], config) if "validation" in data else None
        return cls(_split(setup, data["train"], config), validation, config["loss"])


def _split(setup: Setup, files: Sequence[Mapping[str, Any]], config: Mapping[str, Any]) -> Split:
    train_on_input = bool(config["dataset"].get("train_on_input", False))
    arguments = {key: value for key, value in config["tokenizer"].items() if key != "_component_"}
    for name in ("path", "chat_template"):
        arguments[name] = str(setup.path(arguments[name]))
    hows = [reading_from(file, train_on_input=train_on_input) for file in files]
    asks = str(config["dataset"]["_component_"]).endswith(".prompt_dataset")
    kind = kind_of("rl" if asks else "sft", hows[0].format)
    found = [(how, read_samples(setup.path(file["path"]), how)) for how, file in zip(hows, files, strict=True)]
    return Split(kind, found, ChatTokenizer(**arguments))


def validated(
    model: Any, validation: Validation, reference: Callable[[], AbstractContextManager[Any]]
) -> dict[str, Any]:
    """Return the loss that was trained on data that was not, with what it was computed from; else why there is none.

    `reference` lends the model as it was before training, with which preferences are compared.
    """
    split = validation.validation
    if split is None:
        return _none("no validation split")
    if split.kind == "prompts":
        return _none("prompts have no answer to compute a loss on")
    if split.kind == "preference":
        if not is_dpo(validation.loss):
            return _none("the loss of preferences is computed for DPO alone")
        pairs = [encode_pair(sample, how, split.tokenizer) for how, sample in split.read]
        found = preferred(model, reference, pairs, validation.loss, split.tokenizer.pad_id)
        facts = {"validation_loss": found.loss, "validation_accuracy": found.accuracy}
        return {**facts, "validation_tokens": found.tokens, "reason": None}
    loss, tokens = _token_loss(model, split)
    if tokens == 0:
        return _none("no trained token in the validation split")
    return {"validation_loss": loss, "validation_tokens": tokens, "reason": None}


def _none(reason: str) -> dict[str, Any]:
    return {"validation_loss": None, "validation_tokens": 0, "reason": reason}


def _token_loss(model: Any, split: Split) -> tuple[float, int]:
    """Return the mean loss over the trained tokens of a split, and how many those are.

    The sum over all tokens divided by their number, in float32, as torchtune reports a step's loss.
    """
    import torch
    from torch.nn.functional import cross_entropy

    total, count = 0.0, 0
    with torch.inference_mode():
        for ids, labels, mask in _batches(split, model.device):
            logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1].float()
            wanted = labels[:, 1:]
            total += float(cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=IGNORED, reduction="sum"))
            count += int((wanted != IGNORED).sum())
    return total / max(1, count), count


def _batches(split: Split, device: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Yield ids, labels and attention masks, samples of like length together to spare padding."""
    encoded = sorted((encode(sample, how, split.tokenizer) for how, sample in split.read), key=_length)
    for start in range(0, len(encoded), _BATCH):
        yield padded(encoded[start : start + _BATCH], split.tokenizer.pad_id, device)


def _length(encoded: Encoded) -> int:
    return len(encoded.tokens)


def audit(validation: Validation, folder: Path) -> str | None:
    """Return what is wrong with the mask or the template, or None."""
    split = validation.train
    tokenizer = None if split.kind == "text" else _transformers_tokenizer(folder)
    for how, samples in split.files:
        for sample in samples[:_AUDITED]:
            if fault := _fault(split, sample, how, tokenizer):
                return fault
    return None


def _fault(split: Split, sample: Mapping[str, Any], how: Reading, theirs: Any) -> str | None:
    if split.kind == "text":
        return _text_fault(split.tokenizer, encode(sample, how, split.tokenizer))
    if split.kind == "prompts":
        return _template_fault(split.tokenizer, theirs, turns(sample, how))
    if split.kind == "preference":
        sides = zip(encode_pair(sample, how, split.tokenizer), answers(sample, how), strict=True)
        found = (
            _mask_fault(split.tokenizer, encoded) or _template_fault(split.tokenizer, theirs, said)
            for encoded, said in sides
        )
        return next((fault for fault in found if fault), None)
    encoded = encode(sample, how, split.tokenizer)
    return _mask_fault(split.tokenizer, encoded) or _template_fault(split.tokenizer, theirs, turns(sample, how))


def _mask_fault(tokenizer: ChatTokenizer, encoded: Encoded) -> str | None:
    if not _cut(tokenizer, encoded) and (encoded.tokens[-1] != tokenizer.eos_id or encoded.mask[-1]):
        return f"the end-of-turn token {tokenizer.end_of_turn} is not trained, so the model would never stop"
    return None


def _text_fault(tokenizer: ChatTokenizer, encoded: Encoded) -> str | None:
    if any(encoded.mask):
        return "a token of a plain text is not trained"
    if not _cut(tokenizer, encoded) and encoded.tokens[-1] != end_of_text(tokenizer):
        return "the end-of-text token is not trained, so the model would never end a text"
    return None


def _cut(tokenizer: ChatTokenizer, encoded: Encoded) -> bool:
    return tokenizer.max_seq_len is not None and len(encoded.tokens) == tokenizer.max_seq_len


def _template_fault(ours: ChatTokenizer, theirs: Any, said: list[Turn]) -> str | None:
    """Compare the prompt, up to where the model speaks, as it was trained and as it will be evaluated."""
    messages = [{"role": turn.role, "content": turn.text} for turn in said[:-1]]
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
