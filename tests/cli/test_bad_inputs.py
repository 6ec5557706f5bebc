"""Faults that only the real workers can find: models, data, tasks and torchtune's own keys. A few processes for all."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from cli_support import problems

from places import content
from tuneloop.documents.records import READABLE
from typed import tuneloop

pytestmark = pytest.mark.train  # importing torchtune and inspect-ai costs seconds
EXAMPLES = Path(__file__).parents[2] / "examples"
DESIGN = """\
schema: tuneloop.experiment/1
name: capitalization
question: Do rank and learning rate decide?
model: ../tiny-base
data:
  - split: train
    path: data/train.jsonl
    format: instruct
    columns: {input: word, output: capitalized}
    prompt: "capitalize: {input}"
  - {split: validation, path: data/validation.jsonl}
  - {split: test, path: data/test.jsonl}
  - {split: longer, path: data/longer.jsonl}
variables:
  lora_rank: [4, 32]
  lr: [3e-4, 3e-3]
controls: {epochs: 2, scheduler: cosine}
evaluations:
  - {name: short, task: capitalization.py, split: test, generation: {max_tokens: 16}}
  - {name: longer, task: capitalization.py, split: longer}
runs:
  - {name: control, kind: control}
"""


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped example beside its model, with broken data files added."""
    folder = tmp_path_factory.mktemp("inputs")
    shutil.copytree(EXAMPLES / "tiny-base", folder / "tiny-base", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(EXAMPLES / "capitalization", folder / "cap", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "cap" / "empty.jsonl").touch()
    (folder / "cap" / "broken.jsonl").write_text('{"word": "a", "capitalized": "A"}\n{"word": "b", \n')
    (folder / "cap" / "column.jsonl").write_text('{"word": "a", "capitalised": "A"}\n')
    return folder


class Led(NamedTuple):
    """One problem with the text of the line that it leads to: what that line is shows better than its number."""

    message: str
    line: str
    key: str | None = None
    hint: str | None = None


def refused(shipped: Path, *changes: tuple[str, str]) -> Iterator[Led]:
    """Design the example with some text changed; yield its problems, having made sure that nothing was written."""
    text = DESIGN
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    source = shipped / "cap" / "changed.yaml"
    source.write_text(text)
    before = content(shipped)
    done = tuneloop(shipped, "design-experiment", "cap", "--from", "cap/changed.yaml", "--json")
    assert done.returncode == 2, done.stdout
    assert content(shipped) == before
    assert {item["file"] for item in json.loads(done.stdout)["problems"]} == {"cap/changed.yaml"}
    lines = text.splitlines()
    for item in problems(done):
        assert item.line is not None
        message = item.message.replace(f"{shipped.resolve()}/", "")
        yield Led(message, lines[item.line - 1].strip(), item.key, item.hint)


def test_faults_of_model_and_data(shipped: Path) -> None:
    found = set(
        refused(
            shipped,
            ("model: ../tiny-base", "model: ../tiny-bas"),
            ("path: data/train.jsonl", "path: broken.jsonl"),
            ("path: data/validation.jsonl", "path: empty.jsonl"),
            ("task: capitalization.py, split: longer", "task: missing.py, split: longer"),
        )
    )
    expected = {
        Led(
            "no model folder `../tiny-bas`",
            "model: ../tiny-bas",
            "model",
            "paths start at the experiment's folder",
        ),
        Led(
            "cap/broken.jsonl:2: not JSON: Expecting property name enclosed in double quotes",
            "- split: train",
            "data.0",
            READABLE,
        ),
        Led(
            "cap/empty.jsonl: the file is empty",
            "- {split: validation, path: empty.jsonl}",
            "data.1",
            "give it one sample at least",
        ),
        Led(
            "no task file `missing.py`",
            "- {name: longer, task: missing.py, split: longer}",
            "evaluations.1.task",
            "paths start at the experiment's folder",
        ),
    }
    assert expected <= found
    assert [item.key for item in found].count("model") == 1


def test_faults_of_columns_and_task(shipped: Path) -> None:
    found = set(
        refused(
            shipped,
            ("path: data/validation.jsonl", "path: column.jsonl"),
            ("path: data/longer.jsonl", "path: gone.jsonl"),
            ("generation: {max_tokens: 16}", "generation: {max_token: 16}"),
        )
    )
    expected = {
        Led(
            "cap/column.jsonl:1: no column `capitalized`",
            "- {split: validation, path: column.jsonl}",
            "data.1",
            "did you mean `capitalised`? set `columns: {output: capitalised}`",
        ),
        Led(
            "inspect has no generation setting `max_token`",
            "- {name: short, task: capitalization.py, split: test, generation: {max_token: 16}}",
            "evaluations.0.generation.max_token",
            "did you mean `max_tokens`?",
        ),
    }
    assert expected <= found
    assert any("gone.jsonl" in item.message for item in found)


def test_faults_of_fields_and_torchtune_keys(shipped: Path) -> None:
    found = set(
        refused(
            shipped,
            ("  lr: [3e-4, 3e-3]", "  lrr: [3e-4, 3e-3]"),
            ("scheduler: cosine", "torchtune: {epohcs: 3, optimizer.epz: 1e-6}"),
        )
    )
    controls = "controls: {epochs: 2, torchtune: {epohcs: 3, optimizer.epz: 1e-6}}"
    expected = {
        Led("unknown field `lrr`", "lrr: [3e-4, 3e-3]", "variables.lrr", "did you mean `lr`?"),
        Led(
            "torchtune's lora_finetune_single_device has no key `epohcs`",
            controls,
            "controls.torchtune.epohcs",
            "did you mean `epochs`?",
        ),
        Led(
            "`torch.optim.AdamW` takes no argument `epz`",
            controls,
            "controls.torchtune.optimizer.epz",
            "did you mean `eps`?",
        ),
    }
    assert expected <= found
