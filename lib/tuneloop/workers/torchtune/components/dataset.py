"""The dataset component: samples of one file, in the order of the run's seed, tokenized as verify does."""

from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from tuneloop.workers.torchtune.components.order import order_of
from tuneloop.workers.torchtune.components.tokenizer import ChatTokenizer
from tuneloop.workers.torchtune.data import Reading, read_samples, reading, turns

IGNORED = -100  # torchtune's CROSS_ENTROPY_IGNORE_IDX


class Samples(Dataset):  # type: ignore[misc]  # torch is not seen by the type check
    """Tokens and labels of a file's samples; tokenized when asked for."""

    def __init__(self, samples: list[dict[str, Any]], how: Reading, tokenizer: ChatTokenizer) -> None:
        self._samples, self._how, self._tokenizer = samples, how, tokenizer

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        return tokens_and_labels(self._samples[index], self._how, self._tokenizer)


def sft_dataset(
    tokenizer: ChatTokenizer,
    *,
    source: str,
    format: str,  # noqa: A002  (the design's own word)
    columns: dict[str, str] | None = None,
    new_system_prompt: str | None = None,
    train_on_input: bool = False,
    packed: bool = False,
    seed: int = 0,
) -> Any:
    """Return the dataset that a torchtune recipe trains on.

    Raises InputError for a file that cannot be read, ValueError when packing without a maximum length.
    """
    how = reading(format, columns, new_system_prompt, train_on_input)
    samples = read_samples(Path(source), how)
    arranged = Samples([samples[index] for index in order_of(len(samples), seed)], how, tokenizer)
    if not packed:
        return arranged
    if tokenizer.max_seq_len is None:
        raise ValueError("packing needs a tokenizer with max_seq_len")
    from torchtune.datasets import PackedDataset

    return PackedDataset(arranged, max_seq_len=tokenizer.max_seq_len, padding_idx=tokenizer.pad_id)


def tokens_and_labels(sample: dict[str, Any], how: Reading, tokenizer: ChatTokenizer) -> dict[str, list[int]]:
    tokens, mask = tokenizer.tokenize(turns(sample, how))
    labels = [IGNORED if ignored else token for token, ignored in zip(tokens, mask, strict=True)]
    return {"tokens": tokens, "labels": labels}
