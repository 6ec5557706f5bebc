"""What a training job costs: exact steps, counted tokens, and formulas for the rest. Pure.

Memory (bytes), with b bytes a number: P·b weights, T·b gradients and 2·T·b AdamW moments of the T trained
parameters; activations s·n·h·b·(17 + 2.5·a·s/h) a layer for n sequences of s tokens, width h and a heads
(Korthikanti et al. 2022, "Reducing Activation Recomputation", equation 2, for 2 bytes a number), or s·n·h·b a layer
with checkpointing; the logits and their gradient, 2·s·n·v·4.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tuneloop.experiment.work import Estimate, Machine, Usage
from tuneloop.workers.torchtune.inputs import Inputs
from tuneloop.workers.torchtune.settings import Resolved
from tuneloop.workers.wording import counted

_MB = 2**20
_PROCESS_MB = 900  # Python with torch and torchtune, before a model
_STARTUP_S = 10.0  # two interpreters with torch, and the model
# Measured on 2 CPU cores with a model of 0.83 M parameters: 10,000 tokens/s.
_CPU_CORE_FLOPS = 2.5e10
_GPU_FLOPS = 1e14  # a recent data-centre GPU in bf16 at about a third of its peak


@dataclass(frozen=True)
class Work:
    """The figures that an estimate rests on."""

    steps: int
    tokens: int
    longest: int
    trained: int  # parameters with a gradient


def work_of(resolved: Resolved, inputs: Inputs) -> Work:
    limit = resolved["max_seq_len"]
    data, packed = inputs.data["train"], bool(resolved.get("packed"))
    longest = limit if packed else min(max(data.lengths), limit or max(data.lengths))
    trained = _adapter(resolved, inputs) if resolved.recipe.adapter else inputs.model.parameters
    tokens = data.tokens(limit, packed=packed)
    return Work(resolved.steps, tokens * resolved["epochs"], longest, trained)


def estimate_of(resolved: Resolved, inputs: Inputs, machine: Machine, seen: Mapping[str, Usage], key: str) -> Estimate:
    work = work_of(resolved, inputs)
    seconds, basis = _seconds(work, inputs, machine, seen, key)
    return Estimate(
        seconds=round(seconds, 1),
        memory_mb=_memory_mb(work, resolved, inputs),
        disk_mb=round(_disk_mb(work, resolved, inputs), 1),
        steps=work.steps,
        tokens=work.tokens,
        basis=basis,
    )


def _seconds(work: Work, inputs: Inputs, machine: Machine, seen: Mapping[str, Usage], key: str) -> tuple[float, str]:
    if key in seen:
        return seen[key].wall_s, "an earlier attempt of this job"
    alike = [usage.wall_s for name, usage in seen.items() if name.startswith("train/")]
    if alike:
        return sum(alike) / len(alike), f"the mean of {counted(len(alike), 'training job')} of this experiment"
    rate = machine.gpus * _GPU_FLOPS if machine.gpus else machine.cpus * _CPU_CORE_FLOPS
    units, speed = (
        (counted(machine.gpus, "GPU"), f"{_GPU_FLOPS:.0e}")
        if machine.gpus
        else (counted(machine.cpus, "core"), f"{_CPU_CORE_FLOPS:.1e}")
    )
    flops = 6.0 * inputs.model.parameters * work.tokens
    basis = (
        f"6 x {inputs.model.parameters:,} parameters x {work.tokens:,} tokens / ({units} x {speed} FLOP/s, assumed)"
        f" + {_STARTUP_S:.0f} s start-up"
    )
    return flops / rate + _STARTUP_S, basis


def _memory_mb(work: Work, resolved: Resolved, inputs: Inputs) -> int:
    config, size = inputs.model.config, _bytes(resolved)
    width, heads, layers = config["hidden_size"], config["num_attention_heads"], config["num_hidden_layers"]
    positions = work.longest * resolved["batch_size"]
    state = inputs.model.parameters * size + 3 * work.trained * size
    if resolved["activation_checkpointing"]:
        activations = layers * positions * width * size
    else:
        activations = layers * positions * width * size * (17 + 2.5 * heads * work.longest / width)
    logits = 2 * positions * config["vocab_size"] * 4
    return int((state + activations + logits) / _MB) + _PROCESS_MB


def _disk_mb(work: Work, resolved: Resolved, inputs: Inputs) -> float:
    """Checkpoints of all epochs, plus the optimizer's state until the run is verified."""
    size = _bytes(resolved)
    copied = sum(path.stat().st_size for path in inputs.model.tokenizer.parent.glob("*.json"))
    copies = 2 if resolved.recipe.adapter else 1  # an adapter is written for torchtune and for peft
    state = 2 * work.trained * size if resolved["epochs"] > 1 else 0
    return float((copies * work.trained * size + copied) * resolved["epochs"] + state) / _MB


def _adapter(resolved: Resolved, inputs: Inputs) -> int:
    """Return the parameters of a LoRA adapter: rank x (inputs + outputs) of every target."""
    config, targets = inputs.model.config, resolved["lora_targets"]
    width, inner = config["hidden_size"], config["intermediate_size"]
    layout = inputs.model.family.layout
    query, key_value = layout.heads * layout.head_dim, layout.key_value_heads * layout.head_dim
    sides = {
        "q_proj": width + query,
        "k_proj": width + key_value,
        "v_proj": width + key_value,
        "output_proj": query + width,
        "mlp": 3 * (width + inner),
    }
    layer = sum(sides[name] for name in targets if name in sides)
    output = width + config["vocab_size"] if "output" in targets else 0
    return int(resolved["lora_rank"] * (config["num_hidden_layers"] * layer + output))


def _bytes(resolved: Resolved) -> int:
    return 2 if resolved["dtype"] == "bf16" else 4
