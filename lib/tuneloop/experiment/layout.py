"""Where everything lies: the only module that joins file names.

Paths are built from the experiment's folder and never stored, so a folder can be moved.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from tuneloop.experiment.work import JobSpec

SUMMARY = "experiment_summary.md"
_CLEANED = "cleaned.json"
# What stays in a checkpoint's folder when its weights go: the verdict of its verification, and what the weights were.
KEPT_WITHOUT_WEIGHTS = frozenset({"verified.json", _CLEANED})


@dataclass(frozen=True)
class RunLayout:
    folder: Path

    @property
    def setup(self) -> Path:
        return self.folder / "setup_finetune.yaml"

    @property
    def config(self) -> Path:
        return self.folder / "finetune.yaml"

    @property
    def script(self) -> Path:
        return self.folder / "finetune.slurm"

    @property
    def chat_template(self) -> Path:
        """The prompt template of the training, for the evaluation."""
        return self.folder / "chat_template.jinja"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.jsonl"

    def checkpoint(self, epoch: int) -> Path:
        return self.folder / f"epoch_{epoch}"

    def cleaned(self, epoch: int) -> Path:
        """Exists when the epoch's weights were removed; see `cleaned_in`."""
        return cleaned_in(self.checkpoint(epoch))

    @property
    def eval(self) -> Path:
        return self.folder / "eval"

    @property
    def eval_logs(self) -> Path:
        return self.eval / "logs"

    def eval_script(self, name: str, epoch: int | None) -> Path:
        return self.eval / f"{_evaluated(name, epoch)}.slurm"

    def eval_request(self, name: str, epoch: int | None) -> Path:
        """What the evaluation's script was scaffolded with."""
        return self.eval / f"{_evaluated(name, epoch)}.json"

    def eval_log(self, name: str, epoch: int | None) -> Path:
        return self.eval_logs / f"{_evaluated(name, epoch)}.eval"

    @property
    def train_attempts(self) -> Path:
        return self.folder / ".attempts" / "train"

    def eval_attempts(self, name: str, epoch: int | None) -> Path:
        return self.folder / ".attempts" / _evaluated(name, epoch)


def cleaned_in(checkpoint: Path) -> Path:
    """Return the file that says, in a checkpoint's folder, that its weights were removed, and what they were."""
    return checkpoint / _CLEANED


def _evaluated(name: str, epoch: int | None) -> str:
    return f"{name}_base" if epoch is None else f"{name}_epoch{epoch}"


@dataclass(frozen=True)
class Layout:
    """An experiment's folder. Absolute: make it with `Layout(path.resolve())`."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def summary(self) -> Path:
        return self.folder / SUMMARY

    @property
    def gitignore(self) -> Path:
        return self.folder / ".gitignore"

    @property
    def internal(self) -> Path:
        return self.folder / ".tuneloop"

    @property
    def journal(self) -> Path:
        return self.internal / "journal.jsonl"

    @property
    def journal_lock(self) -> Path:
        return self.internal / "journal.lock"

    @property
    def runner_lock(self) -> Path:
        return self.internal / "runner.lock"

    @property
    def runner_log(self) -> Path:
        return self.internal / "runner.log"

    @property
    def manifest(self) -> Path:
        return self.internal / "manifest.json"

    @property
    def submissions(self) -> Path:
        return self.internal / "submissions"

    def submission_output(self, token: str, task: int | None) -> Path:
        """What a job that a scheduler started printed before its attempt began."""
        return self.submissions / (f"{token}.out" if task is None else f"{token}_{task}.out")

    @property
    def jobs(self) -> Path:
        """The folder of scaffolded jobs, one file a worker."""
        return self.internal / "jobs"

    def cited_model(self, digest: str, epoch: int) -> Path:
        """Another experiment's checkpoint as a whole model, by what decides it."""
        return self.cited_models / f"{digest}-e{epoch}"

    @property
    def cited_models(self) -> Path:
        """The merged models of cited checkpoints; a job that needs one makes it again."""
        return self.internal / "models"

    @property
    def inputs(self) -> Path:
        """What jobs on another machine read and lies outside: links here, the things themselves there."""
        return self.internal / "inputs"

    def fetched(self, cluster: str) -> Path:
        """What was fetched of a cluster and is not taken over yet, when, and what the folder there is called."""
        return self.internal / "fetched" / cluster

    @property
    def replaced(self) -> Path:
        """Results that were set aside, a numbered folder each time."""
        return self.internal / "replaced"

    @property
    def collect_script(self) -> Path:
        return self.internal / "collect.slurm"

    @property
    def collect_attempts(self) -> Path:
        return self.internal / "attempts" / "collect"

    @property
    def analysis(self) -> Path:
        return self.folder / "analysis"

    @property
    def figures(self) -> Path:
        return self.analysis / "figures"

    @property
    def report(self) -> Path:
        return self.analysis / "report.html"

    def run(self, name: str) -> RunLayout:
        return RunLayout(self.folder / name)

    def request_of(self, evaluation: JobSpec) -> Path:
        """Return what an evaluation's script was scaffolded with; it stands beside the script."""
        return (self.folder / evaluation.script).with_suffix(".json")

    def made_by(self, job: JobSpec) -> list[Path]:
        """Return the checkpoints and evaluation logs that a job makes, as far as they exist."""
        found = self.checkpoints_of(job)
        for made in job.makes:
            kind, *place = re.split("[:/]", made)
            if kind == "evaluation":
                run, epoch, name = place
                stem = _evaluated(name, None if epoch == "base" else int(epoch[1:]))
                found += sorted(self.run(run).eval_logs.glob(f"{stem}.*"))
        return [path for path in found if path.exists()]

    def checkpoints_of(self, job: JobSpec) -> list[Path]:
        """Return the checkpoints that a job makes, whether or not they exist here."""
        places = [re.split("[:/]", made) for made in job.makes]
        return [self.run(place[1]).checkpoint(int(place[2][1:])) for place in places if place[0] == "checkpoint"]

    def relative(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()
