"""What every family says of itself, and how a config.json is read.

Every dimension is passed explicitly and equals the folder's; rope_base and norm_eps above all, where torchtune's
defaults differ from a model's and nothing would say so. What torchtune cannot build is refused: it would train
another model in silence. No table of models.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import InputError, Problem, Problems

TEMPLATES = Path(__file__).parents[1] / "templates"
# torchtune reads them without a default, in a builder or in its checkpointer.
_REQUIRED = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
)


@dataclass(frozen=True)
class Chat:
    """How turns are written down; a tokenizer can write them when it has all of `needs` and one of `pads`."""

    name: str  # of the template file
    end_of_turn: str
    pads: tuple[str, ...]  # the first one that the tokenizer has fills batches
    needs: tuple[str, ...]  # the special tokens in the template

    @property
    def file(self) -> Path:
        return TEMPLATES / f"{self.name}.jinja"


@dataclass(frozen=True)
class Layout:
    """How the rows of torchtune's attention and MLP weights lie beside transformers'."""

    heads: int
    key_value_heads: int
    head_dim: int
    # torchtune's rotary embedding turns neighbouring rows of a head, transformers' turns rows half a head apart: so
    # the rows of q_proj and k_proj are permuted between them, except where torchtune has the other embedding.
    interleaved: bool
    fused: bool  # transformers keeps q, k, v in one matrix and gate, up in another


@dataclass(frozen=True)
class Family:
    """What torchtune must be told about a kind of model."""

    name: str
    model_type: str  # torchtune's ModelType
    builder: str  # dotted path of the component builder
    lora_builder: str
    dimensions: Mapping[str, Any]
    chat: Chat
    layout: Layout
    parameters: int
    max_positions: int  # up to which torchtune computes what transformers does
    tied: bool = False  # the output layer shares the embedding's weights
    adapts_output: bool = True  # the LoRA builder has an `apply_lora_to_output`
    mended_dora: str | None = None  # a builder for adapters with magnitudes, where torchtune's own does not serve

    @property
    def template_file(self) -> str:
        return str(self.chat.file)

    @property
    def template(self) -> str:
        return self.chat.file.read_text(encoding="utf-8")

    @property
    def dora_builder(self) -> str:
        return self.mended_dora or self.lora_builder

    @property
    def end_of_turn(self) -> str:
        return self.chat.end_of_turn


def check_required(config: Mapping[str, Any], source: Path, *more: str) -> None:
    """Raise InputError with every key that is missing."""
    problems = Problems()
    for key in (*_REQUIRED, *more):
        if config.get(key) is None:
            hint = "write it in: transformers' default is not torchtune's"
            problems.add(f"config.json has no `{key}`, which torchtune needs", source=source, hint=hint)
    problems.raise_if_any()


def check_values(config: Mapping[str, Any], source: Path, wanted: Mapping[str, tuple[Any, ...]]) -> None:
    """Raise InputError with every key whose value is none of those that torchtune's builders can express.

    A key that is missing has the first one.
    """
    problems = Problems()
    for key, values in wanted.items():
        found = config.get(key, values[0])
        if found not in values:
            problems.add(f"torchtune cannot build a model with `{key}: {found}`", source=source)
    problems.raise_if_any()


def check_head(config: Mapping[str, Any], source: Path) -> None:
    """Raise InputError where the heads do not make up the width, which most builders take for granted."""
    if head_dim(config) * config["num_attention_heads"] != config["hidden_size"]:
        raise InputError(Problem("`head_dim` times `num_attention_heads` is not `hidden_size`", source))


def check_scaling(config: Mapping[str, Any], source: Path, family: str, *known: str) -> str:
    """Return the type of rope scaling. Raises InputError where it is neither `default` nor a known one."""
    found = rope(config)
    scaling = str(found.get("rope_type", found.get("type", "default")))
    if scaling not in ("default", *known):
        raise InputError(Problem(f"torchtune's {family} has no rope scaling of type `{scaling}`", source))
    return scaling


def rope(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the rotary settings; transformers 5 writes `rope_parameters`, before it was `rope_scaling`."""
    return config.get("rope_parameters") or config.get("rope_scaling") or {}


def head_dim(config: Mapping[str, Any]) -> int:
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def dimensions(config: Mapping[str, Any], *, norm_eps: float = 1e-6) -> dict[str, Any]:
    """Return what all builders take. `norm_eps` is transformers' default for the family."""
    return {
        "vocab_size": config["vocab_size"],
        "num_layers": config["num_hidden_layers"],
        "num_heads": config["num_attention_heads"],
        "num_kv_heads": config["num_key_value_heads"],
        "embed_dim": config["hidden_size"],
        "intermediate_dim": config["intermediate_size"],
        "max_seq_len": config["max_position_embeddings"],
        "attn_dropout": config.get("attention_dropout", 0.0),
        "norm_eps": config.get("rms_norm_eps", norm_eps),
        "rope_base": rope(config).get("rope_theta", config.get("rope_theta", 10_000.0)),
    }


def layout(config: Mapping[str, Any], *, interleaved: bool, fused: bool = False) -> Layout:
    heads, key_value = config["num_attention_heads"], config["num_key_value_heads"]
    return Layout(heads, key_value, head_dim(config), interleaved, fused)


def parameters(config: Mapping[str, Any], *, tied: bool, biased: bool = False, norms: int = 2) -> int:
    """Return the number of parameters of a decoder; `norms` a layer, `biased` where q, k, v have biases."""
    width, layers, head = config["hidden_size"], config["num_hidden_layers"], head_dim(config)
    query, key_value = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    attention = 2 * width * query + 2 * width * key_value
    if biased:
        attention += query + 2 * key_value
    layer = attention + 3 * width * config["intermediate_size"] + norms * width
    embeddings = config["vocab_size"] * width * (1 if tied else 2)
    return int(layers * layer + embeddings + width)


def max_positions(config: Mapping[str, Any]) -> int:
    """Return the positions of a model whose sliding window torchtune leaves out: up to it, there is no difference."""
    positions = int(config["max_position_embeddings"])
    return min(positions, int(config.get("sliding_window") or positions))


def choose_chat(chats: tuple[Chat, ...], tokens: frozenset[str], family: str, tokenizer: Path) -> Chat:
    """Return the first chat whose tokens the tokenizer has. Raises InputError where there is none."""
    for chat in chats:
        if tokens.issuperset(chat.needs) and tokens.intersection(chat.pads):
            return chat
    chat = chats[0]
    missing = next((token for token in (chat.end_of_turn, *chat.needs) if token not in tokens), chat.pads[0])
    message = f"the tokenizer has no special token {missing}, which chats of {family} are written with"
    raise InputError(Problem(message, tokenizer, hint="take the folder of an instruct model, or add the token"))
