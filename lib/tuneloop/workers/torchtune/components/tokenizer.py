"""The tokenizer component: a model folder's `tokenizer.json` and the run's chat template.

One template serves training and evaluation, and the ids are transformers' own, because both sides render the
same Jinja text and encode it with the same file. What torchtune's tokenizers do otherwise:

- with `max_seq_len` set, Qwen2's mask ends in "ignored" even where nothing was cut, so the end-of-turn token is
  never trained and the model never stops (torchtune#2792);
- a prompt template's pieces are encoded one by one (and stripped one by one for Llama 3), which gives other ids
  than the whole text does.

As in torchtune, the whole assistant turn is trained, from its header to its end-of-turn token. A sample that is
too long is cut plainly: nothing is put in the place of its last token, so no answer is taught to stop midway.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Template
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer


class Turn(NamedTuple):
    role: str
    text: str
    masked: bool  # True: read, not trained


class ChatTokenizer:
    """A torchtune model tokenizer (`tokenize_messages`, `__call__`, `pad_id`, `max_seq_len`).

    Args:
        path: the model folder's tokenizer.json.
        chat_template: the run's Jinja template.
        end_of_turn: the token that ends a turn; it is trained.
        pad: the token that fills batches; it is ignored.
        max_seq_len: tokens of a sample at most; None for no limit.
    """

    def __init__(
        self,
        path: str,
        chat_template: str,
        end_of_turn: str,
        pad: str,
        max_seq_len: int | None = None,
    ) -> None:
        self.tokenizer = Tokenizer.from_file(str(path))
        self._whole = Tokenizer.from_file(str(path))
        # It adds tokens that the template writes itself, or trims blanks off the places that tell turns apart.
        self.tokenizer.post_processor = None
        self.template = compiled(Path(chat_template).read_text(encoding="utf-8"))
        self.end_of_turn = end_of_turn
        self.eos_id = self._id(end_of_turn)
        self.pad_id = self._id(pad)
        self.bos_id = None  # the template writes it where there is one
        self.stop_tokens = [self.eos_id]
        self.max_seq_len = max_seq_len

    @property
    def vocab_size(self) -> int:
        return int(self.tokenizer.get_vocab_size())

    def encode(self, text: str, add_bos: bool = False, add_eos: bool = False) -> list[int]:
        """Return the ids of `text` with no token added, unless asked for the end-of-turn token."""
        del add_bos
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return [*ids, self.eos_id] if add_eos else ids

    def document(self, text: str) -> list[int]:
        """Return the ids of a plain text as transformers encodes it, with the token that begins one where there is."""
        return list(self._whole.encode(text).ids)

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        return str(self.tokenizer.decode(list(token_ids), skip_special_tokens=skip_special_tokens))

    def tokenize(self, turns: Sequence[Turn]) -> tuple[list[int], list[bool]]:
        """Return the ids of a conversation and its mask (True: ignored in the loss), cut at `max_seq_len`."""
        segments = self._segments(turns)
        # In one piece: some tokenizers put a blank before whatever they are given.
        encoded = self.tokenizer.encode("".join(segments), add_special_tokens=False)
        ends = list(accumulate(len(text) for text in segments))
        mask = [turns[bisect_right(ends, start)].masked for start, _ in encoded.offsets]
        return encoded.ids[: self.max_seq_len], mask[: self.max_seq_len]

    def prompt(self, turns: Sequence[Turn]) -> list[int]:
        """Return the ids of a conversation up to where the model speaks, as it is generated from."""
        return self.encode(self.template.render(messages=self._said(turns), add_generation_prompt=True))

    def tokenize_messages(self, messages: Sequence[Any], **_: Any) -> tuple[list[int], list[bool]]:
        """Tokenize torchtune's Messages."""
        return self.tokenize([Turn(item.role, item.text_content, item.masked) for item in messages])

    def __call__(self, sample: Mapping[str, Any], inference: bool = False) -> dict[str, Any]:
        messages = sample["messages"]
        rest = {key: value for key, value in sample.items() if key != "messages"}
        if inference:
            tokens = self.prompt([Turn(item.role, item.text_content, item.masked) for item in messages])
            return {**rest, "tokens": tokens, "mask": [True] * len(tokens)}
        tokens, mask = self.tokenize_messages(messages)
        return {**rest, "tokens": tokens, "mask": mask}

    def _segments(self, turns: Sequence[Turn]) -> list[str]:
        """Return the rendered text of each turn; the last one ends with its end-of-turn token."""
        said = self._said(turns)
        segments, before = [], ""
        for count in range(1, len(said) + 1):
            whole = self.template.render(messages=said[:count], add_generation_prompt=False)
            if not whole.startswith(before):
                raise ValueError("the chat template rewrites earlier turns, so no turn can be masked by itself")
            segments.append(whole[len(before) :])
            before = whole
        head, found, _ = segments[-1].rpartition(self.end_of_turn)
        # ChatML writes a newline after the last turn; a model stops before it, so it is not trained.
        segments[-1] = head + found if found else segments[-1]
        return segments

    def _said(self, turns: Sequence[Turn]) -> list[dict[str, str]]:
        return [{"role": turn.role, "content": turn.text} for turn in turns]

    def _id(self, token: str) -> int:
        found = self.tokenizer.token_to_id(token)
        if found is None:
            raise ValueError(f"the tokenizer has no token {token}")
        return int(found)


@lru_cache(maxsize=8)
def compiled(text: str) -> Template:
    """Return a chat template compiled as transformers does it."""
    return ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(text)
