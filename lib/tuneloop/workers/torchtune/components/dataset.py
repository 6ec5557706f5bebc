"""The dataset components: samples of one file or several, in the order of the run's seed.

What is trained of a sample is `encoding`'s business, so that verify looks at the same tokens. A source is
`{source, format, columns, prompt, system, weight}`; all but the first two may be left out.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from tuneloop.workers.torchtune.components.tokenizer import ChatTokenizer
from tuneloop.workers.torchtune.data import Reading, read_samples
from tuneloop.workers.torchtune.encoding import encode, encode_pair, encode_prompt
from tuneloop.workers.torchtune.mixing import epoch_of
from tuneloop.workers.torchtune.splits import reading_from

Sources = Sequence[Mapping[str, Any]]
Item = dict[str, list[int]]


class Samples(Dataset):  # type: ignore[misc]  # torch is not seen by the type check
    """The samples of an epoch; tokenized when asked for."""

    def __init__(self, samples: list[tuple[dict[str, Any], Reading]], item: Callable[..., Item]) -> None:
        self._samples, self._item = samples, item

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Item:
        return self._item(*self._samples[index])


def sft_dataset(
    tokenizer: ChatTokenizer,
    *,
    sources: Sources,
    train_on_input: bool = False,
    packed: bool = False,
    seed: int = 0,
) -> Any:
    """Return conversations whose answers are trained: `tokens` and `labels`.

    Raises InputError for a file that cannot be read, ValueError when packing without a maximum length.
    """

    def item(sample: dict[str, Any], how: Reading) -> Item:
        encoded = encode(sample, how, tokenizer)
        return {"tokens": encoded.tokens, "labels": encoded.labels}

    samples = Samples(_epoch(sources, seed, train_on_input=train_on_input), item)
    return _packed(samples, tokenizer, split=False) if packed else samples


def text_dataset(tokenizer: ChatTokenizer, *, sources: Sources, packed: bool = False, seed: int = 0) -> Any:
    """Return plain texts, each ending with the end-of-text token: `tokens` and `labels`.

    Alone a text is cut at the maximum length; packed it goes on in the next pack and nothing is lost.
    Raises InputError for a file that cannot be read, ValueError when packing without a maximum length.
    """

    def item(sample: dict[str, Any], how: Reading) -> Item:
        encoded = encode(sample, how, tokenizer, whole=packed)
        return {"tokens": encoded.tokens, "labels": encoded.labels}

    samples = Samples(_epoch(sources, seed), item)
    return _packed(samples, tokenizer, split=True) if packed else samples


def preference_dataset(tokenizer: ChatTokenizer, *, sources: Sources, seed: int = 0) -> Any:
    """Return preferences as torchtune's DPO recipes take them: ids and labels of both sides.

    Raises InputError for a file that cannot be read.
    """

    def item(sample: dict[str, Any], how: Reading) -> Item:
        chosen, rejected = encode_pair(sample, how, tokenizer)
        return {
            "chosen_input_ids": chosen.tokens,
            "chosen_labels": chosen.labels,
            "rejected_input_ids": rejected.tokens,
            "rejected_labels": rejected.labels,
        }

    return Samples(_epoch(sources, seed), item)


class Prompts(Dataset):  # type: ignore[misc]  # torch is not seen by the type check
    """Samples that set torch's global generator by their place in the training.

    PPO draws its minibatches from that generator, and torchtune 0.6.1 does not keep its state: without this a resumed
    run would draw others than an uninterrupted one.
    """

    def __init__(self, samples: Samples, seed: int, served: int) -> None:
        self._inner, self._seed, self._served = samples, seed, served

    def __len__(self) -> int:
        return len(self._inner)

    def __getitem__(self, index: int) -> Item:
        torch.manual_seed((self._seed << 32) + self._served)
        self._served += 1
        return self._inner[index]


def prompt_dataset(tokenizer: ChatTokenizer, *, sources: Sources, seed: int = 0, served: int = 0) -> Any:
    """Return prompts as torchtune's PPO recipe takes them: `tokens` up to where the model speaks, and `labels`.

    The recipe pads both and reads the tokens alone. `served` is how many prompts earlier attempts have trained on.
    Raises InputError for a file that cannot be read, ValueError for a prompt longer than the maximum length.
    """

    def item(sample: dict[str, Any], how: Reading) -> Item:
        encoded = encode_prompt(sample, how, tokenizer)
        return {"tokens": encoded.tokens, "labels": encoded.labels}

    return Prompts(Samples(_epoch(sources, seed), item), seed, served)


def _epoch(sources: Sources, seed: int, *, train_on_input: bool = False) -> list[tuple[dict[str, Any], Reading]]:
    """Return the samples of an epoch, each with how it is read."""
    hows = [reading_from(source, train_on_input=train_on_input) for source in sources]
    files = [read_samples(Path(source["source"]), how) for source, how in zip(sources, hows, strict=True)]
    weights = [float(source.get("weight", 1)) for source in sources]
    picked = epoch_of([len(samples) for samples in files], weights, seed)
    return [(files[source][index], hows[source]) for source, index in picked]


def _packed(samples: Samples, tokenizer: ChatTokenizer, *, split: bool) -> Any:
    if tokenizer.max_seq_len is None:
        raise ValueError("packing needs a tokenizer with max_seq_len")
    from torchtune.datasets import PackedDataset

    return PackedDataset(
        samples, max_seq_len=tokenizer.max_seq_len, padding_idx=tokenizer.pad_id, split_across_pack=split
    )
