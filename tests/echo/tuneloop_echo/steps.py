"""The steps of echo's scripts. They run in the run's folder, inside an attempt; the standard library, and what
Tuneloop shares with its own workers.

`train CONFIG` and `verify-training CONFIG`, `evaluate CONFIG` and `verify-evaluation CONFIG`. Each can be killed
anywhere and run again: a folder or file appears by one rename, and a verdict is written last.
"""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import FailedError
from tuneloop.experiment.fence import SupersededError, newest
from tuneloop.experiment.standstill import RESUMED, refuse_standstill

WEIGHTS = "weights.json"


def main(arguments: list[str]) -> int:
    steps = {
        "train": train,
        "verify-training": verify_training,
        "evaluate": evaluate,
        "verify-evaluation": verify_evaluation,
    }
    if len(arguments) != 2 or arguments[0] not in steps:
        sys.stderr.write(f"expected one of {', '.join(steps)} and a config\n")
        return 2
    config = json.loads(Path(arguments[1]).read_text())
    attempt = Path(os.environ["TUNELOOP_ATTEMPT"])
    try:
        return steps[arguments[0]](config, attempt)
    except SupersededError as error:
        _verdict(attempt, False, str(error))
        return error.exit_code
    except FailedError as error:
        return _verdict(attempt, False, str(error))


def train(config: dict[str, Any], attempt: Path) -> int:
    """Make `epoch_N/` in the attempt's folder, from where earlier attempts ended."""
    epochs, steps = config["epochs"], config["steps"]
    first = _resume(config, attempt)
    refuse_standstill(attempt, first)
    _write(attempt / RESUMED, json.dumps({"epochs": first}) + "\n")
    pause = config["seconds"] / (epochs * steps)
    for epoch in range(first, epochs):
        for step in range(1, steps + 1):
            time.sleep(pause)
            done = epoch * steps + step
            line = {"step": done, "steps": epochs * steps, "epoch": epoch, "loss": _loss(config, done)}
            _append(attempt / "metrics.jsonl", line)
            if epoch == epochs - 1 and step == (steps + 1) // 2:
                _misbehave(config, attempt)
        _make_checkpoint(attempt, config, epoch)
        print(f"epoch {epoch} of {epochs} done")
    if config["lose"] and _misbehaves(config, attempt):
        shutil.rmtree(attempt / f"epoch_{epochs - 1}")
    return 0


def verify_training(config: dict[str, Any], attempt: Path) -> int:
    """Promote the attempt's checkpoints to the run's folder, if they are all there and right."""
    expected = {epoch: _content(config, epoch) for epoch in range(config["epochs"])}
    for epoch, content in expected.items():
        made, promoted = attempt / f"epoch_{epoch}", Path(f"epoch_{epoch}")
        if _read(promoted / WEIGHTS) == content:  # by this attempt before it was killed, or by an earlier one
            continue
        if _read(made / WEIGHTS) != content:
            return _verdict(attempt, False, f"epoch_{epoch} is missing")
        with newest(attempt):
            _promote(made, promoted, attempt)
    with contextlib.suppress(FileNotFoundError), newest(attempt):
        _write(Path("metrics.jsonl"), (attempt / "metrics.jsonl").read_text())
    loss = _loss(config, config["epochs"] * config["steps"])
    return _verdict(attempt, True, f"{len(expected)} checkpoints", epochs=len(expected), loss=loss)


def evaluate(config: dict[str, Any], attempt: Path) -> int:
    """Score every sample; the same checkpoint and sample always give the same score."""
    weights = _read(Path(config["model"]) / WEIGHTS)
    quality = 0.1 if weights is None else weights["quality"]
    samples = []
    items = list(_samples(config))
    for index, (name, question, target) in enumerate(items):
        time.sleep(config["seconds"] / len(items))
        if index == len(items) // 2:
            _misbehave(config, attempt)
        score = float(_fraction(quality, name, question) < quality)
        output = target if score else "?"
        samples.append({"id": name, "score": score, "input": question, "target": target, "output": output})
        _append(attempt / "metrics.jsonl", {"step": index + 1, "steps": len(items)})
    _write(attempt / "log.json", json.dumps({"digest": config["digest"], "samples": samples}) + "\n")
    if config["lose"] and _misbehaves(config, attempt):
        (attempt / "log.json").unlink()
    return 0


def verify_evaluation(config: dict[str, Any], attempt: Path) -> int:
    made, filed = attempt / "log.json", Path(config["log"])
    log = _read(made if made.exists() else filed)
    if log is None or log["digest"] != config["digest"]:
        return _verdict(attempt, False, "no log")
    expected = sum(1 for _ in _samples(config))
    if len(log["samples"]) != expected:
        return _verdict(attempt, False, f"the log holds {len(log['samples'])} of {expected} samples")
    if made.exists():
        filed.parent.mkdir(parents=True, exist_ok=True)
        with newest(attempt):
            made.replace(filed)
    mean = sum(sample["score"] for sample in log["samples"]) / expected
    return _verdict(attempt, True, f"{expected} samples, all scored", samples=expected, metrics={"echo/accuracy": mean})


def _resume(config: dict[str, Any], attempt: Path) -> int:
    """Take over whole epochs of the same digest from the run or an earlier attempt; return the first one to train."""
    for epoch in range(config["epochs"]):
        content = _content(config, epoch)
        places = [Path(), *(other for other in _attempts(attempt) if other != attempt)]
        source = next((place for place in places if _read(place / f"epoch_{epoch}" / WEIGHTS) == content), None)
        if source is None:
            return epoch
        _make_checkpoint(attempt, config, epoch)
        for step in range(epoch * config["steps"] + 1, (epoch + 1) * config["steps"] + 1):
            line = {"step": step, "steps": config["epochs"] * config["steps"], "epoch": epoch}
            _append(attempt / "metrics.jsonl", {**line, "loss": _loss(config, step)})
        print(f"epoch {epoch} taken over from {source}")
    return int(config["epochs"])


def _misbehave(config: dict[str, Any], attempt: Path) -> None:
    """Fail, hang or vanish, as asked, in as many attempts as asked."""
    if not _misbehaves(config, attempt):
        return
    if config["vanish"]:
        _vanish(attempt)
    if config["hang"] == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while config["hang"]:
        time.sleep(60)
    if config.get("memory") is not None and config["batch_size"] > config["memory"]:
        print("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.")
        sys.exit(1)
    if config["fail"]:
        print(f"failing with {config['fail']}, as asked")
        sys.exit(config["fail"])


def _vanish(attempt: Path) -> None:
    """Kill the attempt as a power cut would: its wrapper first, which could tell, then the job's own group."""
    start, group = _read(attempt / "start.json"), _read(attempt / "group.json")
    # Started without a wrapper, the group may be that of whoever looks on.
    if start is None or group is None or group["group"] != os.getpgrp():
        sys.exit("vanish needs a claimed attempt")
    os.kill(start["pid"], signal.SIGKILL)
    os.killpg(group["group"], signal.SIGKILL)


def _misbehaves(config: dict[str, Any], attempt: Path) -> bool:
    times = config["fail_times"]
    return times is None or len(_attempts(attempt)) <= times


def _attempts(attempt: Path) -> list[Path]:
    return sorted(path for path in attempt.parent.iterdir() if not path.name.startswith("."))


def _content(config: dict[str, Any], epoch: int) -> dict[str, Any]:
    """Return what a checkpoint holds: better after each epoch."""
    quality = (0.3 + 0.6 * config["quality"]) * (1 - 0.5 ** (epoch + 1))
    return {"echo": True, "epoch": epoch, "identity": config["quality"], "quality": quality}


def _loss(config: dict[str, Any], step: int) -> float:
    noise = _fraction(config["quality"], "loss", str(step)) * 0.05
    return round(2.0 - config["quality"] + 1.0 / step + noise, 6)


def _fraction(*parts: object) -> float:
    """Return a number in [0, 1) that depends on the parts alone."""
    return int(hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:8], 16) / 2**32


def _samples(config: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    if config["data"] is None:
        for number in range(1, config["samples"] + 1):
            yield str(number), f"question {number}", f"answer {number}"
        return
    lines = [line for line in Path(config["data"]["path"]).read_text().splitlines() if line.strip()]
    for number, line in enumerate(lines[: config["samples"] if config["limited"] else None], start=1):
        row = json.loads(line)
        yield str(number), str(row.get(config["data"]["input"])), str(row.get(config["data"]["target"]))


def _make_checkpoint(attempt: Path, config: dict[str, Any], epoch: int) -> None:
    beside = attempt / f".epoch_{epoch}"
    beside.mkdir(exist_ok=True)
    _write(beside / "config.json", '{"model_type": "echo"}\n')
    _write(beside / WEIGHTS, json.dumps(_content(config, epoch)) + "\n")
    beside.rename(attempt / f"epoch_{epoch}")


def _promote(made: Path, promoted: Path, attempt: Path) -> None:
    """Put the folder in its place; what stands there belongs to an older digest."""
    if promoted.exists():
        promoted.rename(attempt / f"replaced_{promoted.name}")
    made.rename(promoted)


def _verdict(attempt: Path, ok: bool, reason: str, **facts: Any) -> int:
    _write(attempt / "verified.json", json.dumps({"ok": ok, "reason": reason, "facts": facts}) + "\n")
    print(f"verified: {reason}" if ok else f"not verified: {reason}")
    return 0 if ok else 1


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _write(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text)
    beside.replace(path)


def _append(path: Path, line: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
