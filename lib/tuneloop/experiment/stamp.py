"""Stamps: tell, without opening a model or a data file, that a job was scaffolded from another design.

Everything counts that can change the job's result; the question, the budget and the policy do not. The full
digest, with the hashes of data and model, is made when scaffolding.
"""

from tuneloop.experiment.design import TRAINING_SPLITS, Design
from tuneloop.experiment.expand import Run
from tuneloop.experiment.identity import digest
from tuneloop.experiment.work import JobKey, evaluation_of, to_json

_TRAINING = ("method", "backend", "preset", "model")


class Stamps:
    """The stamps of one design; what all runs share is digested once."""

    def __init__(self, design: Design) -> None:
        kept = to_json(design, Design)
        # The first entry lends its columns and prompt to the others.
        data = [kept["data"][0], *(entry for entry in kept["data"] if entry["split"] in TRAINING_SPLITS)]
        self._training = digest([[kept[key] for key in _TRAINING], data])
        self._evaluation = {
            item["name"]: digest(
                [item, kept["data"][0], *(entry for entry in kept["data"] if entry["split"] == item["split"])]
            )
            for item in kept["evaluations"]
        }

    def of(self, run: Run, key: JobKey) -> str:
        """Return the stamp of one job of a run."""
        fields = {name: setting.value for name, setting in run.fields.items()}
        evaluation = evaluation_of(key)
        part = None if evaluation is None else self._evaluation.get(evaluation)
        return digest([self._training, run.kind, run.checkpoint, fields, part])
