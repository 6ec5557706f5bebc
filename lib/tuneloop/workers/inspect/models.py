"""Which model an evaluation reads: a checkpoint of a run, a folder, or the base model as it is."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import InputError, did_you_mean
from tuneloop.experiment.expand import Run
from tuneloop.experiment.identity import model_hash
from tuneloop.experiment.layout import Layout, RunLayout
from tuneloop.experiment.references import Reference, parse_reference
from tuneloop.experiment.work import Fault, Need
from tuneloop.workers import Order
from tuneloop.workers.checkpoints import Cited, cite
from tuneloop.workers.faults import model_folder_fault
from tuneloop.workers.hub import model_folder
from tuneloop.workers.inspect.request import Model


class ModelFaultError(Exception):
    def __init__(self, message: str, at: tuple[str | int, ...], hint: str | None = None) -> None:
        super().__init__(message)
        self.fault = Fault(message, at, hint)


@dataclass(frozen=True)
class Subject:
    """A model to be evaluated: where it will be, what decides its content, and the job that makes it."""

    model: Model
    identity: Any  # JSON data for the digest
    need: Need | None


class Models:
    """Finds the subject of each run; the base model is looked up and hashed once."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.layout = Layout(order.path.resolve())
        self.device = "cpu" if not order.machine.gpus else "cuda" if order.machine.gpus == 1 else "auto"
        self._base: Path | None = None
        self._hashes: dict[Path, str] = {}

    def base(self) -> Path:
        """Return the folder that the design's model begins from. Raises ModelFaultError."""
        if self._base is None:
            text, at = self.order.design.model, ("model",)
            cited = self._cited(text, at)
            self._base = self._folder(text, at) if cited is None else cited.base
        return self._base

    def subject(self, run: Run, epoch: int | None) -> Subject:
        """Return what is evaluated. Raises ModelFaultError when it is not there and no job will make it."""
        if run.kind == "train":
            assert epoch is not None
            return self._trained(self.layout.run(run.name), run.name, epoch, ("runs",))
        if run.kind == "control":
            at, text = ("model",), self.order.design.model
            cited = self._cited(text, at)
            template = self._comparable_template()
            if cited is not None:
                return self._elsewhere(run, cited, template)
            base = self.base()
            model = self._model(self.layout.run(run.name), base, base, template)
            return Subject(model, {"model": self._hash(base, at)}, None)
        return self._eval_only(run)

    def _trained(self, reader: RunLayout, name: str, epoch: int, at: tuple[str | int, ...]) -> Subject:
        made_by = self.order.trained.get(name)
        if made_by is None:
            raise ModelFaultError(f"no job trains `{name}`", at, "scaffold its training first")
        trained = self.layout.run(name)
        model = self._model(reader, trained.checkpoint(epoch), self.base(), trained.chat_template)
        return Subject(model, {"training": made_by.digest, "epoch": epoch}, Need(made_by.key))

    def _elsewhere(self, run: Run, cited: Cited, template: Path | None) -> Subject:
        """Return a checkpoint of another experiment, which may be trained later."""
        model = self._model(self.layout.run(run.name), cited.folder, cited.base, template or cited.run.chat_template)
        return Subject(model, cited.identity, cited.need)

    def _cited(self, text: str, at: tuple[str | int, ...]) -> Cited | None:
        try:
            return cite(text, self.layout.folder)
        except InputError as error:
            raise ModelFaultError(error.problems[0].message, at, error.problems[0].hint) from None

    def _eval_only(self, run: Run) -> Subject:
        at = self._at(run)
        text = run.checkpoint or ""
        reference = parse_reference(text)
        if reference is not None and reference.experiment is None:
            self._check_reference(reference, at)
            return self._trained(self.layout.run(run.name), reference.run, reference.epoch, at)
        if (cited := self._cited(text, at)) is not None:
            return self._elsewhere(run, cited, None)
        folder = self._folder(text, at)
        tokenizer = folder if (folder / "tokenizer_config.json").is_file() else self.base()
        model = self._model(self.layout.run(run.name), folder, tokenizer, None)
        return Subject(model, {"model": self._hash(folder, at)}, None)

    def _check_reference(self, reference: Reference, at: tuple[str | int, ...]) -> None:
        trained = {run.name: run for run in self._all_runs() if run.kind == "train"}
        if reference.run not in trained:
            raise ModelFaultError(f"no run `{reference.run}` trains", at, did_you_mean(reference.run, list(trained)))
        epochs = trained[reference.run].epochs
        if reference.epoch >= epochs:
            raise ModelFaultError(f"`{reference.run}` has no epoch {reference.epoch}", at, f"the last is {epochs - 1}")

    def _all_runs(self) -> Sequence[Run]:
        """The runs of the order may be a few of the design; a reference may cite any."""
        from tuneloop.experiment.expand import expand

        return [*expand(self.order.design), *self.order.runs]

    def _comparable_template(self) -> Path | None:
        """A control run answers under the template of the training, or the comparison would be unfair.

        The backend writes the same text into every run's folder, so that of the first one serves.
        """
        first = next(iter(self.order.trained), None)
        return None if first is None else self.layout.run(first).chat_template

    def _folder(self, text: str, at: tuple[str | int, ...]) -> Path:
        folder = model_folder(text, self.layout.folder).resolve()
        fault = model_folder_fault(text, folder, at)
        if fault is not None:
            raise ModelFaultError(fault.message, fault.at, fault.hint)
        return folder

    def _hash(self, folder: Path, at: tuple[str | int, ...]) -> str:
        if folder not in self._hashes:
            try:
                self._hashes[folder] = model_hash(folder)
            except (InputError, OSError) as error:
                raise ModelFaultError(str(error), at, None) from None
        return self._hashes[folder]

    def _model(self, reader: RunLayout, folder: Path, tokenizer: Path, template: Path | None) -> Model:
        return Model(
            path=portable(folder, reader.folder, self.order),
            tokenizer=portable(tokenizer, reader.folder, self.order),
            chat_template=None if template is None else portable(template, reader.folder, self.order),
            device=self.device,
        )

    def _at(self, run: Run) -> tuple[str | int, ...]:
        for index, item in enumerate(self.order.design.runs):
            if item.name == run.name:
                return ("runs", index, "checkpoint")
        return ("runs",)


def portable(path: Path, start: Path, order: Order) -> str:
    """Return the path relative to `start` when jobs find it in the experiment, so that the folder can be moved."""
    found = order.inside(path)
    if found.is_relative_to(order.path.resolve()):
        return os.path.relpath(found, start)
    return str(found)
