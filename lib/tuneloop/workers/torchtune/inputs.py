"""What all runs of a scaffold share, read once: the model folder, the data and its token counts, their hashes."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tuneloop.documents.errors import InputError, TuneloopError
from tuneloop.documents.files import user_path
from tuneloop.documents.records import SUFFIXES
from tuneloop.experiment.design import TRAINING_SPLITS, Design, Source, sources
from tuneloop.experiment.formats import FORMATS, formats_for
from tuneloop.experiment.identity import digest, file_hash, model_hash
from tuneloop.experiment.layout import Layout
from tuneloop.experiment.references import parse_reference
from tuneloop.experiment.work import Fault
from tuneloop.workers import Order
from tuneloop.workers.checkpoints import Cited, cite
from tuneloop.workers.faults import model_folder_fault
from tuneloop.workers.hub import model_folder
from tuneloop.workers.torchtune.citing import start_from
from tuneloop.workers.torchtune.companions import Companion, read_companions
from tuneloop.workers.torchtune.components.tokenizer import ChatTokenizer
from tuneloop.workers.torchtune.data import read_samples
from tuneloop.workers.torchtune.encoding import kind_of, length_of
from tuneloop.workers.torchtune.families import ModelFolder, read_model
from tuneloop.workers.torchtune.mixing import share
from tuneloop.workers.torchtune.presets import Preset, read_preset
from tuneloop.workers.torchtune.recipes import method_faults
from tuneloop.workers.torchtune.splits import Data, Entry, reading_from, reading_of


@dataclass(frozen=True)
class Inputs:
    order: Order
    model: ModelFolder
    model_hash: str
    data: Mapping[str, Data]
    update: str
    preset: Preset | None
    cited: Cited | None = None  # the checkpoint of another experiment that training starts from
    companions: Mapping[str, Companion] = field(default_factory=dict)  # by the key of `method` that names them

    def from_run(self, path: Path) -> str:
        """Return a path as a run folder names it: relative inside the experiment, absolute outside."""
        experiment, found = self.order.path, self.order.inside(path)
        return f"../{found.relative_to(experiment).as_posix()}" if found.is_relative_to(experiment) else str(found)

    @property
    def template_hash(self) -> str:
        return digest(self.model.family.template)


@dataclass
class Faults:
    """Collects faults of the design, each once however many runs have it."""

    found: list[Fault] = field(default_factory=list)
    count: int = 0  # with repetitions: tells a run whether it has a fault, told before or not

    def add(self, message: str, at: Sequence[str | int] = (), hint: str | None = None) -> None:
        self.count += 1
        fault = Fault(message, tuple(at), hint)
        if fault not in self.found:
            self.found.append(fault)

    def extend(self, error: TuneloopError, at: Sequence[str | int], hint: str | None = None) -> None:
        """Take over the problems of an error; their place in a file becomes part of the message.

        `hint` is for those that bring none.
        """
        for problem in error.problems:
            where = "" if problem.source is None else f"{problem.source}:"
            where = f"{where}{problem.line}: " if problem.line else f"{where} " if where else ""
            message = f"{where}{problem.message}"
            # What a later entry of `data` takes from the first one is told there.
            if message in {fault.message for fault in self.found}:
                self.count += 1
            else:
                self.add(message, at, problem.hint or hint)


def read_inputs(order: Order, faults: Faults) -> Inputs | None:
    """Return the inputs, or None after adding every fault in them."""
    design, before = order.design, faults.count
    _check_method(design, faults)
    model, cited = _model(order, faults)
    preset = _preset(design, model, faults)
    companions, wrong = read_companions(order, model)
    for fault in wrong:
        faults.add(fault.message, fault.at, fault.hint)
    data = {split: _data(order, split, model, faults) for split in TRAINING_SPLITS if split in sources(design)}
    if model is None or faults.count > before:
        return None
    kept = {split: item for split, item in data.items() if item is not None}
    return Inputs(order, model, _identity(model, cited), kept, design.method.update, preset, cited, companions)


def _check_method(design: Design, faults: Faults) -> None:
    for fault in method_faults(design.method):
        faults.add(fault.message, fault.at, fault.hint)


def _model(order: Order, faults: Faults) -> tuple[ModelFolder | None, Cited | None]:
    """Return the model that training starts from, and the checkpoint that it is where the design cites one."""
    text, at = order.design.model, ("model",)
    try:
        cited = cite(text, order.path)
        if cited is not None:
            return start_from(cited, Layout(order.path)), cited
    except InputError as error:
        faults.extend(error, at)
        return None, None
    path = model_folder(text, order.path)
    if not path.is_dir() and parse_reference(text) is not None:
        hint = "write `EXPERIMENT/RUN@EPOCH`; all runs of one experiment start from the same model"
        faults.add(f"`{text}` is a run of this experiment, which cannot start from its own", at, hint)
    elif fault := model_folder_fault(text, path, at):
        faults.add(fault.message, fault.at, fault.hint)
    elif order.path.is_relative_to(path):
        faults.add("the experiment lies inside its model folder", at, "torchtune refuses that: move one")
    else:
        try:
            return read_model(path), None
        except InputError as error:
            faults.extend(error, at, "set `model:` to another model folder, or mend this one")
    return None, None


def _identity(model: ModelFolder, cited: Cited | None) -> str:
    """Return what decides the model: its files, or the job that makes them."""
    return model_hash(model.path) if cited is None else digest(cited.identity)


def _preset(design: Design, model: ModelFolder | None, faults: Faults) -> Preset | None:
    if design.preset is None:
        return None
    try:
        preset = read_preset(design.preset)
    except InputError as error:
        faults.extend(error, ("preset",))
        return None
    recipe, method = preset.recipe, design.method
    if (recipe.objective, preset.update) != (method.objective, method.update):
        faults.add(
            f"the preset `{preset.name}` is for `objective: {recipe.objective}` with `update: {preset.update}`, not "
            f"for `{method.objective}` with `{method.update}`",
            ("preset",),
            f"set `method: {{objective: {recipe.objective}, update: {preset.update}}}`, or choose another preset",
        )
        return None
    theirs = preset.model_type
    ours = theirs if model is None else model.family.model_type
    if _kin(theirs) != _kin(ours):
        faults.add(
            f"the preset `{preset.name}` is for {theirs} models, the model folder is {ours}",
            ("preset",),
            "choose one of the model's own family, or take `preset` out",
        )
    return preset


def _kin(model_type: str) -> str:
    """Return what a model's type has in common with those that the same presets fit; Phi-4 is built as Phi-3 is."""
    return model_type.partition("_")[0].replace("PHI4", "PHI3")


def _data(order: Order, split: str, model: ModelFolder | None, faults: Faults) -> Data | None:
    """Read one split whole: a broken line is found before compute is spent."""
    found, objective = sources(order.design)[split], order.design.method.objective
    file_format = found[0].format
    if file_format not in (taken := formats_for(objective)):
        message = f"the objective `{objective}` does not train on the format `{file_format}`"
        others = " or ".join(f"`objective: {name}`" for name in FORMATS[file_format].objectives)
        hint = f"it takes {', '.join(f'`{name}`' for name in taken)}: convert the file, or set {others}"
        faults.extend(InputError(message, hint=hint), ("data", found[0].index))
        return None
    entries = [_entry(order, source, model, faults) for source in found]
    kept = tuple(entry for entry in entries if entry is not None)
    return Data(kind_of(objective, file_format), kept) if len(kept) == len(entries) else None


def _entry(order: Order, source: Source, model: ModelFolder | None, faults: Faults) -> Entry | None:
    """Return one file of a split, or None after adding every fault in it."""
    path = Path(os.path.abspath(order.path / user_path(source.path)))  # noqa: PTH100
    at = ("data", source.index)
    try:
        how = reading_from(reading_of(source))
        samples = read_samples(path, how)
        found = file_hash(path)
    except TuneloopError as error:
        unread = not path.is_file() or path.suffix.lower() not in SUFFIXES
        hint = "mend the file, or name another" if path.is_file() else "paths start at the experiment's folder"
        faults.extend(error, (*at, "path") if unread else at, hint)
        return None
    if source.hash is not None and source.hash != found:
        faults.add(f"{path} is not the file that the design names", (*at, "hash"), f"its hash is now {found}")
    if share(len(samples), source.weight) == 0:
        message = f"a weight of {source.weight:g} takes none of the {len(samples)} samples of {path}"
        faults.add(message, (*at, "weight"), "raise it, or take the entry out")
    if model is None:
        return None
    tokenizer = tokenizer_for(model)
    kind = kind_of(order.design.method.objective, source.format)
    return Entry(source, path, found, tuple(length_of(kind, sample, how, tokenizer) for sample in samples))


def tokenizer_for(model: ModelFolder) -> ChatTokenizer:
    """Return the tokenizer without a length limit, its template taken from the family and not from a run."""
    return ChatTokenizer(
        path=str(model.tokenizer),
        chat_template=model.family.template_file,
        end_of_turn=model.family.end_of_turn,
        pad=model.pad,
    )
