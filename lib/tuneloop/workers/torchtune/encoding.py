"""A sample as tokens and mask, for each kind of training: the one place that says what is trained.

Datasets, estimates and verification all encode through here. Needs neither torch nor torchtune.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from tuneloop.workers.torchtune.components.tokenizer import ChatTokenizer
from tuneloop.workers.torchtune.data import Reading, answers, turns

Kind = Literal["sft", "text", "preference", "prompts"]
IGNORED = -100  # torchtune's CROSS_ENTROPY_IGNORE_IDX
# What ends a document, by the name that families give it. Gemma's and Phi's vocabularies have </s> too, for HTML.
_ENDS_OF_TEXT = ("<|endoftext|>", "<|end_of_text|>", "<eos>", "</s>")


class Encoded(NamedTuple):
    tokens: list[int]
    mask: list[bool]  # True: read, not trained

    @property
    def labels(self) -> list[int]:
        """The tokens to predict. The first one never is: in a pack it would be predicted from another sample."""
        said = [IGNORED if masked else token for token, masked in zip(self.tokens, self.mask, strict=True)]
        return [IGNORED, *said[1:]]


def kind_of(objective: str, file_format: str) -> Kind:
    """Return how samples of a format are trained under an objective that takes them."""
    if objective == "rl":
        return "prompts"
    return "preference" if file_format == "preference" else "text" if file_format == "text" else "sft"


def encode(sample: Mapping[str, Any], how: Reading, tokenizer: ChatTokenizer, *, whole: bool = False) -> Encoded:
    """Return an instruct, chat or text sample, cut at the tokenizer's `max_seq_len` unless a text is wanted whole."""
    if how.format != "text":
        return Encoded(*tokenizer.tokenize(turns(sample, how)))
    tokens = _text(sample[how.column("text")], tokenizer)
    kept = tokens if whole else tokens[: tokenizer.max_seq_len]
    return Encoded(kept, [False] * len(kept))


def encode_pair(sample: Mapping[str, Any], how: Reading, tokenizer: ChatTokenizer) -> tuple[Encoded, Encoded]:
    """Return the chosen and the rejected side of a preference; what they share is masked."""
    chosen, rejected = answers(sample, how)
    return Encoded(*tokenizer.tokenize(chosen)), Encoded(*tokenizer.tokenize(rejected))


def encode_prompt(sample: Mapping[str, Any], how: Reading, tokenizer: ChatTokenizer) -> Encoded:
    """Return a sample up to where the model speaks last, its answer left off. Nothing is trained of it.

    Raises ValueError for a prompt longer than `max_seq_len`: cut, it would not end where the model speaks.
    """
    tokens = tokenizer.prompt(turns(sample, how)[:-1])
    if tokenizer.max_seq_len is not None and len(tokens) > tokenizer.max_seq_len:
        raise ValueError(f"a prompt has {len(tokens)} tokens, more than max_seq_len, {tokenizer.max_seq_len}")
    return Encoded(tokens, [True] * len(tokens))


def length_of(kind: Kind, sample: Mapping[str, Any], how: Reading, tokenizer: ChatTokenizer) -> int:
    """Return the tokens of a sample; of a preference those of its longer side."""
    if kind == "preference":
        return max(len(side.tokens) for side in encode_pair(sample, how, tokenizer))
    if kind == "prompts":
        return len(encode_prompt(sample, how, tokenizer).tokens)
    return len(encode(sample, how, tokenizer).tokens)


def end_of_text(tokenizer: ChatTokenizer) -> int:
    """Return the token that ends a document; the one that ends a turn where a vocabulary has no other."""
    found = (tokenizer.tokenizer.token_to_id(token) for token in _ENDS_OF_TEXT)
    return int(next((token for token in found if token is not None), tokenizer.eos_id))


def _text(text: str, tokenizer: ChatTokenizer) -> list[int]:
    tokens = tokenizer.document(text)
    end = end_of_text(tokenizer)
    return tokens if tokens and tokens[-1] == end else [*tokens, end]
