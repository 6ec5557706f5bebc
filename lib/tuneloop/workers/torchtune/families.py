"""Model families: from a Hugging Face config.json to torchtune's component builders.

Every dimension is passed explicitly and equals the folder's; rope_base and norm_eps above all, where torchtune's
defaults differ from a model's and nothing would say so. No table of models.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import InputError, Problem, Problems
from tuneloop.documents.files import read_text

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Family:
    """What torchtune must be told about a kind of model."""

    name: str
    model_type: str  # torchtune's ModelType
    builder: str  # dotted path of the component builder
    lora_builder: str
    dimensions: Mapping[str, Any]
    template_file: str  # the chat template that is trained
    end_of_turn: str
    pads: tuple[str, ...]  # the first one that the tokenizer has fills batches
    # torchtune 0.6.1 reorders lora_B of q_proj and k_proj on writing an adapter for peft, as Llama's rotary
    # layout needs; Qwen2 has Hugging Face's own layout, so its adapters come out scrambled and verify mends them.
    rotary_permuted: bool

    @property
    def template(self) -> str:
        return Path(self.template_file).read_text(encoding="utf-8")


@dataclass(frozen=True)
class ModelFolder:
    path: Path
    config: Mapping[str, Any]
    family: Family
    weights: tuple[str, ...]  # file names
    pad: str
    max_positions: int
    described: Path | None = None  # where config and tokenizer lie, when `path` is still to be trained

    @property
    def tokenizer(self) -> Path:
        return (self.described or self.path) / "tokenizer.json"

    @property
    def parameters(self) -> int:
        return parameters(self.config)


def read_model(folder: Path) -> ModelFolder:
    """Return what the folder says of itself. Raises InputError with every reason why it cannot be trained."""
    if not folder.is_dir():
        raise InputError(Problem("no such model folder", folder, hint="set `model:` to a Hugging Face model folder"))
    config_file = folder / "config.json"
    if not config_file.is_file():
        raise InputError(Problem("no config.json in the model folder", folder))
    try:
        config = json.loads(read_text(config_file))
    except json.JSONDecodeError as error:
        raise InputError(Problem(f"not JSON: {error.msg}", config_file, error.lineno)) from None
    problems = Problems()
    if not (folder / "tokenizer.json").is_file():
        problems.add(
            "no tokenizer.json in the model folder",
            source=folder,
            hint="save it once with transformers: AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)",
        )
    weights = _weight_files(folder)
    if not weights:
        problems.add("no weights (*.safetensors or *.bin) in the model folder", source=folder)
    try:
        family = _family(config, config_file)
    except InputError as error:
        problems.extend(error)
    problems.raise_if_any()
    pad = _checked_tokens(folder / "tokenizer.json", family)
    return ModelFolder(folder, config, family, weights, pad, int(config.get("max_position_embeddings", 4096)))


def parameters(config: Mapping[str, Any]) -> int:
    """Return the number of parameters of a Llama-shaped decoder (biases of Qwen2's q, k, v included)."""
    width, layers = config["hidden_size"], config["num_hidden_layers"]
    head = width // config["num_attention_heads"]
    key_value = config.get("num_key_value_heads", config["num_attention_heads"]) * head
    attention = 2 * width * width + 2 * width * key_value
    if config.get("model_type") == "qwen2":
        attention += width + 2 * key_value
    layer = attention + 3 * width * config["intermediate_size"] + 2 * width
    embeddings = config["vocab_size"] * width * (1 if config.get("tie_word_embeddings") else 2)
    return int(layers * layer + embeddings + width)


def _checked_tokens(tokenizer: Path, family: Family) -> str:
    """Return the padding token. Raises InputError where the tokenizer cannot write the family's turns."""
    added = {item["content"] for item in json.loads(read_text(tokenizer)).get("added_tokens", [])}
    pad = next((token for token in family.pads if token in added), None)
    if pad is None or family.end_of_turn not in added:
        missing = family.end_of_turn if family.end_of_turn not in added else family.pads[0]
        raise InputError(
            Problem(f"the tokenizer has no special token {missing}, which chats of {family.name} end with", tokenizer)
        )
    return pad


def _weight_files(folder: Path) -> tuple[str, ...]:
    for index in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        if (folder / index).is_file():
            return tuple(sorted(set(json.loads(read_text(folder / index))["weight_map"].values())))
    found = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    return tuple(path.name for path in found if not path.name.startswith("adapter"))


def _family(config: Mapping[str, Any], source: Path) -> Family:
    kind = config.get("model_type")
    known: dict[Any, Callable[[Mapping[str, Any], Path], Family]] = {"qwen2": _qwen2, "llama": _llama}
    if kind not in known:
        hint = "models of the families qwen2 (Qwen2, Qwen2.5) and llama (Llama 3 to 3.2) can be trained so far"
        raise InputError(Problem(f"the model family `{kind}` is not supported yet", source, hint=hint))
    _refuse_differing(config, source)
    return known[kind](config, source)


def _refuse_differing(config: Mapping[str, Any], source: Path) -> None:
    """Refuse what torchtune's builders cannot express; they would train another model in silence."""
    problems = Problems()
    head = config.get("head_dim")
    if head is not None and head * config["num_attention_heads"] != config["hidden_size"]:
        problems.add("`head_dim` times `num_attention_heads` is not `hidden_size`", source=source)
    for key, wanted in {"hidden_act": "silu", "use_sliding_window": False, "mlp_bias": False}.items():
        if config.get(key, wanted) != wanted:
            problems.add(f"torchtune cannot build a model with `{key}: {config[key]}`", source=source)
    if config["model_type"] == "llama" and config.get("attention_bias", False):
        problems.add("torchtune cannot build a model with `attention_bias: True`", source=source)
    problems.raise_if_any()


def _common(config: Mapping[str, Any]) -> dict[str, Any]:
    rope = _rope(config)
    base = rope.get("rope_theta", config.get("rope_theta", 10_000.0))
    return {
        "vocab_size": config["vocab_size"],
        "num_layers": config["num_hidden_layers"],
        "num_heads": config["num_attention_heads"],
        "num_kv_heads": config.get("num_key_value_heads", config["num_attention_heads"]),
        "embed_dim": config["hidden_size"],
        "intermediate_dim": config["intermediate_size"],
        "max_seq_len": config.get("max_position_embeddings", 4096),
        "attn_dropout": config.get("attention_dropout", 0.0),
        "norm_eps": config.get("rms_norm_eps", 1e-6),
        "rope_base": base,
    }


def _rope(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the rotary settings; transformers 5 writes `rope_parameters`, before it was `rope_scaling`."""
    return config.get("rope_parameters") or config.get("rope_scaling") or {}


def _qwen2(config: Mapping[str, Any], source: Path) -> Family:
    scaling = _scaling_type(config)
    if scaling != "default":
        raise InputError(Problem(f"torchtune's Qwen2 has no rope scaling of type `{scaling}`", source))
    dimensions = _common(config) | {"tie_word_embeddings": bool(config.get("tie_word_embeddings", False))}
    return Family(
        name="qwen2",
        model_type="QWEN2",
        builder="torchtune.models.qwen2.qwen2",
        lora_builder="torchtune.models.qwen2.lora_qwen2",
        dimensions=dimensions,
        template_file=str(_TEMPLATES / "chatml.jinja"),
        end_of_turn="<|im_end|>",
        pads=("<|endoftext|>",),
        rotary_permuted=False,
    )


def _llama(config: Mapping[str, Any], source: Path) -> Family:
    """Llama 3 has no scaling, 3.1 a factor of 8, 3.2 one of 32 and tied embeddings (as a rule)."""
    dimensions = _common(config)
    scaling, rope = _scaling_type(config), _rope(config)
    tied = bool(config.get("tie_word_embeddings", False))
    if scaling not in ("default", "llama3"):
        raise InputError(Problem(f"torchtune's Llama has no rope scaling of type `{scaling}`", source))
    if scaling == "llama3":
        _check_llama3_scaling(rope, source)
        dimensions["scale_factor"] = rope["factor"]
    elif tied:
        dimensions["scale_factor"] = 1  # only Llama 3.2's builder ties embeddings; a factor of 1 scales nothing
    if tied:
        dimensions["tie_word_embeddings"] = True
    module, name = ("llama3_2", "llama3_2") if tied else ("llama3_1", "llama3_1")
    if not tied and scaling == "default":
        module, name = "llama3", "llama3"
    return Family(
        name="llama3",
        model_type="LLAMA3_2" if tied else "LLAMA3",
        builder=f"torchtune.models.{module}.{name}",
        lora_builder=f"torchtune.models.{module}.lora_{name}",
        dimensions=dimensions,
        template_file=str(_TEMPLATES / "llama3.jinja"),
        end_of_turn="<|eot_id|>",
        pads=("<|finetune_right_pad_id|>", "<|end_of_text|>"),  # Llama 3.0 lacks the first
        rotary_permuted=True,
    )


def _scaling_type(config: Mapping[str, Any]) -> str:
    rope = _rope(config)
    return str(rope.get("rope_type", rope.get("type", "default")))


def _check_llama3_scaling(rope: Mapping[str, Any], source: Path) -> None:
    """torchtune's builders take the factor alone; the rest is fixed in Llama3ScaledRoPE."""
    fixed = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
    differing = [key for key, value in fixed.items() if rope.get(key, value) != value]
    if differing:
        names = ", ".join(f"`{key}: {rope[key]}`" for key in differing)
        raise InputError(Problem(f"torchtune cannot build a Llama with {names} in its rope scaling", source))
