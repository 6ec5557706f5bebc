"""What the last words of a failed job usually mean, and the repair: one table, the most specific rows first.

A row knows the words of a tool, the cause in plain ones, and what to change in the design or to type; EXP and RUN
stand for the experiment's folder and the run. The words are those that the real libraries print:
tests/jobs/real_failures.py makes them say each. What needs a GPU or a scheduler to be said stands recorded in
tests/jobs/recorded.py, and what our own workers say in tests/jobs/own_words.py.
"""

import re
from dataclasses import dataclass

_FEWER_ROWS = (
    "halve `batch_size` and double `gradient_accumulation`: the effective batch stays the same, and"
    " `tuneloop retry EXP --failed --dry-run` says how; at 1, lower `max_seq_len` or set"
    " `activation_checkpointing: true`"
)
_FEWER_SAMPLES = (
    "give the evaluation `generation: {max_connections: 4}`: fewer samples at once, and the same answers; or run fewer"
    " jobs at once with `slots:` of the cluster profile"
)
_SHARE = 1 / 4  # the local executor runs up to four jobs at once: one that holds a quarter may fill the memory
_OWN_SHARE = 9 / 10  # of what a scheduler gave it; as estimated, a job fills up to four fifths of that and lives


@dataclass(frozen=True)
class Evidence:
    """What is known of a failed attempt."""

    text: str  # the end of the log, then the reason
    evaluates: bool = False
    code: int | None = 1  # 128 + n for signal n; None where nobody was left to write it
    nonfinite: bool = False  # the last line of its metrics is not a number
    peak_mb: float | None = None  # of all its processes together
    memory_mb: float | None = None  # of the machine, or what a scheduler gave it
    own_memory: bool = False  # that is the job's alone


@dataclass(frozen=True)
class Row:
    pattern: str
    cause: str
    hint: str
    evaluating: str | None = None  # the hint where an evaluation says it


TABLE = [
    # Inputs that are not those of the scaffold: our own `prepare` says so.
    Row(
        r"(?:has )?changed since (?:the run|it) was scaffolded"
        r"|the (?:\w+ data|model folder|teacher|reward model) is gone|the job was made for the digest"
        r"|scaffolded again after this job was handed over"
        r"|the checkpoint to start from was trained anew",
        "an input has changed since the scaffold",
        "put it back, or scaffold again: that lists what changed",
    ),
    # Limits that somebody else enforces.
    Row(
        r"no epoch fits into the time limit",
        "its time limit is too short for one epoch, and training resumes after whole epochs",
        "raise `limits.minutes` of the cluster profile where that is what cuts it and scaffold again, give it a faster"
        " machine, or divide the data of an epoch: fewer samples and more `epochs`",
    ),
    Row(
        r"DUE TO TIME LIMIT|the time limit (?:ended it|was reached)",
        "the time limit ended it",
        "`tuneloop retry EXP --failed` goes on after the last whole epoch, and more `policy.resumes` let it go on by"
        " itself; or train fewer `epochs`, or set `max_steps`",
        evaluating="set `limit` of the evaluation, or submit it with a longer `--time`",
    ),
    Row(
        r"oom[_-]kill|Out of memory: Killed process|OUT_OF_MEMORY|(?:^| )out of memory$",
        "the kernel or the scheduler killed it: out of memory",
        _FEWER_ROWS,
        evaluating=_FEWER_SAMPLES,
    ),
    # What the site's own set-up says is its own matter.
    Row(
        r"the set-up of the cluster profile ended with exit code",
        "the set-up of the cluster profile failed on its node: `source`, `modules` or `environment`",
        "`tuneloop cluster check NAME` says why; correct the line of the profile, scaffold again, then"
        " `tuneloop retry EXP --failed`",
    ),
    Row(
        r"insufficient shared memory|killed by signal: Bus error|unable to (?:open|write to|mmap) .*shared memory",
        "the shared memory (/dev/shm) is full",
        "enlarge it (containers: `--shm-size=8g`), or load data without worker processes",
    ),
    # The GPU.
    Row(
        r"device-side assert triggered",
        "a token or label number lies outside what the model knows; CUDA stopped at an assertion",
        "check that the tokenizer files belong to `model`; the same script on a CPU names the line",
    ),
    Row(
        r"CUDA out of memory|CUDA error: out of memory|CUBLAS_STATUS_ALLOC_FAILED|HIP out of memory",
        "out of memory on the GPU",
        _FEWER_ROWS,
        evaluating=_FEWER_SAMPLES,
    ),
    Row(
        r"Torch not compiled with CUDA|Found no NVIDIA driver|No CUDA GPUs are available|CUDA driver version is insuff"
        r"|no kernel image is available|Distributed package doesn't have NCCL|local machine only has \d+ devices",
        "it wants a GPU, and this torch or machine has none that works",
        "scaffold again where the job will run: the device follows the machine; or install a CUDA build of torch there",
    ),
    Row(
        r"bf16 precision was requested but not available",
        "this machine cannot compute in bf16",
        "set `dtype: fp32` in `controls`",
    ),
    # Memory and disk.
    Row(
        r"DefaultCPUAllocator: can't allocate memory|\bMemoryError\b|Cannot allocate memory|std::bad_alloc"
        r"|Unable to allocate [\d.]+ [KMGTP]iB|OutOfMemoryError",
        "out of memory",
        _FEWER_ROWS,
        evaluating=_FEWER_SAMPLES,
    ),
    Row(
        # Of the last three torch says no more when a checkpoint does not fit on the disk.
        r"No space left on device|Disk quota exceeded|os error 28|PytorchStreamWriter failed writing"
        r"|inline_container\.cc:\d+\] \. unexpected pos|basic_ios::clear: iostream error"
        r"|no space left on the device|the disk quota is used up",
        "the disk is full",
        "free some space, then `tuneloop retry EXP --failed`",
    ),
    Row(
        r"\[Errno 27\] File too large|os error 27",
        "a file outgrew the limit on file sizes",
        "raise it (`ulimit -f unlimited`), then `tuneloop retry EXP --failed`",
    ),
    Row(
        r"Too many open files",
        "too many files are open",
        "raise the limit (`ulimit -n 65536`), then `tuneloop retry EXP --failed`",
    ),
    # Numbers.
    Row(
        r"not finite|(?i:loss(?: is|[:=|]) ?(?:nan|inf)\b)|probability tensor contains either `inf`, `nan`",
        "the loss or the weights are not numbers any more",
        "lower `lr`, add `warmup_steps`, or set `clip_grad_norm: 1.0`",
    ),
    # Weights.
    Row(
        r"the checkpoint to start from (?:is not there|were cleaned away)",
        "the checkpoint to start from is not there: not trained yet, or cleaned away",
        "run the experiment that `model` cites, then `tuneloop retry EXP --failed`",
    ),
    Row(
        r"a DoRA adapter on a part of a fused matrix",
        "peft cannot hold a DoRA adapter of one part of a matrix that the model keeps in one piece",
        "name q_proj, k_proj and v_proj together in `lora_targets`, then scaffold again",
    ),
    Row(
        r"not a classifier of transformers",
        "the reward model is not a classifier",
        "name in `method.reward_model` the folder of an AutoModelForSequenceClassification with one label",
    ),
    Row(
        r"size mismatch for|did not match the original empty weight shapes|ignore_mismatched_sizes"
        r"|shapes cannot be multiplied|(?:Missing|Unexpected) key\(s\) in state_dict|lacks weights",
        "weights and model do not fit together",
        "check that the files in `model` are of one model, and that `lora_rank` is the one of the checkpoint",
    ),
    Row(
        r"Error while deserializing header|PytorchStreamReader failed|incomplete metadata, file not fully covered"
        r"|invalid load key|header too large",
        "a weight file is damaged, cut off, or only a pointer to the real one",
        "copy or download `model` again (with git, `git lfs pull`)",
    ),
    Row(
        r"Error no file named .{0,200} found in directory|no config\.json in the model folder"
        r"|adapter does not name its base|adapter's base model is not there|the adapter has no weights",
        "the model folder lacks a file",
        "name in `model` the folder that transformers' save_pretrained wrote",
    ),
    Row(
        r"Repo id must |no such model folder|is not a local folder and is not a valid model identifier",
        "the model folder is not there",
        "check `model`, and that the training whose checkpoint is evaluated is done",
    ),
    Row(
        r"does not recognize this architecture|is not a valid JSON file",
        "transformers cannot read the model's config.json",
        "name another `model`, repair its config.json, or install a newer transformers",
    ),
    # Templates and tokenizers.
    Row(
        r"the end-of-(?:turn|text) token .{0,60}is not trained|a token of a plain text is not trained",
        "the end of an answer, or a token of a text, was not trained: the model would not know where to stop",
        "correct chat_template.jinja of the model folder so that each turn ends with the end-of-turn token of `model`,"
        " then scaffold again",
    ),
    Row(
        r"the prompt as trained and as evaluated differ",
        "the chat template makes one prompt in training and another one in an evaluation",
        "take out of chat_template.jinja what looks at later turns or at the date, check that the tokenizer files"
        " belong to `model`, then scaffold again",
    ),
    Row(
        r"a prompt has [\d,]+ tokens, more than max_seq_len",
        "a prompt is longer than `max_seq_len`",
        "raise `max_seq_len`, or take the longest prompts out of the data, then scaffold again",
    ),
    Row(
        r"jinja2\.exceptions\.|Template(?:Syntax|Runtime)?Error\b|chat_template is not set"
        r"|the chat template rewrites earlier turns",
        "the chat template fails on a conversation",
        "correct chat_template.jinja of the model folder (it may refuse a `system` turn), then scaffold again",
    ),
    Row(
        r"index out of range in self",
        "a token number lies outside the model's vocabulary",
        "use the tokenizer files that came with `model`",
    ),
    Row(
        r"Can't load tokenizer|instantiate the backend tokenizer|the tokenizer has no token"
        r"|tokenization_utils_base\.py\W{1,3}(?:line )?\d+,? in _from_pretrained",
        "the tokenizer's files cannot be read",
        "copy tokenizer.json, vocab.json and merges.txt of `model` again",
    ),
    # Configs. An import error of a component comes wrapped, so before the missing package.
    Row(
        r"InstantiationError|Config(?:Attribute|Key)Error|MissingMandatoryValue|InterpolationKeyError|ConfigError"
        r"|InterpolationResolutionError|_instantiate\.py.{0,1200}unexpected keyword argument",
        "torchtune cannot build a component from the config",
        "correct the keys under `torchtune:`; `tuneloop explain EXP RUN` shows where each value comes from",
    ),
    Row(
        # With the error's name: libraries also mention packages that they can do without.
        r"(?:ModuleNotFoundError|ImportError): |PackageNotFoundError|peft is missing",
        "the work environment lacks a package, or has another version of it",
        "install it there; `python:` of the cluster profile names the environment",
    ),
    # Things that are elsewhere.
    Row(
        r"LocalEntryNotFoundError|OfflineModeIsEnabled|couldn't connect to 'https://huggingface\.co'|HF_HUB_OFFLINE",
        "something asks the Hugging Face hub, and jobs run offline",
        "download it before, and give `model`, data and the task's own models as folders",
    ),
    Row(
        r"NameResolutionError|Max retries exceeded|Temporary failure in name resolution|Network is unreachable"
        r"|Connection refused|APIConnectionError",
        "it needs the network, and did not reach it",
        "check the task for a grader, data or package that is fetched, and fetch it before",
    ),
    Row(
        r"_API_KEY\S* defined in the environment|api_key client option must be set",
        "the task asks a model behind an API, and its key is not set",
        "set the key in the environment of the job, or use a scorer without a model",
    ),
    # Data and tasks.
    Row(
        r"DatasetGenerationError|JSON parse error|InvalidLineError|contains invalid json|No input in dataset"
        r"|dataset is empty|no column `|a list of messages|list of messages cannot be read|a message needs `role`"
        r"|unknown role '|Unable to find '[^']*\.(?:jsonl?|csv|parquet)'",
        "a data file lacks a row, a column or a valid line",
        "correct the file at `data.path` or the names in `columns`, then scaffold again",
    ),
    Row(
        r"Task named '[^']*' not found|No inspect tasks were found",
        "the evaluation's task cannot be loaded",
        "correct `evaluations.task`; `inspect list tasks` in its folder shows what can be loaded",
    ),
    # Files.
    Row(
        r"PermissionError|[Pp]ermission denied|Read-only file system|the file system is read-only",
        "a file or folder may not be written or read",
        "correct its permissions, then `tuneloop retry EXP --failed`",
    ),
    Row(
        r"FileNotFoundError|No such file or directory|: no such file\b",
        "a file is missing",
        "check the paths of the design, in `model`, `data.path` and `evaluations.task`; what a run itself lacks,"
        " `tuneloop scaffold-experiment EXP` writes again",
    ),
    Row(
        r": not UTF-8 text|: is a folder, not a file|: not YAML: |not a request of this worker",
        "a file is not what was scaffolded there",
        "`tuneloop scaffold-experiment EXP` writes it again",
    ),
    # Our own steps, and checkpoints of which nothing above says why they do not load.
    Row(
        r"no attempt (?:is )?claimed|prepare takes one argument",
        "a step of the script was run by itself",
        "run the whole script, or `tuneloop run-experiment EXP`",
    ),
    Row(
        r"does not load: ",
        "a checkpoint does not load",
        "the error that the log names says why; where a file is torn, `tuneloop retry EXP --failed` trains it again",
    ),
    # What is left of an evaluation or a training that ended without a word of the above.
    Row(
        r"samples had an error|samples were not scored|ended with the status `error`|Task interrupted",
        "the task's own code, a solver or a scorer, raised an error",
        "the log names its line; correct the task, then scaffold again",
    ),
    Row(
        r"the log has no scores",
        "the task scores nothing",
        "give the task a scorer, then scaffold again",
    ),
    Row(
        r"the log belongs to another version of this evaluation",
        "its log is of the evaluation as it was before",
        "`tuneloop retry EXP --failed` does it again",
    ),
    Row(
        r"samples were completed|the log holds \d+ of|the log cannot be read|inspect wrote no log"
        r"|inspect ended with exit code",
        "the evaluation ended before it was whole",
        "the log may say why; `tuneloop retry EXP --failed` does it again",
    ),
    Row(
        r"training did not (?:get that far|write it whole)",
        "the training ended before its last epoch",
        "the log may say why; `tuneloop retry EXP --failed` goes on after the last whole epoch",
    ),
]

_BOX = {"│", "╭", "╰"}  # around a traceback that rich drew: its code, in lines of 80 characters
_SIGNALS: dict[int | None, tuple[str, str]] = {
    None: (
        "all its processes ended without a word: a kill, a reboot or a power cut",
        "`tuneloop retry EXP --failed` goes on",
    ),
    143: ("it was asked to end: by a person, a shutdown or a scheduler", "`tuneloop retry EXP --failed` goes on"),
    139: (
        "a library crashed (a memory fault in native code)",
        "`tuneloop retry EXP --failed`; if it happens again, reinstall torch",
    ),
    134: ("a library gave up (abort)", "the last lines of the log say why"),
}
_OUTSIDE = {137, 143}  # SIGKILL and SIGTERM come from outside: the log has no last word on them
_ENDERS = TABLE[1:4]  # … unless who sent them left a line there


def likely_cause(evidence: Evidence) -> tuple[str | None, str | None]:
    """Return the cause and its repair, or None for both where nothing known was said."""
    text = _spoken(evidence.text)
    if evidence.nonfinite:
        text += " not finite"
    for row in _ENDERS if evidence.code in _OUTSIDE else TABLE:
        if re.search(row.pattern, text):
            return row.cause, row.evaluating if evidence.evaluates and row.evaluating else row.hint
    return _by_signal(evidence)


def out_of_memory(evidence: Evidence) -> bool:
    """Tell whether what is known of it says that memory ran out, on the machine or on its GPU."""
    return likely_cause(evidence)[1] in (_FEWER_ROWS, _FEWER_SAMPLES)


def _spoken(text: str) -> str:
    """Return what a tool said as one line, without the code that a traceback quotes: it may name any error.

    One line, because tools wrap at the width of a terminal that is not there.
    """
    lines = text.splitlines()
    kept = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if line[:1] not in _BOX and not (before.lstrip().startswith('File "') and line.startswith("    "))
    ]
    return " ".join(" ".join(kept).split())


def _by_signal(evidence: Evidence) -> tuple[str | None, str | None]:
    if evidence.code != 137:
        return _SIGNALS.get(evidence.code, (None, None))
    peak, memory = evidence.peak_mb, evidence.memory_mb
    share = _OWN_SHARE if evidence.own_memory else _SHARE
    if peak is not None and memory is not None and peak >= memory * share:
        used = f"it held {peak / 1024:.1f} of {memory / 1024:.1f} GiB"
        hint = _FEWER_SAMPLES if evidence.evaluates else _FEWER_ROWS
        return f"the kernel killed it, most likely: out of memory ({used})", hint
    hint = "`dmesg` names the kernel's victims; `tuneloop retry EXP --failed` goes on"
    return "something killed it: a person, or the kernel when memory ran out", hint
