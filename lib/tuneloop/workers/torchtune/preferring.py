"""The validation of preferences: DPO's loss against the model as it was before, and how often it prefers rightly.

L = -(1-e) log s(b d) - e log s(-b d), with s the logistic function, b the loss's beta, e its label smoothing, and d the
log-probability ratio of chosen to rejected answer less that of the reference (Rafailov et al. 2023, "Direct Preference
Optimization", equation 7).
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from tuneloop.workers.torchtune.encoding import IGNORED, Encoded
from tuneloop.workers.torchtune.fields import FIELDS

_PAIRS = 32  # a batch holds both sides


class Preferred(NamedTuple):
    loss: float  # mean over the pairs
    accuracy: float  # share of the pairs whose chosen answer gains on the rejected one
    tokens: int  # trained ones, of both sides


def is_dpo(loss: Mapping[str, Any]) -> bool:
    """Tell whether a config's loss is the one that is computed here."""
    return str(loss.get("_component_", "")).endswith(".DPOLoss")


def preferred(
    model: Any,
    reference: Callable[[], AbstractContextManager[Any]],
    pairs: Sequence[tuple[Encoded, Encoded]],
    loss: Mapping[str, Any],
    pad: int,
) -> Preferred:
    """Return how the model prefers; `reference` lends the model as it was before training."""
    import torch
    from torch.nn.functional import logsigmoid

    # A config says both, unless its design replaced the section as a whole; our defaults are torchtune's.
    beta, smoothing = (float(loss.get(name, FIELDS[name].default)) for name in ("beta", "label_smoothing"))
    ordered = sorted(pairs, key=lambda pair: max(len(side.tokens) for side in pair))
    total, right, trained = 0.0, 0, 0
    with torch.inference_mode():
        for start in range(0, len(ordered), _PAIRS):
            batch = ordered[start : start + _PAIRS]
            sides = [pair[0] for pair in batch] + [pair[1] for pair in batch]
            tensors = padded(sides, pad, model.device)
            ours = _ratios(model, *tensors)
            with reference() as before:
                gain = beta * (ours - _ratios(before, *tensors))
            total -= float(((1 - smoothing) * logsigmoid(gain) + smoothing * logsigmoid(-gain)).sum())
            right += int((gain > 0).sum())
            trained += int((tensors[1][:, 1:] != IGNORED).sum())
    return Preferred(total / len(ordered), right / len(ordered), trained)


def padded(batch: Sequence[Encoded], pad: int, device: Any) -> tuple[Any, Any, Any]:
    """Return ids, labels and attention mask of a batch, each of shape (samples, longest)."""
    import torch

    width = max(len(item.tokens) for item in batch)
    ids = torch.full((len(batch), width), pad)
    labels = torch.full((len(batch), width), IGNORED)
    attention = torch.zeros((len(batch), width), dtype=torch.long)
    for row, item in enumerate(batch):
        ids[row, : len(item.tokens)] = torch.tensor(item.tokens)
        attention[row, : len(item.tokens)] = 1
        labels[row, : len(item.tokens)] = torch.tensor(item.labels)
    return ids.to(device), labels.to(device), attention.to(device)


def _ratios(model: Any, ids: Any, labels: Any, attention: Any) -> Any:
    """Return log p(chosen) - log p(rejected) of each pair; the first half of the batch is chosen."""
    from torch.nn.functional import cross_entropy

    logits = model(input_ids=ids, attention_mask=attention, use_cache=False).logits[:, :-1].float()
    lost = cross_entropy(logits.transpose(1, 2), labels[:, 1:], ignore_index=IGNORED, reduction="none").sum(dim=1)
    half = len(lost) // 2
    return lost[half:] - lost[:half]
