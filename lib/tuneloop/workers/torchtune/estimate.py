"""What a training job costs: exact steps, counted tokens, and formulas for the rest. Pure.

Memory (bytes), with b bytes a number: P·b weights, T·b gradients and 2·T·b AdamW moments of the T trained
parameters; activations s·n·h·b·(17 + 2.5·a·s/h) a layer for n sequences of s tokens, width h and a heads
(Korthikanti et al. 2022, "Reducing Activation Recomputation", equation 2, for 2 bytes a number), or s·n·h·b a layer
with checkpointing; the logits and their gradient, 2·s·n·v·4. Further models add their weights. On several devices
weights and their state are shared out, the rest is there once a device; of several nodes the figure is that of one.
NF4 holds a number of a block in 4 bits, with 8 bits of scale for 64 of them.

Work (floating-point operations a token): 2·P forward, 6·P forward and backward.
"""

from dataclasses import dataclass

from tuneloop.experiment.work import Estimate, Machine
from tuneloop.workers.torchtune.inputs import Inputs
from tuneloop.workers.torchtune.recipes import DPO, KD, PPO
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
    further: int  # parameters of the other models that are held
    flops: float
    what: str  # how the operations are counted


def work_of(resolved: Resolved, inputs: Inputs) -> Work:
    limit, answer = resolved["max_seq_len"], int(resolved.get("max_generated_tokens") or 0)
    data, packed = inputs.data["train"], bool(resolved.get("packed"))
    longest = limit if packed else min(max(data.lengths), limit or max(data.lengths))
    tokens = (data.tokens(limit, packed=packed) + data.samples * answer) * resolved["epochs"]
    own, others = inputs.model.parameters, sum(item.model.parameters for item in inputs.companions.values())
    trained = _adapter(resolved, inputs) if resolved.recipe.adapter else own
    trained += others if PPO in resolved.recipe.traits else 0  # the model of values, as large as the reward model
    flops, what = _operations(resolved, own, others, tokens)
    return Work(resolved.steps, tokens, longest + answer, trained, _further(resolved, own, others), flops, what)


def _operations(resolved: Resolved, own: int, others: int, tokens: int) -> tuple[float, str]:
    """Return the operations of a run, and how they are counted."""
    traits = resolved.recipe.traits
    if PPO in traits:
        # The policy writes and its reference reads, reward and values are computed, then both are trained.
        each = 4.0 * (own + others) + 6.0 * (own + others) * resolved["ppo_epochs"]
        return each * tokens, f"{each:.1e} operations of the four models x {tokens:,} tokens"
    if KD in traits:
        each = 6.0 * own + 2.0 * others
        return each * tokens, f"(6 x {own:,} + 2 x {others:,} of the teacher) parameters x {tokens:,} tokens"
    if DPO in traits:
        return 8.0 * own * tokens, f"8 x {own:,} parameters, its reference counted, x {tokens:,} tokens"
    return 6.0 * own * tokens, f"6 x {own:,} parameters x {tokens:,} tokens"


def _further(resolved: Resolved, own: int, others: int) -> int:
    """Return the parameters that are held beside the model's: with LoRA, DPO's reference is the model itself."""
    recipe = resolved.recipe
    if PPO in recipe.traits:
        return own + 2 * others
    return own if DPO in recipe.traits and not recipe.adapter else others


def estimate_of(resolved: Resolved, inputs: Inputs, machine: Machine) -> Estimate:
    work = work_of(resolved, inputs)
    seconds, basis = _seconds(work, resolved.processes, machine)
    return Estimate(
        seconds=round(seconds, 1),
        memory_mb=_memory_mb(work, resolved, inputs),
        disk_mb=round(_disk_mb(work, resolved, inputs), 1),
        steps=work.steps,
        tokens=work.tokens,
        basis=basis,
    )


def _seconds(work: Work, processes: int, machine: Machine) -> tuple[float, str]:
    gpus = processes if processes > 1 else machine.gpus
    rate = gpus * _GPU_FLOPS if gpus else machine.cpus * _CPU_CORE_FLOPS
    units, speed = (
        (counted(gpus, "GPU"), f"{_GPU_FLOPS:.0e}")
        if gpus
        else (counted(machine.cpus, "core"), f"{_CPU_CORE_FLOPS:.1e}")
    )
    basis = f"{work.what} / ({units} x {speed} FLOP/s, assumed) + {_STARTUP_S:.0f} s start-up"
    return work.flops / rate + _STARTUP_S, basis


def _memory_mb(work: Work, resolved: Resolved, inputs: Inputs) -> int:
    config, size = inputs.model.config, _bytes(resolved)
    width, heads, layers = config["hidden_size"], config["num_attention_heads"], config["num_hidden_layers"]
    sides = 2 if DPO in resolved.recipe.traits else 1  # a pair is one batch
    positions = work.longest * resolved["batch_size"] * sides
    state = _base_bytes(resolved, inputs) + (work.further + 3 * work.trained) * size
    if resolved["activation_checkpointing"]:
        activations = layers * positions * width * size
    else:
        activations = layers * positions * width * size * (17 + 2.5 * heads * work.longest / width)
    logits = 2 * positions * config["vocab_size"] * 4
    devices = int(resolved["devices"])
    # Of several nodes the first one gathers the whole weights, to save them.
    state = max(state / int(resolved["nodes"]), _base_bytes(resolved, inputs))
    return int((state + devices * (activations + logits)) / _MB) + devices * _PROCESS_MB


def _base_bytes(resolved: Resolved, inputs: Inputs) -> float:
    """Return the bytes of the model's weights. A quantized model keeps its embedding and output as they are."""
    count, size = inputs.model.parameters, _bytes(resolved)
    if inputs.update != "qlora" and not resolved.get("quantize_base"):
        return float(count * size)
    config = inputs.model.config
    kept = int(config["vocab_size"]) * int(config["hidden_size"]) * (1 if inputs.model.family.tied else 2)
    return kept * size + (count - kept) * (4 + 8 / 64) / 8


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
