"""What an evaluation will cost, reckoned from sizes."""

from pathlib import Path

from tuneloop.experiment.work import Estimate
from tuneloop.workers.wording import counted

# Measured on 2 CPU cores: imports and the load of a small model, `prepare` and `verify` included.
START_S = 12.0
# Resident memory of the same without the weights.
START_MB = 900
# Cautious guesses of what decoding reaches with a full batch, in FLOP a second.
_CPU_FLOPS = 2e10
_GPU_FLOPS = 5e12
_LOAD_BYTES_S = 3e8  # weights from a disk into memory
# What a sample costs beside its answer: a prompt of about this many tokens.
_PROMPT_TOKENS = 128
_ANSWER_TOKENS = 256  # where the design sets no limit


def estimate(weights: int, samples: int, max_tokens: int | None, gpus: int) -> Estimate:
    """Return the cost of one evaluation of `samples` answers by a model of `weights` bytes."""
    tokens = samples * (_PROMPT_TOKENS + (max_tokens or _ANSWER_TOKENS))
    # Two bytes a parameter, two operations a parameter and token.
    flops = weights * tokens
    seconds = START_S + weights / _LOAD_BYTES_S + flops / (_GPU_FLOPS * gpus if gpus else _CPU_FLOPS)
    memory = START_MB + int(weights * (1.5 if gpus else 2.5) / 1e6)
    basis = f"{counted(samples, 'sample')}, about {counted(tokens, 'token')}"
    return Estimate(round(seconds, 1), memory, _log_mb(samples), tokens=tokens, basis=basis)


def weights_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.suffix in {".safetensors", ".bin", ".pt"})


def _log_mb(samples: int) -> float:
    # Measured: 1.3 kB a sample of a short answer.
    return round(0.1 + samples * 0.0015, 2)
