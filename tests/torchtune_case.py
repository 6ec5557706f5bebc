"""Small experiments for the tests of the worker torchtune, and its script's steps run by hand."""

import contextlib
import json
import os
import random
import shutil
import signal
import string
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tuneloop.documents.schema import validate
from tuneloop.experiment.design import Design
from tuneloop.experiment.expand import expand
from tuneloop.experiment.work import JobSpec, Machine, Scaffolded, Usage
from tuneloop.workers import Order
from tuneloop.workers.torchtune import worker
from tuneloop.workers.torchtune.components.tokenizer import ChatTokenizer
from tuneloop.workers.torchtune.families import read_model

ROOT = Path(__file__).parents[1]
TINY = ROOT / "examples" / "tiny-base"
BIN = Path(sys.executable).parent
MODULE = "tuneloop.workers.torchtune"


def head(**changes: Any) -> dict[str, Any]:
    """Return the head of a small design; `changes` replace whole keys."""
    return {
        "schema": "tuneloop.experiment/1",
        "name": "case",
        "question": "Does it work?",
        "method": {"objective": "sft", "update": "lora"},
        "model": str(TINY),
        "data": [
            {
                "split": "train",
                "path": "data/train.jsonl",
                "format": "instruct",
                "columns": {"input": "word", "output": "capitalized"},
                "prompt": "capitalize: {input}",
            },
            {"split": "validation", "path": "data/validation.jsonl"},
        ],
        "variables": {"lr": [3e-3]},
        "controls": {"epochs": 2, "batch_size": 8},
        **changes,
    }


def order(
    folder: Path, *, gpus: int = 0, seen: dict[str, Usage] | None = None, samples: int = 16, **changes: Any
) -> Order:
    """Return an order on a new experiment in `folder`, with as many training samples and at most 100 others."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for split, count in {"train": samples, "validation": min(samples, 100)}.items():
        target = folder / "data" / f"{split}.jsonl"
        if not target.exists():
            target.write_text("".join(f"{json.dumps(row)}\n" for row in words(split, count)), encoding="utf-8")
    design = validate(Design, head(**changes))
    machine = Machine("local", gpus, 2, sys.executable)
    return Order(str(folder), design, expand(design), machine, seen=seen or {})


def words(split: str, count: int) -> list[dict[str, str]]:
    """Return words to capitalize; the same for ever, since losses are stored for them."""
    stream = random.Random(f"torchtune_case/{split}")
    made = ["".join(stream.choices(string.ascii_letters, k=stream.randint(3, 6))) for _ in range(count)]
    return [{"word": word, "capitalized": word.capitalize()} for word in made]


def scaffolded(asked: Order) -> Scaffolded:
    """Scaffold and write the files, as the lead of the tool environment does."""
    done = worker.scaffold(asked)
    assert not done.faults, done.faults
    for file in done.files:
        path = asked.path / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text, encoding="utf-8")
    return done


class Script:
    """The steps of one run's script; every attempt has its own folder, as `jobs.claim` makes it."""

    def __init__(self, asked: Order, job: JobSpec, recipe: str) -> None:
        self.run = asked.path / str(job.run)
        self.job, self.count = job, 0
        self.attempt = self.run
        self.launch = [recipe]  # what `tune run` starts

    def claim(self) -> Path:
        self.attempt = self.run / ".attempts" / "train" / f"t{self.count}.0"
        self.attempt.mkdir(parents=True)
        start = {"digest": self.job.digest, "time": f"2026-01-01T00:00:{self.count:02d}Z"}
        (self.attempt / "start.json").write_text(json.dumps(start))
        self.count += 1
        return self.attempt

    def step(self, verb: str) -> subprocess.CompletedProcess[str]:
        return self._run([sys.executable, "-m", MODULE, verb])

    def tune(self) -> subprocess.CompletedProcess[str] | None:
        if (self.attempt / "skip").exists():
            return None
        return self._run(self._tune())

    def tune_until(self, step: int) -> None:
        """Train until a step is logged, then kill the process the hard way."""
        with (self.attempt / "out").open("w") as out:
            process = subprocess.Popen(self._tune(), cwd=self.run, env=self._environment(), stdout=out, stderr=out)
            while process.poll() is None and self._logged() < step:
                time.sleep(0.01)
            assert process.poll() is None, "training ended before it could be killed"
            for pid in processes_of(self.attempt):
                os.kill(pid, signal.SIGKILL)
            process.wait()

    def all(self) -> None:
        """Claim, prepare, train and verify; every step must succeed."""
        self.claim()
        for done in (self.step("prepare"), self.tune(), self.step("verify")):
            assert done is None or done.returncode == 0, done.stdout + done.stderr

    def verdict(self) -> dict[str, Any]:
        return dict(json.loads((self.attempt / "verified.json").read_text()))

    def metrics(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.run / "metrics.jsonl").read_text().splitlines()]

    def _logged(self) -> int:
        path = self.attempt / "metrics.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return int(json.loads(lines[-1])["step"]) if lines else 0

    def _tune(self) -> list[str]:
        overrides = (self.attempt / "overrides").read_text().splitlines()
        return [str(BIN / "tune"), "run", *self.launch, "--config", "finetune.yaml", *overrides]

    def _run(self, argv: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(argv, cwd=self.run, env=self._environment(), capture_output=True, text=True, check=False)

    def _environment(self) -> dict[str, str]:
        said = {"TUNELOOP_ATTEMPT": str(self.attempt), "TUNELOOP_DIGEST": self.job.digest}
        # One thread: on a busy machine, two of them spin for each other.
        return {**os.environ, **said, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


def processes_of(attempt: Path) -> dict[int, bytes]:
    """Return the command line by pid of every process of the attempt, in whatever session it is.

    A launcher that is killed alone leaves those that it started behind.
    """
    mark = f"TUNELOOP_ATTEMPT={attempt}".encode()
    found = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                found[int(entry.name)] = (entry / "cmdline").read_bytes()
    return found


def script(asked: Order, run: int = 0, update: str = "lora") -> Script:
    return Script(asked, scaffolded(asked).jobs[run], f"{update}_finetune_single_device")


def tokenizer(folder: Path = TINY, max_seq_len: int | None = None) -> ChatTokenizer:
    """Return the tokenizer that a config names for a model folder."""
    model = read_model(folder)
    return ChatTokenizer(
        path=str(model.tokenizer),
        chat_template=model.family.template_file,
        end_of_turn=model.family.end_of_turn,
        pad=model.pad,
        max_seq_len=max_seq_len,
    )


def llama_folder(folder: Path, *, tied: bool = True) -> Path:
    """Make a random model of Llama 3.2's shape with a byte tokenizer that has Llama 3's special tokens."""
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from transformers import LlamaConfig, LlamaForCausalLM

    vocabulary = json.loads((TINY / "vocab.json").read_text())
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["begin_of_text", "end_of_text", "finetune_right_pad_id", "start_header_id", "end_header_id", "eot_id"]
    tokenizer.add_special_tokens([AddedToken(f"<|{name}|>", special=True, normalized=False) for name in special])
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=320,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        rms_norm_eps=1e-5,
        tie_word_embeddings=tied,
        rope_theta=500000.0,
        rope_scaling={
            "rope_type": "llama3",
            "factor": 32.0 if tied else 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
        bos_token_id=256,
        eos_token_id=261,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|eot_id|>", "model_max_length": 512})
    )
    return folder


def copy_of(model: Path, folder: Path) -> Path:
    shutil.copytree(model, folder)
    return folder


def reward_folder(folder: Path) -> Path:
    """Make a random classifier of the tiny model's shape and tokens, with one label."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(TINY, num_labels=1, pad_token_id=256)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    shutil.copyfile(TINY / "tokenizer.json", folder / "tokenizer.json")
    return folder


def wide_folder(folder: Path) -> Path:
    """Make a random model with the tiny one's tokens, wide enough that NF4's blocks fill its matrices."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    shape = {"hidden_size": 256, "num_attention_heads": 4, "num_key_value_heads": 1, "intermediate_size": 256}
    config = AutoConfig.from_pretrained(TINY, **shape)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    shutil.copyfile(TINY / "tokenizer.json", folder / "tokenizer.json")
    return folder


_OVER_GLOO = """
import runpy
from importlib.util import find_spec
from pathlib import Path

import torch
import torchtune.training as training

def nothing(*args, **kwargs):
    return {{}}

begin = torch.distributed.init_process_group
torch.distributed.init_process_group = lambda backend=None, **rest: begin("gloo", **rest)
training.get_memory_stats = training.log_memory_stats = nothing
torch.cpu.empty_cache = torch.cpu.reset_peak_memory_stats = nothing
folder = Path(find_spec("recipes").origin).parent
runpy.run_path(str(folder / "{recipe}.py"), run_name="__main__")
"""


def over_gloo(run: Path, recipe: str) -> str:
    """Write a program that runs a distributed recipe on CPUs, whose process group torchtune makes for GPUs alone."""
    (run / "over_gloo.py").write_text(_OVER_GLOO.format(recipe=recipe))
    return "over_gloo.py"


def random_adapter(folder: Path) -> Path:
    """Make an adapter with random weights on the tiny model, as peft writes one."""
    import torch
    from transformers import AutoModelForCausalLM

    from tuneloop.workers.adapters import hide_old_torchao

    hide_old_torchao()
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(3)
    base = AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32)
    modules = ["q_proj", "v_proj", "down_proj"]
    settings = LoraConfig(r=4, lora_alpha=32, target_modules=modules, init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(base, settings).save_pretrained(folder)
    (folder / "README.md").unlink()
    return folder
