"""Random models of every family, too small to know anything: two layers of width 64 and a byte tokenizer.

Norms, biases and weights are all random, so that no two parts of a model can be exchanged unseen; the tokenizers
put a beginning-of-text token before whatever they are given, as the real ones do.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torchtune_case as case
from tuneloop.experiment.identity import file_hash

VOCABULARY = 320
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
LLAMA3_TOKENS = (
    *("<|begin_of_text|>", "<|end_of_text|>", "<|finetune_right_pad_id|>"),
    *("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
)
SCALED = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
GEMMA_TOKENS = ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>")


@dataclass(frozen=True)
class Small:
    model_type: str
    tokens: tuple[str, ...]
    end_of_turn: str
    bos: str | None
    config: dict[str, Any] = field(default_factory=dict)


SMALL = {
    "llama2": Small("llama", ("<unk>", "<s>", "</s>"), "</s>", "<s>", {"tie_word_embeddings": False}),
    "llama3": Small(
        "llama",
        LLAMA3_TOKENS,
        "<|eot_id|>",
        LLAMA3_TOKENS[0],
        {"rope_theta": 500000.0, "rms_norm_eps": 1e-5, "tie_word_embeddings": False},
    ),
    "llama3_2": Small(
        "llama",
        LLAMA3_TOKENS,
        "<|eot_id|>",
        LLAMA3_TOKENS[0],
        {
            "rope_theta": 500000.0,
            "rope_scaling": {"rope_type": "llama3", "factor": 32.0, **SCALED},
            "rms_norm_eps": 1e-5,
            "tie_word_embeddings": True,
        },
    ),
    "qwen2": Small(
        "qwen2",
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        "<|im_end|>",
        None,
        {"rope_theta": 1000000.0, "tie_word_embeddings": False},
    ),
    "mistral": Small(
        "mistral",
        ("<unk>", "<s>", "</s>", "[INST]", "[/INST]"),
        "</s>",
        "<s>",
        {"sliding_window": 128, "rms_norm_eps": 1e-5},
    ),
    "gemma": Small("gemma", GEMMA_TOKENS, "<end_of_turn>", "<bos>", {"head_dim": 32}),
    "gemma2": Small(
        "gemma2",
        GEMMA_TOKENS,
        "<end_of_turn>",
        "<bos>",
        # Caps near the values that they cap, and a window shorter than a sample: all of them must count.
        {
            "head_dim": 32,
            "query_pre_attn_scalar": 24,
            "sliding_window": 8,
            "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": 3.0,
        },
    ),
    "phi3": Small(
        "phi3",
        ("<|endoftext|>", "<|assistant|>", "<|user|>", "<|system|>", "<|end|>"),
        "<|end|>",
        None,
        {"sliding_window": 200, "rms_norm_eps": 1e-5},
    ),
}


def make(name: str, folder: Path, **changes: Any) -> Path:
    """Write a random model of the family `name` to `folder`; `changes` go into its config."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    small = SMALL[name]
    ids = {token: 256 + place for place, token in enumerate(small.tokens)}
    special = {"eos_token_id": ids[small.end_of_turn], "pad_token_id": ids[small.tokens[0]]}
    special["bos_token_id"] = ids[small.bos] if small.bos else special["pad_token_id"]
    config = AutoConfig.for_model(small.model_type, **{**SHAPE, **special, **small.config, **changes})
    model = AutoModelForCausalLM.from_config(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 1:
                weight.add_(0.3 * torch.randn(weight.shape, generator=generator))
            else:
                weight.copy_(0.15 * torch.randn(weight.shape, generator=generator))
    model.save_pretrained(folder)
    _write_tokenizer(small, folder)
    return folder


def cache(model: Path, hub_id: str, home: Path) -> Path:
    """Lay the folder out under HF_HOME as huggingface_hub does: links into blobs. Return the snapshot."""
    storage = home / "hub" / f"models--{hub_id.replace('/', '--')}"
    snapshot = storage / "snapshots" / ("0123456789" * 4)
    for folder in (snapshot, storage / "blobs", storage / "refs"):
        folder.mkdir(parents=True)
    (storage / "refs" / "main").write_text(snapshot.name)
    for path in model.iterdir():
        blob = storage / "blobs" / file_hash(path).removeprefix("sha256:")
        blob.write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(Path("../../blobs") / blob.name)
    return snapshot


def _write_tokenizer(small: Small, folder: Path) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, processors
    from tokenizers.models import BPE

    tokenizer = Tokenizer(BPE(vocab=json.loads((case.TINY / "vocab.json").read_text()), merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in small.tokens])
    if small.bos:
        bos = (small.bos, tokenizer.token_to_id(small.bos))
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{small.bos} $A", special_tokens=[bos])
    tokenizer.save(str(folder / "tokenizer.json"))
    said = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": small.bos,
        "eos_token": small.end_of_turn,
        "pad_token": small.tokens[0],
        "model_max_length": SHAPE["max_position_embeddings"],
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
