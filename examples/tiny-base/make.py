"""Make the tiny base model: a Qwen2-architecture chat model that knows five string operations.

Knows the model's dimensions, its byte-level tokenizer in the two formats that torchtune and transformers
read, the data it learns from, and how it is trained. It writes one Hugging Face model folder.

The five operations are chosen so that a task like "capitalize" (upper the first letter, lower the rest)
is a recombination of things the base can do but not something it was ever asked: a LoRA adapter of a few
ranks can learn it in seconds, and the base alone cannot do it.

The same seed, thread count and library versions give the same weights.
"""

import argparse
import json
import math
import random
import string
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from torchtune.models.qwen2_5 import qwen2_5_tokenizer
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
# torchtune's Qwen2.5 tokenizer looks the two tool markers up when it is built.
SPECIAL_TOKENS = [END_OF_TEXT, TURN_START, TURN_END, "<tool_call>", "</tool_call>"]
SPECIAL_IDS = {token: 256 + place for place, token in enumerate(SPECIAL_TOKENS)}
IGNORED = -100  # the label that cross entropy skips

MODEL_CONFIG: dict[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "vocab_size": 320,  # 256 bytes and 5 special tokens, padded to a multiple of 64
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_act": "silu",
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-06,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "attention_dropout": 0.0,
    "initializer_range": 0.02,
    "use_cache": True,
    "use_sliding_window": False,
    "bos_token_id": None,
    "eos_token_id": SPECIAL_IDS[TURN_END],
    "pad_token_id": SPECIAL_IDS[END_OF_TEXT],
    "torch_dtype": "float32",
}

GENERATION_CONFIG: dict[str, Any] = {
    "do_sample": False,
    "eos_token_id": SPECIAL_IDS[TURN_END],
    "pad_token_id": SPECIAL_IDS[END_OF_TEXT],
}

# ChatML with no default system prompt: up to the generation prompt it is what torchtune renders.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

OPERATIONS: dict[str, Callable[[str], str]] = {
    "copy": lambda word: word,
    "upper": str.upper,
    "lower": str.lower,
    "first": lambda word: word[0],
    "last": lambda word: word[-1],
}
WORD_LENGTHS = range(3, 7)

STEPS = 3_000
BATCH_SIZE = 64
PEAK_LR = 2e-3
WARMUP_STEPS = 200
WEIGHT_DECAY = 0.1
MAX_GRAD_NORM = 1.0


class Sample(NamedTuple):
    prompt: str
    answer: str


class Batch(NamedTuple):
    ids: torch.Tensor
    labels: torch.Tensor


def sample(seed: int, index: int) -> Sample:
    """Return sample `index`; each has its own random stream, so none depends on how many came before."""
    stream = random.Random(f"tiny-base/{seed}/{index}")
    operation = stream.choice(list(OPERATIONS))
    word = "".join(stream.choices(string.ascii_letters, k=stream.choice(WORD_LENGTHS)))
    return Sample(f"{operation}: {word}", OPERATIONS[operation](word))


def encode(text: str) -> list[int]:
    """Return the ids of a text without special tokens: with a byte vocabulary they are its bytes."""
    return list(text.encode("utf-8"))


ASSISTANT_HEADER = [SPECIAL_IDS[TURN_START], *encode("assistant\n")]  # the generation prompt


def user_turn(prompt: str) -> list[int]:
    return [SPECIAL_IDS[TURN_START], *encode(f"user\n{prompt}"), SPECIAL_IDS[TURN_END], *encode("\n")]


def make_batch(samples: list[Sample]) -> Batch:
    """Return padded ids and labels; only the assistant's turn is learned, from its header to its end.

    torchtune counts the header as part of the turn. A base that had never learned it would spend most of
    a short fine-tune on it.
    """
    users = [user_turn(item.prompt) for item in samples]
    answers = [[*ASSISTANT_HEADER, *encode(item.answer), SPECIAL_IDS[TURN_END]] for item in samples]
    width = max(len(user) + len(answer) for user, answer in zip(users, answers, strict=True))
    ids = torch.full((len(samples), width), SPECIAL_IDS[END_OF_TEXT])
    labels = torch.full((len(samples), width), IGNORED)
    for row, (user, answer) in enumerate(zip(users, answers, strict=True)):
        end = len(user) + len(answer)
        ids[row, :end] = torch.tensor(user + answer)
        labels[row, len(user) : end] = torch.tensor(answer)
    return Batch(ids, labels)


def learning_rate(step: int, steps: int) -> float:
    """Return the rate of the 1-based step: linear warm-up, then a cosine down to zero."""
    warmup = min(WARMUP_STEPS, steps // 10)  # so that a short run in a test warms up too
    if step <= warmup:
        return PEAK_LR * step / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return PEAK_LR * 0.5 * (1 + math.cos(math.pi * progress))


def new_model(seed: int) -> Qwen2ForCausalLM:
    torch.manual_seed(seed)
    return Qwen2ForCausalLM(Qwen2Config(**MODEL_CONFIG))


def train(model: Qwen2ForCausalLM, steps: int, seed: int, batch_size: int = BATCH_SIZE) -> Iterator[float]:
    """Train the model in place and yield the loss of each step; no sample is seen twice."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_LR, weight_decay=WEIGHT_DECAY)
    model.train()
    for step in range(1, steps + 1):
        first = (step - 1) * batch_size
        batch = make_batch([sample(seed, index) for index in range(first, first + batch_size)])
        # Padding stands on the right, where a causal model never looks from a real token: no mask needed.
        loss = model(input_ids=batch.ids, labels=batch.labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        optimizer.step()
        yield loss.item()


def byte_alphabet() -> dict[str, int]:
    """Return the printable stand-in of every byte, as byte-level BPE files spell them."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in printable]
    stand_in = {byte: chr(byte) for byte in printable}
    stand_in |= {byte: chr(256 + place) for place, byte in enumerate(hidden)}
    return {stand_in[byte]: byte for byte in range(256)}


def write_tokenizer(out: Path) -> None:
    """Write the same tokenizer three times: for torchtune, for transformers, and the chat template."""
    alphabet = byte_alphabet()
    write_json(out / "vocab.json", alphabet)
    (out / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    added = [{"id": token_id, "content": token} for token, token_id in SPECIAL_IDS.items()]
    write_json(out / "special_tokens.json", {"added_tokens": added})

    tokenizer = Tokenizer(BPE(vocab=alphabet, merges=[]))
    tokenizer.normalizer = normalizers.NFC()  # torchtune normalizes, so this side must too
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    tokenizer.save(str(out / "tokenizer.json"))
    write_json(
        out / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": None,
            "eos_token": TURN_END,
            "pad_token": END_OF_TEXT,
            "unk_token": None,
            "clean_up_tokenization_spaces": False,
            "model_max_length": MODEL_CONFIG["max_position_embeddings"],
        },
    )
    (out / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")


def check_tokenizers(folder: Path) -> None:
    """Raise AssertionError unless this script, torchtune and transformers give the same ids."""
    for_torchtune = qwen2_5_tokenizer(
        path=str(folder / "vocab.json"),
        merges_file=str(folder / "merges.txt"),
        special_tokens_path=str(folder / "special_tokens.json"),
    )
    for_transformers = AutoTokenizer.from_pretrained(folder)
    for text in [
        "copy: wOrd",
        " two  spaces\n\nand\ttabs ",
        "naïve 東京 🙂 1234",
        "it's <b>",
        "".join(map(chr, range(256))),
    ]:
        expected = encode(text)
        assert for_torchtune.encode(text, add_bos=False, add_eos=False) == expected, text
        assert for_transformers.encode(text, add_special_tokens=False) == expected, text
        assert for_transformers.decode(expected) == for_torchtune.decode(expected) == text, text
    turn = [{"role": "user", "content": "copy: wOrd"}]
    rendered = for_transformers.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
    for ids in [
        for_torchtune.encode(rendered, add_bos=False, add_eos=False),
        for_transformers.encode(rendered, add_special_tokens=False),
    ]:
        assert ids == user_turn("copy: wOrd") + ASSISTANT_HEADER, rendered


def write_model(model: Qwen2ForCausalLM, out: Path) -> None:
    write_json(out / "config.json", MODEL_CONFIG)
    write_json(out / "generation_config.json", GENERATION_CONFIG)
    # The output layer shares the embedding's tensor; a safetensors file holds a shared tensor once.
    weights = {name: tensor for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})


def write_json(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder for the model files")
    parser.add_argument("--steps", type=int, default=STEPS, help="optimizer steps (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="for the weights and the data (default: %(default)s)")
    arguments = parser.parse_args()

    arguments.out.mkdir(parents=True, exist_ok=True)
    write_tokenizer(arguments.out)
    check_tokenizers(arguments.out)
    model = new_model(arguments.seed)
    for step, loss in enumerate(train(model, arguments.steps, arguments.seed), start=1):
        if step % 50 == 0 or step == arguments.steps:
            print(f"step {step} loss {loss:.4f}", flush=True)
    write_model(model, arguments.out)


if __name__ == "__main__":
    main()
