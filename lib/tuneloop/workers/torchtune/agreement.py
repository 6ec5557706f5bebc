"""Do a run's settings agree with each other and with the model? What one value alone cannot show."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tuneloop.experiment.work import Setting
from tuneloop.workers.torchtune.inputs import Faults, Inputs
from tuneloop.workers.torchtune.recipes import IN_BACKWARD, Recipe

At = tuple[str | int, ...]
# torchao's NF4 takes blocks of 64 numbers and their scales in blocks of 256.
_NF4_NUMBERS = 64 * 256
_BIASED = ("q_proj", "k_proj", "v_proj")  # of a Qwen2


@dataclass(frozen=True)
class Case:
    """A run's settings, and where each of them stands in the design (nowhere: an empty place)."""

    settings: Mapping[str, Setting]
    raw: Mapping[str, Any]  # torchtune's own keys that the design sets
    at: Callable[[str], At]
    inputs: Inputs
    recipe: Recipe

    def __getitem__(self, name: str) -> Any:
        """Return the value of a setting, None where the recipe has no such thing."""
        return self.settings[name].value if name in self.settings else None


def check_together(case: Case, faults: Faults) -> None:
    """Add every fault between the settings of a run."""
    for check in (_lengths, _data, _targets, _limit, _in_backward, _quantized, _fake_quantized, _biased, _batches):
        check(case, faults)


def _lengths(case: Case, faults: Faults) -> None:
    longest, positions = max(case.inputs.data["train"].lengths), case.inputs.model.max_positions
    limit, answer = case["max_seq_len"], case["max_generated_tokens"] or 0
    if case["packed"] and limit is None:
        faults.add("`packed` needs `max_seq_len`", case.at("packed"), f"set `max_seq_len`, {positions} at most")
    if case["packed"] and case["device"] == "cuda" and not case.inputs.model.family.packs_on_gpu:
        name = case.inputs.model.family.name
        faults.add(f"torchtune cannot pack samples for {name} on a GPU", case.at("packed"), "set `packed: false`")
    if limit is not None and limit > positions:
        hint = f"write {positions} or less"
        faults.add(f"`max_seq_len` is {limit}, the model has {positions} positions", case.at("max_seq_len"), hint)
    if limit is None and longest > positions:
        faults.add(
            f"the longest training sample has {longest} tokens, the model {positions} positions",
            ("data", 0),
            f"set `max_seq_len: {positions}` to cut such samples",
        )
    elif answer and longest + answer > positions:
        faults.add(
            f"a prompt of {longest} tokens and an answer of {answer} exceed the model's {positions} positions",
            case.at("max_generated_tokens"),
            "lower `max_generated_tokens`, or take such prompts out",
        )


def _data(case: Case, faults: Faults) -> None:
    """Not every kind of data can be packed, or has an input beside what is trained."""
    data = case.inputs.data["train"]
    for name in ("packed", "train_on_input"):
        if case[name] and case.at(name) and name not in data.taken:
            meant = ", ".join(f"`{item}`" for item in data.taken) or "neither `packed` nor `train_on_input`"
            message = f"`{name}` has no meaning for the format `{data.format}`"
            faults.add(message, case.at(name), f"take it out; this data takes {meant}")
    longest, limit = max(data.lengths), case["max_seq_len"]
    if data.kind == "prompts" and limit is not None and longest > limit:
        message = f"the longest prompt has {longest} tokens, `max_seq_len` is {limit}"
        faults.add(
            message, case.at("max_seq_len"), "raise it: a prompt that is cut does not end where the model speaks"
        )


def _targets(case: Case, faults: Faults) -> None:
    if "output" in (case["lora_targets"] or []) and case.inputs.model.family.tied:
        faults.add(
            "`output` cannot be a LoRA target: the model's output shares the embedding's weights",
            case.at("lora_targets"),
            "take `output` out of `lora_targets`",
        )
    fused = {"q_proj", "k_proj", "v_proj"}
    chosen = fused & set(case["lora_targets"] or [])
    if case.inputs.update == "dora" and case.inputs.model.family.layout.fused and chosen and chosen != fused:
        faults.add(
            "q, k and v are one matrix for transformers, whose magnitudes train together or not at all",
            case.at("lora_targets"),
            "put all of q_proj, k_proj and v_proj into `lora_targets`, or none",
        )


def _limit(case: Case, faults: Faults) -> None:
    epochs, most = case["epochs"], case["max_steps"]
    if most is not None and most % epochs:
        faults.add(
            f"`max_steps` of {most} does not divide into {epochs} epochs",
            case.at("max_steps"),
            "torchtune limits the steps of each epoch; choose a multiple",
        )


def _in_backward(case: Case, faults: Faults) -> None:
    """An optimizer that steps inside the backward pass never sees the whole gradient."""
    preset = case.inputs.preset
    carried = preset.carried.get("optimizer_in_bwd", False) if preset is not None else False
    if IN_BACKWARD not in case.recipe.traits or not case.raw.get("optimizer_in_bwd", carried):
        return
    hint = "take it out, or set `torchtune: {optimizer_in_bwd: false}`"
    if case["clip_grad_norm"] is not None:
        at = case.at("clip_grad_norm")
        faults.add("`optimizer_in_bwd` cannot clip gradients", at, "set `clip_grad_norm: null`" if not at else hint)
    if case["gradient_accumulation"] > 1:
        at = case.at("gradient_accumulation")
        faults.add(
            "`optimizer_in_bwd` cannot accumulate gradients", at, "set `gradient_accumulation: 1`" if not at else hint
        )


def _quantized(case: Case, faults: Faults) -> None:
    """torchao refuses a matrix that its blocks do not fill, when the job has started."""
    if case.inputs.update != "qlora" and not case["quantize_base"]:
        return
    for name, (rows, columns) in _matrices(case.inputs).items():
        if rows * columns % _NF4_NUMBERS:
            faults.add(
                f"the base cannot be quantized: its {name} has {rows} x {columns} numbers, NF4 works on multiples of "
                f"{_NF4_NUMBERS:,}",
                ("method", "update"),
                "write `update: lora`",
            )
            return


def _fake_quantized(case: Case, faults: Faults) -> None:
    size = case["groupsize"]
    if size is None:
        return
    widths = {columns for _, columns in _matrices(case.inputs).values()}
    if any(width % size for width in widths):
        right = [str(size) for size in (256, 128, 64, 32) if not any(width % size for width in widths)]
        told = ", ".join(str(width) for width in sorted(widths))
        hint = f"write one of {', '.join(right)}" if right else "no group size fits this model: use another `update`"
        faults.add(f"`groupsize` of {size} does not divide the model's widths ({told})", case.at("groupsize"), hint)


def _biased(case: Case, faults: Faults) -> None:
    """A layer with a bias cannot be adapted in every way; the job would end when it builds or loads the model."""
    biased = [name for name in _BIASED if name in (case["lora_targets"] or [])]
    if not biased or case.inputs.model.family.name != "qwen2":
        return
    named = ", ".join(f"`{name}`" for name in biased)
    others = "`lora_targets: [output_proj, mlp]`"
    if case["groupsize"] is not None:  # torchtune's linear layer for it has no bias
        faults.add(
            f"torchtune cannot train {named} of a Qwen2 with quantization-aware LoRA: these layers have biases",
            case.at("lora_targets"),
            f"set {others}, or take the LoRA fields out to train the whole model",
        )
    if case["quantize_base"]:  # as components/qwen2.py has it, which mends what DoRA does to a bias
        faults.add(
            f"{named} of a Qwen2 cannot have DoRA on a quantized base: these layers have biases",
            case.at("quantize_base"),
            f"set `quantize_base: false`, or {others}",
        )


def _matrices(inputs: Inputs) -> dict[str, tuple[int, int]]:
    """Return the outputs and inputs of each kind of linear layer in a block."""
    said = inputs.model.family.dimensions
    width, heads = said["embed_dim"], said["num_heads"]
    head = said.get("head_dim") or width // heads
    return {
        "q_proj": (heads * head, width),
        "k_proj": (said["num_kv_heads"] * head, width),
        "output_proj": (width, heads * head),
        "mlp": (said["intermediate_dim"], width),
        "mlp's last layer": (width, said["intermediate_dim"]),
    }


def _batches(case: Case, faults: Faults) -> None:
    """PPO splits a batch of prompts twice: for generating, and for its steps."""
    pairs = [("batch_size", "forward_batch_size"), ("batch_size", "ppo_batch_size")]
    pairs += [("ppo_batch_size", "gradient_accumulation")]
    for whole, part in pairs:
        if case["ppo_batch_size"] is not None and case[whole] % case[part]:
            faults.add(
                f"`{whole}` of {case[whole]} is no multiple of `{part}` of {case[part]}",
                case.at(part) or case.at(whole),
                f"choose a `{part}` that divides it",
            )
