"""Answering one prompt, as an evaluation would have it answered: same template, same tokenizer, same weights."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import FailedError, Problem
from tuneloop.documents.files import read_text
from tuneloop.workers.models import Sampled, SampleRequest, Weights
from tuneloop.workers.torchtune.finishing import stop_ids
from tuneloop.workers.torchtune.loading import pretrained, with_adapter
from tuneloop.workers.torchtune.merging import base_of
from tuneloop.workers.torchtune.weights import ADAPTER_CONFIG

_TOKENIZER = "tokenizer_config.json"


def sample(request: SampleRequest) -> Sampled:
    """Return the model's answer; greedy without a temperature. Raises FailedError when the model does not load."""
    import torch

    weights = request.weights
    tokenizer = _loaded(_tokenizer, weights)
    prompt = _rendered(tokenizer, request.messages, weights)
    model = _loaded(_model, weights)
    ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)["input_ids"].to(model.device)
    # An adapter's own config knows the turn's end that it was trained on; its base's may not.
    said = [tokenizer.eos_token_id, *stop_ids(Path(weights.folder)), *_said(model)]
    ends = list(dict.fromkeys(token for token in said if token is not None))
    torch.manual_seed(request.seed)
    with torch.no_grad():
        made = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=request.max_tokens,
            eos_token_id=ends,
            pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else ends[0],
            **_choice(request.temperature),
        )
    new = made[0, ids.shape[1] :].tolist()
    ended = bool(new) and new[-1] in ends
    return Sampled(prompt, str(tokenizer.decode(new, skip_special_tokens=True)), len(new), ended)


def _choice(temperature: float | None) -> dict[str, Any]:
    """Return how a token is chosen; what a model's own generation config says of it does not count."""
    if not temperature:
        return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    return {"do_sample": True, "temperature": temperature, "top_p": 1.0, "top_k": 0}


def _said(model: Any) -> list[int]:
    """Return the ids at which the loaded model's generation config stops."""
    said = model.generation_config.eos_token_id
    return said if isinstance(said, list) else [] if said is None else [said]


def _loaded(load: Callable[[Weights], Any], weights: Weights) -> Any:
    """Return what `load` makes of the weights. Raises FailedError with the library's own words."""
    try:
        return load(weights)
    except FailedError:
        raise
    except Exception as error:
        raise FailedError(Problem(f"does not load: {type(error).__name__}: {error}", Path(weights.folder))) from error


def _tokenizer(weights: Weights) -> Any:
    from transformers import AutoTokenizer

    folder = weights.folder if (Path(weights.folder) / _TOKENIZER).is_file() else weights.base
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def _rendered(tokenizer: Any, messages: Sequence[Mapping[str, str]], weights: Weights) -> str:
    template = None if weights.chat_template is None else read_text(Path(weights.chat_template))
    if template is None and tokenizer.chat_template is None:
        raise FailedError(Problem("the model has no chat template", Path(weights.folder)))
    return str(
        tokenizer.apply_chat_template(
            [dict(item) for item in messages], chat_template=template, tokenize=False, add_generation_prompt=True
        )
    )


def _model(weights: Weights) -> Any:
    import torch

    checkpoint = Path(weights.folder)
    if (checkpoint / ADAPTER_CONFIG).is_file():
        model = with_adapter(pretrained(base_of(checkpoint, Path(weights.base))), checkpoint)
    else:
        model = pretrained(checkpoint)
    return model.to("cuda" if weights.gpus and torch.cuda.is_available() else "cpu").eval()
