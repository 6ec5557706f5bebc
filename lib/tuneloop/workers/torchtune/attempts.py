"""An attempt's folder as the training steps see it, and the setup that they obey.

`jobs/claim.py` makes the folder with `start.json`; torchtune writes checkpoints and its recipe state there, the
logger `metrics.jsonl`. Needs no torch.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import InputError, Problems
from tuneloop.documents.files import read_text
from tuneloop.documents.shell import typed
from tuneloop.documents.yamltext import load_yaml
from tuneloop.experiment.identity import file_hash, model_hash
from tuneloop.experiment.layout import RunLayout, cleaned_in
from tuneloop.workers.torchtune.recipes import COMPANIONS


@dataclass(frozen=True)
class Attempt:
    folder: Path

    @property
    def start(self) -> Path:
        return self.folder / "start.json"

    @property
    def overrides(self) -> Path:
        """Arguments for the command line of `tune run`, one a line."""
        return self.folder / "overrides"

    @property
    def skip(self) -> Path:
        """Exists when there is nothing left to train."""
        return self.folder / "skip"

    @property
    def resumed(self) -> Path:
        """Which attempt this one goes on from, and after how many steps."""
        return self.folder / "resumed.json"

    @property
    def verdict(self) -> Path:
        return self.folder / "verified.json"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.jsonl"

    @property
    def recipe_state(self) -> Path:
        return self.folder / "recipe_state" / "recipe_state.pt"

    def checkpoint(self, epoch: int) -> Path:
        return RunLayout(self.folder).checkpoint(epoch)

    @property
    def values(self) -> Path:
        """PPO's value model, an epoch a folder; only a resume needs it."""
        return self.folder / "value"

    def digest(self) -> str | None:
        return read_json(self.start).get("digest")


@dataclass(frozen=True)
class Setup:
    """setup_finetune.yaml of a run, read from its folder."""

    run: RunLayout
    data: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.data[name]

    @property
    def epochs(self) -> int:
        return int(self.data["epochs"])

    @property
    def digest(self) -> str:
        return str(self.data["digest"])

    @property
    def adapter(self) -> bool:
        """Tell whether training makes a LoRA adapter and not whole weights."""
        return bool(self.data["adapter"])

    @property
    def model(self) -> Path:
        return self.path(self.data["model"]["path"])

    def path(self, text: str) -> Path:
        """Return a path of the setup: absolute, or from the run's folder."""
        return Path(os.path.normpath(self.run.folder / text))

    def config(self) -> dict[str, Any]:
        """Return the torchtune config with OmegaConf's escapes undone."""
        return dict(_unescaped(load_yaml(read_text(self.run.config), self.run.config)))

    def epoch_digest(self, epoch: int) -> str | None:
        """Return the digest under which the epoch was verified, or None where it was not, or its weights are gone."""
        if self.run.cleaned(epoch).is_file():
            return None
        found = read_json(verified_of(self.run.checkpoint(epoch))).get("digest")
        return None if found is None else str(found)


def read_setup(folder: Path) -> Setup:
    run = RunLayout(folder.resolve())
    return Setup(run, load_yaml(read_text(run.setup), run.setup))


def this_attempt() -> Attempt:
    """Return the attempt that the script claimed. Raises InputError outside of a script."""
    folder = os.environ.get("TUNELOOP_ATTEMPT")
    if not folder:
        raise InputError("no attempt is claimed", hint="run the script: `bash finetune.slurm`")
    return Attempt(Path(folder).resolve())


def others(setup: Setup, this: Attempt) -> list[Attempt]:
    """Return the earlier attempts of the same digest, the newest first."""
    folder = setup.run.train_attempts
    found = [Attempt(path) for path in folder.iterdir()] if folder.is_dir() else []
    alike = [item for item in found if item.folder != this.folder and item.digest() == setup.digest]
    return sorted(alike, key=lambda item: (str(read_json(item.start).get("time", "")), item.folder.name), reverse=True)


def check_digest(setup: Setup) -> None:
    """Raise InputError when the script is not the one that belongs to the setup."""
    asked = os.environ.get("TUNELOOP_DIGEST", setup.digest)
    if asked != setup.digest:
        raise InputError(
            f"the job was made for the digest {asked}, the setup has {setup.digest}",
            hint="submit the job again: the run was scaffolded anew since",
        )


def check_unchanged(setup: Setup) -> None:
    """Raise InputError with every input that is not what the setup names."""
    problems = Problems()
    again = "scaffold the experiment again: the run's digest changes with its inputs"
    for split, file in ((split, file) for split, files in setup["data"].items() for file in files):
        path = setup.path(file["path"])
        if not path.is_file():
            problems.add(f"the {split} data is gone", source=path, hint=again)
        elif file_hash(path) != file["hash"]:
            problems.add(f"the {split} data has changed since the run was scaffolded", source=path, hint=again)
    cited = setup["model"].get("cited")
    if cited is not None:
        _check_cited(setup.model, Path(cited["checkpoint"]), cited["digest"], problems, again)
    elif not setup.model.is_dir():
        problems.add("the model folder is gone", source=setup.model, hint=again)
    elif model_hash(setup.model) != setup["model"]["hash"]:
        problems.add("the model has changed since the run was scaffolded", source=setup.model, hint=again)
    for name in (name for name in COMPANIONS if name in setup.data):
        folder, what = setup.path(setup[name]["path"]), name.replace("_", " ")
        if not folder.is_dir():
            problems.add(f"the {what} is gone", source=folder, hint=again)
        elif model_hash(folder) != setup[name]["hash"]:
            problems.add(f"the {what} has changed since the run was scaffolded", source=folder, hint=again)
    problems.raise_if_any()


def _check_cited(model: Path, checkpoint: Path, digest: str, problems: Problems, again: str) -> None:
    if model != checkpoint and model.is_dir():
        return  # merged already, under a name that the digest is part of
    if cleaned_in(checkpoint).is_file():
        hint = f"`bash {typed(RunLayout(checkpoint.parent).script)}` trains it again"
        problems.add("the weights of the checkpoint to start from were cleaned away", source=checkpoint, hint=hint)
        return
    found = read_json(verified_of(checkpoint)).get("digest")
    if found is None:
        problems.add("the checkpoint to start from is not there", source=checkpoint, hint="train its run first")
    elif found != digest:
        problems.add("the checkpoint to start from was trained anew", source=checkpoint, hint=again)


def verified_of(checkpoint: Path) -> Path:
    return checkpoint / "verified.json"


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a file; an empty one where it is missing or was torn by a crash."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a metrics file up to the first torn one; none where there is no file."""
    if not path.is_file():
        return []
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            value = json.loads(line)
        except json.JSONDecodeError:
            break
        found.append(value)
    return found


def _unescaped(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\\${", "${")
    if isinstance(value, dict):
        return {key: _unescaped(item) for key, item in value.items()}
    return [_unescaped(item) for item in value] if isinstance(value, list) else value
