"""An experiment in a temporary folder, and rows as workers would return them."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import dedent

import pytest

from tuneloop.experiment.read import Experiment, read_experiment
from tuneloop.experiment.work import Row

DESIGN = """
schema: tuneloop.experiment/1
name: capitalization
question: Does a higher LoRA rank or learning rate help the tiny model to capitalize words?
hypothesis: Both help, the learning rate more.
method: {objective: sft, update: lora}
model: ../../examples/tiny-base
data:
  - {split: train, path: data/train.jsonl, format: instruct, columns: {input: word, output: capitalized}}
  - {split: test, path: data/test.jsonl}
variables: {lora_rank: [4, 32], lr: [3e-4, 3e-3]}
controls: {epochs: 2, batch_size: 32}
seeds: [1]
evaluations:
  - {name: capitalization, task: capitalization.py, split: test}
  - {name: longer, task: capitalization.py, split: test}
metrics:
  primary: {evaluation: capitalization, smallest_effect: 0.05}
  guardrails:
    - {evaluation: longer, scorer: similarity, tolerance: 0.05}
runs: [{name: control, kind: control}]
"""

# The chance of a right answer after each epoch.
CHANCES = {
    "control": (0.02,),
    "rank4_lr3e-4": (0.02, 0.04),
    "rank4_lr3e-3": (0.45, 0.62),
    "rank32_lr3e-4": (0.10, 0.22),
    "rank32_lr3e-3": (0.80, 0.93),
}


def make_experiment(folder: Path, design: str = DESIGN) -> Experiment:
    (folder / "data").mkdir(parents=True)
    for split in ("train", "test"):
        (folder / "data" / f"{split}.jsonl").write_text('{"word": "aB", "capitalized": "Ab"}\n')
    (folder / "experiment_summary.md").write_text(f"---\n{dedent(design).strip()}\n---\n\n# Notes\n")
    return read_experiment(folder)


def evaluated(run: str, epoch: int | None, name: str, chance: float, *, n: int = 100) -> list[Row]:
    """Two scorers on n words; the words are the same for every run."""
    luck = random.Random(f"{run} {epoch} {name}")
    words = random.Random(name)
    rows, rights, ratios = [], [], []
    for number in range(1, n + 1):
        word = "".join(words.choice("abcdefgHIJKLM") for _ in range(words.randint(3, 9)))
        target = word.capitalize()
        right = luck.random() < chance
        output = target if right else luck.choice([word, f"{target}{target[-1]}", f" {word}\n", ""])
        rights.append(float(right))
        ratios.append(1.0 if right else round(luck.uniform(0.1, 0.9), 4))
        texts = {"input": f"capitalize: {word}", "target": target, "output": output}
        rows.append(Row(run, name, "score", rights[-1], epoch, None, "match", str(number), **texts))
        rows.append(Row(run, name, "score", ratios[-1], epoch, None, "similarity", str(number), **texts))
    rows.append(Row(run, name, "accuracy", sum(rights) / n, epoch, None, "match"))
    rows.append(Row(run, name, "mean", sum(ratios) / n, epoch, None, "similarity"))
    return rows


def trained(run: str, final: float, *, steps: int = 60, epochs: int = 2) -> list[Row]:
    luck = random.Random(run)
    rows = []
    for step in range(1, steps * epochs + 1):
        loss = final + (2.4 - final) * 0.96**step + luck.gauss(0, 0.05)
        rows.append(Row(run, "train", "loss", loss, (step - 1) // steps, step))
    rows += [Row(run, "train", "validation_loss", final + 0.3 / (epoch + 1), epoch) for epoch in range(epochs)]
    return rows


def rows_of(chances: dict[str, tuple[float, ...]], *, n: int = 100) -> list[Row]:
    rows: list[Row] = []
    for run, by_epoch in chances.items():
        for index, chance in enumerate(by_epoch):
            epoch = None if run == "control" else index
            rows += evaluated(run, epoch, "capitalization", chance, n=n)
            rows += evaluated(run, epoch, "longer", chance * 0.6, n=n)
        if run != "control":
            rows += trained(run, 1.6 - by_epoch[-1])
    return rows


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    return make_experiment(tmp_path / "capitalization")


@pytest.fixture
def rows() -> Sequence[Row]:
    return rows_of(CHANCES)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Experiment]:
    """Make an experiment from the usual design with some text replaced."""

    def build(*changes: tuple[str, str], name: str = "other") -> Experiment:
        design = DESIGN
        for old, new in changes:
            assert old in design, old
            design = design.replace(old, new)
        return make_experiment(tmp_path / name, design)

    return build
