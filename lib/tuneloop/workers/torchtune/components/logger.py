"""The metric logger component: `metrics.jsonl`, one JSON object a step, flushed as it is written.

The last line is a job's live progress for everyone else. What the design asks for besides (tensorboard, wandb …)
gets every value too.
"""

import json
import math
import resource
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torchtune.training.metric_logging import MetricLoggerInterface

# torchtune's names on the left.
_NAMES = {
    "loss": "loss",
    "lr": "lr",
    "grad_norm": "grad_norm",
    "tokens_per_second_per_gpu": "tokens_per_second",
    "peak_memory_active": "peak_memory_mb",
}
_MB_IN_GIB = 1024.0  # torchtune reports GiB


class MetricsLogger(MetricLoggerInterface):  # type: ignore[misc]  # torchtune ships no types
    """Write every step once, as valid JSON, and hand it on.

    Args:
        log_dir: the attempt's folder.
        steps: optimizer steps of the whole run.
        resumed_at: steps done by earlier attempts.
        forward: the config of another torchtune metric logger.
    """

    def __init__(self, log_dir: str, steps: int, resumed_at: int = 0, forward: Mapping[str, Any] | None = None) -> None:
        folder = Path(log_dir)
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / "metrics.jsonl").open("a", encoding="utf-8")
        self._steps = steps
        self._resumed_at = resumed_at
        self._offset: int | None = None
        self._last = resumed_at
        self._forward = _instantiated(forward)

    def log_config(self, config: Any) -> None:
        if self._forward is not None:
            self._forward.log_config(config)

    def log(self, name: str, data: Any, step: int) -> None:
        self.log_dict({name: data}, step)

    def log_dict(self, payload: Mapping[str, Any], step: int) -> None:
        step = self._true_step(step)
        if step > self._last:  # each step once
            self._last = step
            self._file.write(json.dumps(self._line(payload, step), allow_nan=False) + "\n")
            self._file.flush()
        if self._forward is not None:
            self._forward.log_dict(payload, step=step)

    def close(self) -> None:
        self._file.close()
        if self._forward is not None:
            self._forward.close()

    def _true_step(self, step: int) -> int:
        """Count on from the earlier attempts: after a resume some recipes begin at 1 again, others do not."""
        if self._offset is None:
            self._offset = self._resumed_at if step <= self._resumed_at else 0
        return step + self._offset

    def _line(self, payload: Mapping[str, Any], step: int) -> dict[str, Any]:
        line: dict[str, Any] = {"step": step, "steps": self._steps}
        for name, value in payload.items():
            number = float(value)
            if not math.isfinite(number):
                line[_NAMES.get(name, name)] = None
                line["nonfinite"] = "nan" if math.isnan(number) else "inf"
                continue
            line[_NAMES.get(name, name)] = number * _MB_IN_GIB if name == "peak_memory_active" else number
        # torchtune knows the memory of a GPU alone; on a CPU it is the process's own.
        line.setdefault("peak_memory_mb", _resident_mb())
        return {**line, "time": round(time.time(), 3)}


def _resident_mb() -> float:
    """Return the largest resident memory of this process so far in MB; Linux counts it in KiB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def _instantiated(forward: Mapping[str, Any] | None) -> Any:
    from omegaconf import OmegaConf
    from torchtune import config

    return None if forward is None else config.instantiate(OmegaConf.create(dict(forward)))
