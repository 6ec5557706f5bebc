"""Checkpoints that a design cites from another experiment: `EXPERIMENT/RUN@EPOCH`.

What is cited may not be trained yet. It is known by the digest of the job that makes it, and whoever cites it
needs that job.
"""

from dataclasses import dataclass
from pathlib import Path

from tuneloop.documents.errors import InputError, Problem
from tuneloop.documents.files import user_path
from tuneloop.documents.shell import typed
from tuneloop.experiment.layout import Layout, RunLayout, cleaned_in
from tuneloop.experiment.read import Experiment, read_experiment
from tuneloop.experiment.references import Reference, parse_reference
from tuneloop.experiment.store import all_specs, read_jobs
from tuneloop.experiment.work import Need, train_key
from tuneloop.workers.hub import model_folder


@dataclass(frozen=True)
class Cited:
    run: RunLayout  # in the other experiment
    epoch: int
    need: Need
    digest: str  # of the job that makes the checkpoint
    base: Path  # the model folder at the beginning of the chain: its config and tokenizer hold for all that follow

    @property
    def folder(self) -> Path:
        """Where the checkpoint lies once it is verified."""
        return self.run.checkpoint(self.epoch)

    @property
    def identity(self) -> dict[str, str | int]:
        return {"training": self.digest, "epoch": self.epoch}


def cite(text: str, folder: Path, *, citing: tuple[Path, ...] = ()) -> Cited | None:
    """Return the checkpoint that `text` cites, seen from the experiment in `folder`; None where it cites none.

    `citing` are the experiments between whoever asks and this one. Raises InputError when there is no such experiment,
    run or epoch, when it is not scaffolded, or when the experiments cite each other.
    """
    reference = parse_reference(text)
    if reference is None or reference.experiment is None or model_folder(text, folder).is_dir():
        return None
    place = (folder / user_path(reference.experiment)).resolve()
    if not Layout(place).summary.is_file():
        raise InputError(f"`{text}` cites an experiment that is not there", hint=f"there is none in {typed(place)}")
    other = read_experiment(place)
    if other.layout.folder in citing:
        raise InputError(Problem("the experiments cite each other", other.layout.summary, hint="change one `model:`"))
    run = other.run(reference.run)
    if run.kind != "train":
        raise InputError(Problem(f"`{run.name}` trains nothing, so it has no checkpoint", other.layout.summary))
    if reference.epoch >= run.epochs:
        hint = f"the last one is {run.epochs - 1}"
        raise InputError(Problem(f"`{run.name}` has no epoch {reference.epoch}", other.layout.summary, hint=hint))
    key = train_key(run.name)
    job = next((job for job in all_specs(read_jobs(other.layout)) if job.key == key), None)
    if job is None:
        hint = f"`tuneloop scaffold-experiment {typed(other.layout.folder)}` first"
        raise InputError(Problem(f"`{run.name}` is not scaffolded", other.layout.summary, hint=hint))
    checkpoint = other.layout.run(run.name).checkpoint(reference.epoch)
    if cleaned_in(checkpoint).is_file():
        hint = f"cite another epoch, or `bash {typed(other.layout.run(run.name).script)}` trains it again"
        raise InputError(Problem(f"the weights of `{text}` were cleaned away", checkpoint, hint=hint))
    need = Need(key, "ok", reference.experiment)
    return Cited(other.layout.run(run.name), reference.epoch, need, job.digest, _base(other, reference, citing))


def _base(other: Experiment, reference: Reference, citing: tuple[Path, ...]) -> Path:
    named = other.design.model
    further = cite(named, other.layout.folder, citing=(*citing, other.layout.folder))
    base = model_folder(named, other.layout.folder) if further is None else further.base
    if not base.is_dir():
        message = f"`{reference.experiment}` begins from the model folder `{named}`, which is not there"
        raise InputError(Problem(message, other.layout.summary))
    return base
