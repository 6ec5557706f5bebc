"""The validation loss of direct preference optimization: does the model prefer what it was taught to prefer?

loss = -(1 - s) log sigmoid(beta d) - s log sigmoid(-beta d), where d is the log-ratio of the chosen to the rejected
answer under the model less the same under the reference (Rafailov et al. 2023, equation 7; label smoothing s as in
Mitchell 2023, "A note on DPO with noisy preferences"). As torchtune computes it, in float32.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any, NamedTuple

from tuneloop.workers.torchtune.auditing import Split
from tuneloop.workers.torchtune.encoding import IGNORED, Encoded, encode_pair

_PAIRS = 32  # in one batch, which holds both sides


class Preferred(NamedTuple):
    loss: float  # mean over the pairs
    accuracy: float  # share of the pairs whose chosen answer gains on the rejected one
    pairs: int


def preferred(
    model: Any, reference: Callable[[], AbstractContextManager[Any]], split: Split, beta: float, smoothing: float
) -> Preferred:
    """Return how the model prefers on a split of preferences; `reference` gives the model to compare it with."""
    import torch
    from torch.nn.functional import logsigmoid

    loss, right, count = 0.0, 0, 0
    with torch.inference_mode():
        for pairs in _batches(split):
            ours = _log_ratios(model, pairs, split.tokenizer.pad_id)
            with reference() as other:
                theirs = _log_ratios(other, pairs, split.tokenizer.pad_id)
            gain = beta * (ours - theirs)
            loss -= float(((1 - smoothing) * logsigmoid(gain) + smoothing * logsigmoid(-gain)).sum())
            right += int((gain > 0).sum())
            count += len(pairs)
    return Preferred(loss / count, right / count, count)


def _batches(split: Split) -> Iterator[list[tuple[Encoded, Encoded]]]:
    pairs = (encode_pair(sample, how, split.tokenizer) for how, samples in split.files for sample in samples)
    while batch := list(islice(pairs, _PAIRS)):
        yield batch


def _log_ratios(model: Any, pairs: list[tuple[Encoded, Encoded]], pad: int) -> Any:
    """Return log p(chosen) - log p(rejected) of each pair: sums over the trained tokens."""
    import torch

    sides = [*(chosen for chosen, _ in pairs), *(rejected for _, rejected in pairs)]
    width = max(len(side.tokens) for side in sides)
    ids = torch.tensor([side.tokens + [pad] * (width - len(side.tokens)) for side in sides]).to(model.device)
    labels = torch.tensor([side.labels + [IGNORED] * (width - len(side.tokens)) for side in sides]).to(model.device)
    real = torch.tensor([[1] * len(side.tokens) + [0] * (width - len(side.tokens)) for side in sides])
    logits = model(input_ids=ids, attention_mask=real.to(model.device), use_cache=False).logits[:, :-1].float()
    wanted = labels[:, 1:]
    found = logits.log_softmax(-1).gather(2, wanted.clamp(min=0).unsqueeze(2)).squeeze(2)
    sums = (found * (wanted != IGNORED)).sum(1)
    return sums[: len(pairs)] - sums[len(pairs) :]
