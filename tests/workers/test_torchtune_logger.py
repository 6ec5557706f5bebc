"""The metric logger component: one valid JSON object a step, each step once."""

import json
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from torchtune import config

from tuneloop.workers.torchtune.components.logger import MetricsLogger


def lines(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "metrics.jsonl").read_text()
    found = [
        json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is not JSON")) for line in text.splitlines()
    ]
    return [{key: value for key, value in line.items() if key not in ("time", "peak_memory_mb")} for line in found]


def test_a_step_is_on_the_disk_at_once(tmp_path: Path) -> None:
    logger = MetricsLogger(str(tmp_path), steps=10)
    logger.log_dict({"loss": 1.5, "lr": 1e-3, "tokens_per_second_per_gpu": 100.0, "grad_norm": 2.0}, step=1)
    assert lines(tmp_path) == [
        {"step": 1, "steps": 10, "loss": 1.5, "lr": 1e-3, "tokens_per_second": 100.0, "grad_norm": 2.0}
    ]
    logger.close()


@pytest.mark.parametrize("value, word", [(float("nan"), "nan"), (float("inf"), "inf")])
def test_a_loss_that_is_no_number_is_null(tmp_path: Path, value: float, word: str) -> None:
    logger = MetricsLogger(str(tmp_path), steps=10)
    logger.log_dict({"loss": value}, step=1)
    logger.close()
    assert lines(tmp_path) == [{"step": 1, "steps": 10, "loss": None, "nonfinite": word}]


def test_a_step_is_written_once(tmp_path: Path) -> None:
    logger = MetricsLogger(str(tmp_path), steps=10)
    for step in (1, 1, 2):
        logger.log_dict({"loss": float(step)}, step=step)
    logger.close()
    assert [line["step"] for line in lines(tmp_path)] == [1, 2]


@pytest.mark.parametrize("first", [1, 5])
def test_steps_go_on_after_a_resume(tmp_path: Path, first: int) -> None:
    """The LoRA recipe begins at 1 again, the full recipe goes on counting."""
    logger = MetricsLogger(str(tmp_path), steps=8, resumed_at=4)
    for step in range(first, first + 4):
        logger.log_dict({"loss": 1.0}, step=step)
    logger.close()
    assert [line["step"] for line in lines(tmp_path)] == [5, 6, 7, 8]


@pytest.mark.parametrize("said, least, most", [({"peak_memory_active": 1.5}, 1536, 1536), ({}, 50, 50_000)])
def test_memory_is_told_in_megabytes(tmp_path: Path, said: dict[str, float], least: float, most: float) -> None:
    """The GPU's where torchtune tells it, the process's own on a CPU."""
    logger = MetricsLogger(str(tmp_path), steps=1)
    logger.log_dict({"loss": 1.0, **said}, step=1)
    logger.close()
    line = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert least <= line["peak_memory_mb"] <= most


def test_the_logger_of_the_design_gets_every_value(tmp_path: Path) -> None:
    forward = {"_component_": "torchtune.training.metric_logging.DiskLogger", "log_dir": str(tmp_path / "disk")}
    said = {"_component_": "tuneloop.workers.torchtune.components.logger.MetricsLogger", "log_dir": str(tmp_path)}
    logger = config.instantiate(OmegaConf.create({**said, "steps": 2, "forward": forward}))
    logger.log_dict({"loss": 1.5}, step=1)
    logger.close()
    assert "Step 1 | loss:1.5" in next((tmp_path / "disk").glob("log_*.txt")).read_text()
