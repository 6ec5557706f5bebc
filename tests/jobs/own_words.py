"""What our own workers say of a job that failed, as it stands in their source, and what it is taken for.

By file below lib/tuneloop. What is in braces there is filled in when it is said; a test looks each up in its file.
"""

CHANGED = "an input has changed since the scaffold"
GONE = "the checkpoint to start from is not there: not trained yet, or cleaned away"
NAN = "the loss or the weights are not numbers any more"
STOP = "the end of an answer, or a token of a text, was not trained: the model would not know where to stop"
LACKS = "the model folder lacks a file"
DISK = "the disk is full"
DENIED = "a file or folder may not be written or read"
OTHER = "a file is not what was scaffolded there"
ALONE = "a step of the script was run by itself"
SHORT = "the evaluation ended before it was whole"
EARLY = "the training ended before its last epoch"
DATA = "a data file lacks a row, a column or a valid line"
FIT = "weights and model do not fit together"
TASK = "the task's own code, a solver or a scorer, raised an error"
UNLOADED = "a checkpoint does not load"

_TORCHTUNE = {
    "verify": {
        "epoch_{missing[0]} is missing: training did not get that far": EARLY,
        "epoch_{epoch}: the weights hold a value that is not finite": NAN,
        "epoch_{epoch}: the validation loss is not finite": NAN,
    },
    "auditing": {
        "the end-of-turn token {tokenizer.end_of_turn} is not trained, so the model would never stop": STOP,
        "the end-of-text token is not trained, so the model would never end a text": STOP,
        "a token of a plain text is not trained": STOP,
        "the prompt as trained and as evaluated differ in their tokens": (
            "the chat template makes one prompt in training and another one in an evaluation"
        ),
    },
    "attempts": {
        "no attempt is claimed": ALONE,
        "the job was made for the digest {asked}, the setup has {setup.digest}": CHANGED,
        "the {split} data is gone": CHANGED,
        "the {split} data has changed since the run was scaffolded": CHANGED,
        "the model folder is gone": CHANGED,
        "the model has changed since the run was scaffolded": CHANGED,
        "the {what} is gone": CHANGED,
        "the {what} has changed since the run was scaffolded": CHANGED,
        "the checkpoint to start from is not there": GONE,
        "the weights of the checkpoint to start from were cleaned away": GONE,
        "the checkpoint to start from was trained anew": CHANGED,
    },
    "loading": {
        "{folder.name} does not load: {type(error).__name__}: {error}": UNLOADED,
        "{folder.name} lacks weights of its adapter: {lacking[0].splitlines()[0]}": FIT,
        "{folder.name} lacks weights: ": FIT,
    },
    "merging": {"the adapter has no weights": LACKS, "does not load: {type(error).__name__}: {error}": UNLOADED},
    "finishing": {"{folder.name} has no {ADAPTER_STATE}: training did not write it whole": EARLY},
    "exporting": {
        "a DoRA adapter on a part of a fused matrix needs {missing}, too": (
            "peft cannot hold a DoRA adapter of one part of a matrix that the model keeps in one piece"
        )
    },
    "encoding": {
        "a prompt has {len(tokens)} tokens, more than max_seq_len, {tokenizer.max_seq_len}": (
            "a prompt is longer than `max_seq_len`"
        )
    },
    "data": {
        "the list of messages cannot be read: {error}": DATA,
        "expected a list of messages": DATA,
        "a message needs `role` and a text `content`": DATA,
        "unknown role {role!r}; known: ": DATA,
    },
    "components/tokenizer": {
        "the chat template rewrites earlier turns, so no turn can be masked by itself": (
            "the chat template fails on a conversation"
        ),
        "the tokenizer has no token {token}": "the tokenizer's files cannot be read",
    },
    "components/classifier": {
        "no {_HEAD} in {self._checkpoint_dir}: not a classifier of transformers": "the reward model is not a classifier"
    },
}
_INSPECT = {
    "prepare": {
        "prepare takes one argument, the request": ALONE,
        "scaffolded again after this job was handed over": CHANGED,
        "changed since it was scaffolded": CHANGED,
        "no such model folder": "the model folder is not there",
        "no config.json in the model folder": LACKS,
        "the adapter does not name its base model": LACKS,
        "the adapter's base model is not there: {named}": LACKS,
        "peft is missing, and the checkpoint is an adapter": (
            "the work environment lacks a package, or has another version of it"
        ),
    },
    "request": {"not a request of this worker": OTHER, "no attempt claimed: TUNELOOP_ATTEMPT is not set": ALONE},
    "verify": {
        "inspect wrote no log": SHORT,
        "the log cannot be read": SHORT,
        "inspect ended with exit code {code}": SHORT,
        "the evaluation ended with the status `{log.status}`": TASK,
        "the log belongs to another version of this evaluation": "its log is of the evaluation as it was before",
        "the log has no scores": "the task scores nothing",
        "{completed} of {request.samples} samples were completed": SHORT,
        "the log holds {len(samples)} of {request.samples} samples": SHORT,
        "{len(errors)} of {len(samples)} samples had an error, the first: {first}": TASK,
        "{len(unscored)} of {len(samples)} samples were not scored": TASK,
    },
}
_FILES = {
    "no such file": "a file is missing",
    "is a folder, not a file": OTHER,
    "not UTF-8 text (byte {error.start})": OTHER,
    "no space left on the device": DISK,
    "the disk quota is used up": DISK,
    "permission denied": DENIED,
    "the file system is read-only": DENIED,
}

OWN_WORDS = {
    **{f"workers/torchtune/{name}.py": said for name, said in _TORCHTUNE.items()},
    **{f"workers/inspect/{name}.py": said for name, said in _INSPECT.items()},
    "documents/files.py": _FILES,
    "experiment/standstill.py": {
        "no epoch fits into the time limit": (
            "its time limit is too short for one epoch, and training resumes after whole epochs"
        ),
    },
    "experiment/templates/job.slurm.j2": {
        "the set-up of the cluster profile ended with exit code $code in: $step": (
            "the set-up of the cluster profile failed on its node: `source`, `modules` or `environment`"
        ),
    },
    "jobs/state.py": {"the time limit ended it": "the time limit ended it"},
    "jobs/slurm/answers.py": {"the time limit was reached": "the time limit ended it"},
}

# What a step only passes on, and what is refused at the scaffold, before there is a job.
NOT_ITS_OWN = ("epoch_{epoch}: {fault}", "unknown format `{file_format}`", "unknown column role `{role}`")
