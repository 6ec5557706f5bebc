"""A split of the design as training sees it: its files, how each is read, and the tokens of its samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from tuneloop.experiment.design import Source
from tuneloop.workers.torchtune.data import Reading, reading
from tuneloop.workers.torchtune.encoding import Kind
from tuneloop.workers.torchtune.mixing import epoch_of, packs, share

# The dataset component of each kind, and the settings that it takes.
_COMPONENTS: dict[Kind, tuple[str, tuple[str, ...]]] = {
    "sft": ("sft_dataset", ("train_on_input", "packed")),
    "text": ("text_dataset", ("packed",)),
    "preference": ("preference_dataset", ()),
    "prompts": ("prompt_dataset", ()),
}


@dataclass(frozen=True)
class Entry:
    """One file of a split, and the tokens of each sample before any cut (of a preference, of its longer side)."""

    source: Source
    path: Path
    hash: str
    lengths: tuple[int, ...]


@dataclass(frozen=True)
class Data:
    """One split: its files, in the design's order."""

    kind: Kind
    entries: tuple[Entry, ...]

    @property
    def format(self) -> str:
        return self.entries[0].source.format

    @property
    def component(self) -> str:
        """The function of `components/dataset.py` that serves it."""
        return _COMPONENTS[self.kind][0]

    @property
    def taken(self) -> tuple[str, ...]:
        """The settings that have a meaning for it, of those that not all data have."""
        return _COMPONENTS[self.kind][1]

    @property
    def lengths(self) -> tuple[int, ...]:
        """The tokens of every sample of every file, each once."""
        return tuple(chain.from_iterable(entry.lengths for entry in self.entries))

    @property
    def samples(self) -> int:
        """The samples of an epoch, weights counted."""
        return sum(share(len(entry.lengths), entry.source.weight) for entry in self.entries)

    def tokens(self, limit: int | None, *, packed: bool = False) -> int:
        """Return the tokens of an epoch: exact where weights are whole, else what is expected of the draw."""
        if packed and self.kind == "text":
            limit = None  # torchtune splits a text across packs
        sides = 2 if self.kind == "preference" else 1  # a batch pads both to the longer one
        cut = (sum(_cut(entry.lengths, limit)) * entry.source.weight for entry in self.entries)
        return sides * round(sum(cut))

    def packs(self, seed: int, limit: int) -> int:
        """Return how many packs of `limit` tokens an epoch makes."""
        weights = [entry.source.weight for entry in self.entries]
        picked = epoch_of([len(entry.lengths) for entry in self.entries], weights, seed)
        lengths = [self.entries[source].lengths[index] for source, index in picked]
        if self.kind == "text":
            return packs(lengths, limit, split=True)
        return packs(_cut(lengths, limit), limit)


def reading_of(source: Source) -> dict[str, Any]:
    """Return how a file is read and weighed, as the dataset components take it."""
    said = {
        "format": source.format,
        "columns": dict(source.columns) or None,
        "prompt": source.prompt,
        "system": source.system,
        "weight": None if source.weight == 1 else source.weight,
    }
    return {key: value for key, value in said.items() if value is not None}


def reading_from(said: Mapping[str, Any], *, train_on_input: bool = False) -> Reading:
    """Return how a file is read from what `reading_of` said of it. Raises InputError."""
    return reading(
        said["format"], said.get("columns"), said.get("prompt"), said.get("system"), train_on_input=train_on_input
    )


def _cut(lengths: Sequence[int], limit: int | None) -> Sequence[int]:
    return lengths if limit is None else [min(length, limit) for length in lengths]
