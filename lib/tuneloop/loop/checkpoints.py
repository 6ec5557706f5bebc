"""Finding the model that a person names: `[EXPERIMENT/]RUN@EPOCH`, or a run that is a model as it is."""

from dataclasses import dataclass
from pathlib import Path

from tuneloop.documents.errors import FailedError, InputError, Problem
from tuneloop.documents.files import read_text, user_path
from tuneloop.documents.shell import typed
from tuneloop.documents.yamltext import load_yaml
from tuneloop.experiment.expand import Run
from tuneloop.experiment.layout import Layout, RunLayout, cleaned_in
from tuneloop.experiment.read import Experiment, read_experiment
from tuneloop.experiment.references import parse_reference
from tuneloop.experiment.work import train_key
from tuneloop.jobs.board import Board, read_board
from tuneloop.jobs.state import GOING, JobStatus
from tuneloop.loop.orders import Crew
from tuneloop.loop.retention import weights_in
from tuneloop.workers.hub import model_folder
from tuneloop.workers.models import Weights


@dataclass(frozen=True)
class Model:
    """A model of an experiment that is there and may be believed: verified, or not made by a job at all."""

    experiment: Experiment
    board: Board
    run: Run
    epoch: int | None  # None: a control run or an eval-only run
    folder: Path
    base: Path
    template: Path | None

    @property
    def name(self) -> str:
        return self.run.name if self.epoch is None else f"{self.run.name}@{self.epoch}"

    def weights(self, crew: Crew) -> Weights:
        template = None if self.template is None else str(self.template)
        return Weights(str(self.folder), str(self.base), template, crew.gpus_here)


def find_model(text: str, start: Path) -> Model:
    """Return the model that `text` names; the experiment is a path from `start`, the folder itself without one.

    Raises InputError when there is no such thing, or none that may be used: unverified, stale or cleaned.
    """
    place, _, name = text.rpartition("/")
    experiment = read_experiment(start / user_path(place))
    run_name, at, epoch = name.partition("@")
    run = experiment.run(run_name)
    board = read_board(experiment, Crew(experiment).fleet())
    if run.kind == "train":
        return _trained(experiment, board, run, epoch_of(experiment, run, epoch if at else None))
    if at:
        hint = f"`{run.name}` alone names it"
        raise InputError(_problem(experiment, f"the {run.kind} run `{run.name}` has no epochs", hint))
    return _as_it_is(experiment, board, run)


def epoch_of(experiment: Experiment, run: Run, text: str | None) -> int:
    """Return an epoch that a person names. Raises InputError for one that the run does not have."""
    last = f"`{run.name}@{run.epochs - 1}` is the last one"
    if text is None:
        raise InputError(_problem(experiment, f"`{run.name}` has {run.epochs} epochs: say which", last))
    if not text.isascii() or not text.isdecimal():
        raise InputError(_problem(experiment, f"`{text}` is not an epoch", last))
    if int(text) >= run.epochs:
        raise InputError(_problem(experiment, f"`{run.name}` has no epoch {int(text)}", f"{last}; they count from 0"))
    return int(text)


def _trained(experiment: Experiment, board: Board, run: Run, epoch: int) -> Model:
    status = board.states.get(train_key(run.name))
    refuse_unverified(experiment, run, status)
    own = experiment.layout.run(run.name)
    folder = own.checkpoint(epoch)
    _refuse_elsewhere(experiment, run, epoch, status)
    refuse_gone(experiment.layout, run.name, epoch)
    template = own.chat_template if own.chat_template.is_file() else None
    return Model(experiment, board, run, epoch, folder, _base(experiment), template)


def refuse_unverified(experiment: Experiment, run: Run, status: JobStatus | None) -> None:
    """Raise InputError when the run's training is not done, with what to type about it."""
    folder = typed(experiment.layout.folder)
    if status is None:
        hint = f"`tuneloop scaffold-experiment {folder}`"
        raise InputError(_problem(experiment, f"`{run.name}` is not scaffolded", hint))
    if status.state == "done":
        return
    if status.state == "stale":
        message, hint = f"`{run.name}` is stale: {status.reason}", f"`tuneloop scaffold-experiment {folder}` says what"
    else:
        message = f"`{run.name}` is not trained and verified yet: its job is {status.state}"
        going = f"`tuneloop wait {folder}`" if status.state in GOING else f"`tuneloop retry {folder} --failed`"
        hint = f"`tuneloop run-experiment {folder}`" if status.state == "planned" else going
    raise InputError(_problem(experiment, message, hint))


def refuse_gone(layout: Layout, run: str, epoch: int) -> None:
    """Raise FailedError when a verified epoch has no weights any more, with how to get them again."""
    again = f"`bash {typed(layout.run(run).script)}` trains it again, to the same weights on the same machine"
    folder = layout.run(run).checkpoint(epoch)
    if layout.run(run).cleaned(epoch).is_file():
        raise FailedError(Problem(f"the weights of `{run}@{epoch}` were cleaned away", folder, hint=again))
    if not folder.is_dir():
        raise FailedError(Problem(f"the weights of `{run}@{epoch}` are gone", folder, hint=again))


def _refuse_elsewhere(experiment: Experiment, run: Run, epoch: int, status: JobStatus | None) -> None:
    """Raise FailedError for weights that lie on another machine, with the line that brings them."""
    own = experiment.layout.run(run.name)
    if status is None or status.native is None or weights_in(own.checkpoint(epoch)) or own.cleaned(epoch).is_file():
        return
    if Crew(experiment).fleet().mirror(status.native.cluster) is None:
        return
    message = f"the weights of `{run.name}@{epoch}` are on `{status.native.cluster}`"
    hint = f"`tuneloop fetch {typed(experiment.layout.folder)} {run.name}@{epoch}` brings them"
    raise FailedError(Problem(message, experiment.layout.summary, hint=hint))


def _as_it_is(experiment: Experiment, board: Board, run: Run) -> Model:
    base, template = _base(experiment), _template(experiment)
    if run.kind == "control":
        _refuse_missing(experiment, base)
        return Model(experiment, board, run, None, base, base, template)
    reference = parse_reference(run.checkpoint or "")
    if reference is None:
        folder = model_folder(run.checkpoint or "", experiment.layout.folder)
        if not folder.is_dir():
            raise InputError(_problem(experiment, f"no model folder `{run.checkpoint}`", "correct it under `runs`"))
        return Model(experiment, board, run, None, folder, base, None)
    text = run.checkpoint if reference.experiment else f"./{run.checkpoint}"
    cited = find_model(str(text), experiment.layout.folder)
    return Model(experiment, board, run, None, cited.folder, cited.base, cited.template)


def _base(experiment: Experiment) -> Path:
    """Return the folder of the design's model; of a cited checkpoint what its runs really start from."""
    named, layout = experiment.design.model, experiment.layout
    folder = model_folder(named, layout.folder)
    reference = parse_reference(named)
    if reference is None or folder.is_dir():
        return folder
    started = (_start_of(layout.run(run.name)) for run in experiment.runs if run.kind == "train")
    merged = next((path for path in started if path is not None and path.is_dir()), None)
    other = Layout(experiment.path(reference.experiment or "."))
    return merged or other.run(reference.run).checkpoint(reference.epoch)


def _start_of(run: RunLayout) -> Path | None:
    """Return the model that a run's setup names; it outlives the experiment that is cited."""
    if not run.setup.is_file():
        return None
    said = load_yaml(read_text(run.setup), run.setup).get("model", {}).get("path")
    return None if said is None else (run.folder / said).resolve()


def _refuse_missing(experiment: Experiment, folder: Path) -> None:
    named = experiment.design.model
    if cleaned_in(folder).is_file():
        hint = f"`bash {typed(RunLayout(folder.parent).script)}` trains it again"
        raise InputError(_problem(experiment, f"the weights of `{named}` were cleaned away", hint))
    if not folder.is_dir():
        raise InputError(_problem(experiment, f"the model `{named}` is not there", "set `model:`, or train it first"))


def _template(experiment: Experiment) -> Path | None:
    """Return the chat template of the training, under which a control run answers too; None without one."""
    trained = (experiment.layout.run(run.name).chat_template for run in experiment.runs if run.kind == "train")
    return next((path for path in trained if path.is_file()), None)


def _problem(experiment: Experiment, message: str, hint: str) -> Problem:
    return Problem(message, experiment.layout.summary, hint=hint)
