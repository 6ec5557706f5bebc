"""The model card of an exported checkpoint, written from the records alone. Pure, but for reading them.

It is made to be published with the model, so no path of this machine enters it: what lies outside of the
experiment is named by its file name and its hash.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tuneloop
from tuneloop.analysis.wording import decimals_for, difference_text, mean_text, value_text
from tuneloop.documents.errors import InputError
from tuneloop.documents.files import read_text
from tuneloop.documents.yamltext import dump_yaml, load_yaml
from tuneloop.experiment.references import parse_reference
from tuneloop.experiment.work import train_key
from tuneloop.jobs.tables import markdown
from tuneloop.loop.checkpoints import Model
from tuneloop.loop.measured import Measured
from tuneloop.loop.sample import messages
from tuneloop.workers.checkpoints import cite

_LOAD = """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("DIR")
tokenizer = AutoTokenizer.from_pretrained("DIR")
messages = MESSAGES
inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True, return_tensors="pt")
answer = model.generate(**inputs, max_new_tokens=128)
print(tokenizer.decode(answer[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True))
```"""


def card(model: Model, found: Measured) -> str:
    """Return the text of the card: a YAML head for model hubs, then what was done, with what, and how well."""
    design = model.experiment.design
    sections = [
        f"# {design.name}: {model.name}",
        design.question,
        *([f"Expected: {design.hypothesis}"] if design.hypothesis else []),
        "## How it was made",
        markdown(["", ""], list(_method(model))),
        "## Data",
        markdown(["split", "file", "sha256"], _data(model)),
        *_settings(model),
        *_training(model, found),
        *_scores(model, found),
        *_versions(model),
        "## How to load it",
        _LOAD.replace("MESSAGES", json.dumps(messages(model.experiment, "{input}", system=None, raw=False))),
    ]
    return f"---\n{dump_yaml(_head(model))}---\n\n" + "\n\n".join(sections) + "\n"


def _head(model: Model) -> dict[str, Any]:
    method = model.experiment.design.method
    return {
        "base_model": _base_name(model),
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["tuneloop", model.experiment.design.backend, method.objective, method.update],
    }


def _method(model: Model) -> Iterator[list[str]]:
    design, method = model.experiment.design, model.experiment.design.method
    yield ["objective", " ".join(filter(None, [method.objective, method.algorithm]))]
    yield ["update", method.update]
    yield ["trained by", f"{design.backend}{f', preset {design.preset}' if design.preset else ''}"]
    yield ["base model", f"`{_base_name(model)}`"]
    reference = parse_reference(design.model)
    if reference is not None and reference.experiment is not None:
        started = f"{Path(reference.experiment).name}/{reference.run}@{reference.epoch}"
        yield ["started from", f"`{started}`, a checkpoint of another experiment"]
    if model.run.kind == "train":
        yield ["run", f"`{model.name}`, epoch {model.epoch} of 0 to {model.run.epochs - 1}"]
        yield ["seed", str(model.run.seed)]
        yield ["digest", f"`{model.board.spec(train_key(model.run.name)).digest}`"]


def _base_name(model: Model) -> str:
    """Return the model that the chain of experiments begins with, as far as they are there to tell."""
    named = model.experiment.design.model
    try:
        cited = cite(named, model.experiment.layout.folder)
    except InputError:
        cited = None
    return _outside(named) if cited is None else cited.base.name


def _data(model: Model) -> list[list[str]]:
    """Return the data as they were when the experiment was scaffolded."""
    hashes = _manifest(model).get("data", {})
    return [
        [
            entry.split,
            f"`{_outside(entry.path)}`",
            str(hashes.get(entry.path, entry.hash or "")).removeprefix("sha256:"),
        ]
        for entry in model.experiment.design.data
    ]


def _settings(model: Model) -> list[str]:
    """Return every resolved setting with its origin, as the worker put them on record."""
    if model.run.kind != "train":
        return []
    setup = model.experiment.layout.run(model.run.name).setup
    recorded = (load_yaml(read_text(setup), setup) or {}).get("settings", {}) if setup.is_file() else {}
    values = {name: (item.value, item.origin) for name, item in model.run.fields.items()}
    values |= {name: (item.get("value"), item.get("origin")) for name, item in recorded.items()}
    rows = [[name, _text(value), str(origin)] for name, (value, origin) in values.items() if value is not None]
    return ["## Settings", markdown(["setting", "value", "origin"], rows)] if rows else []


def _training(model: Model, found: Measured) -> list[str]:
    training = found.scores.training.get(model.run.name)
    if training is None or model.run.kind != "train":
        return []
    parts = []
    if training.losses:
        first, last = training.losses[0], training.losses[-1]
        parts.append(
            f"The training loss went from {first[1]:.4f} at step {first[0]} to {last[1]:.4f} at step {last[0]}."
        )
    if training.validation:
        rows = [
            [f"{epoch} (this one)" if epoch == model.epoch else str(epoch), f"{loss:.4f}"]
            for epoch, loss in sorted(training.validation.items())
        ]
        parts.append(markdown(["epoch", "validation loss"], rows))
    return ["## Training", *parts] if parts else []


def _scores(model: Model, found: Measured) -> list[str]:
    """Return the scores of this checkpoint as the report computes them: on the same items as the control's."""
    from tuneloop.analysis import analyze

    analysis = analyze(model.experiment, found.rows)
    own = [score for score in analysis.everything if (score.at.run, score.at.epoch) == (model.run.name, model.epoch)]
    if not own:
        return ["## Scores", "This checkpoint has not been evaluated."]
    verdicts = {id(result.score): result.verdict for result in analysis.results if result.score}
    decimals = decimals_for([score.mean for score in own])
    rows = [
        [
            score.series.name,
            str(score.mean.n),
            mean_text(score.mean, decimals),
            difference_text(score.difference, decimals),
            str(verdicts.get(id(score)) or ""),
        ]
        for score in own
    ]
    table = markdown(["evaluation", "n", "score", "difference to the control", "verdict"], rows)
    return ["## Scores", table, "In brackets 95 % intervals; differences are paired over the same items."]


def _versions(model: Model) -> list[str]:
    manifest = _manifest(model)
    tools = {name: text for found in manifest.get("tools", {}).values() for name, text in found.items()}
    known = {"tuneloop": manifest.get("tuneloop", tuneloop.__version__), "python": manifest.get("python"), **tools}
    rows = [[name, str(text)] for name, text in known.items() if text]
    if manifest.get("commit"):
        rows.append(["commit", f"`{manifest['commit']}`"])
    return ["## Versions", markdown(["package", "version"], rows)]


def _manifest(model: Model) -> Mapping[str, Any]:
    path = model.experiment.layout.manifest
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _outside(text: str) -> str:
    """Return a path of the design as a stranger may read it: what is absolute, or leads out, by its name alone."""
    path = Path(text)
    return path.name if path.is_absolute() or text.startswith(("~", "..")) else text


def _text(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_text, value))
    return _outside(value) if isinstance(value, str) else value_text(value)
