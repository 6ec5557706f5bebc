"""Makes the real libraries fail, one function a failure, and prints what each said as one JSON object.

`python real_failures.py MODEL FOLDER GROUP` in a process of its own; MODEL is a good model folder, FOLDER a place
to spoil copies of it in. The group `disk` wants a FOLDER on a full disk. A traceback is taken as the interpreter
would have printed it.
"""

import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

Failing = Callable[[Path, Path], Any]
GROUPS: dict[str, list[Failing]] = {"torch": [], "transformers": [], "torchtune": [], "inspect": [], "disk": []}


def failing(group: str) -> Callable[[Failing], Failing]:
    def register(function: Failing) -> Failing:
        GROUPS[group].append(function)
        return function

    return register


def copied(model: Path, folder: Path, **changes: bytes | None) -> Path:
    """Return a copy of the model with some files replaced, or taken out; `__` in a name stands for a dot."""
    target = folder / str(len(list(folder.iterdir())))
    shutil.copytree(model, target)
    for name, content in changes.items():
        path = target / name.replace("__", ".")
        path.unlink()
        if content is not None:
            path.write_bytes(content)
    return target


def load(folder: Path | str) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder)


def conversation(model: Path, template: str | None) -> Any:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = template
    return tokenizer.apply_chat_template([{"role": "user", "content": "hello"}], tokenize=False)


@failing("torch")
def a_huge_tensor(model: Path, folder: Path) -> None:
    import torch

    torch.empty(10**15, dtype=torch.uint8)


@failing("torch")
def a_huge_array(model: Path, folder: Path) -> None:
    import numpy as np

    np.zeros(10**14)


@failing("torch")
def a_python_object_beyond_the_limit(model: Path, folder: Path) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (32 * 2**30, before[1]))
    try:
        bytearray(64 * 2**30)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@failing("torch")
def weights_of_another_shape(model: Path, folder: Path) -> None:
    import torch

    torch.nn.Linear(3, 2).load_state_dict(torch.nn.Linear(5, 2).state_dict())


@failing("torch")
def weights_of_another_model(model: Path, folder: Path) -> None:
    import torch

    torch.nn.Linear(3, 2).load_state_dict({"weight": torch.zeros(2, 3)})


@failing("torch")
def a_product_of_other_shapes(model: Path, folder: Path) -> None:
    import torch

    torch.nn.Linear(3, 2)(torch.zeros(4, 7))


@failing("torch")
def a_token_beyond_the_vocabulary(model: Path, folder: Path) -> None:
    import torch

    torch.nn.Embedding(4, 2)(torch.tensor([7]))


@failing("torch")
def a_gpu_that_torch_lacks(model: Path, folder: Path) -> None:
    import torch

    torch.zeros(3, device="cuda")


@failing("torch")
def a_torn_checkpoint(model: Path, folder: Path) -> None:
    import torch

    path = folder / "torn.pt"
    path.write_bytes(b"PK\x03\x04 and nothing more")
    torch.load(path, weights_only=True)


@failing("torch")
def sampling_from_nan(model: Path, folder: Path) -> None:
    import torch

    torch.multinomial(torch.tensor([float("nan"), 1.0]), 1)


@failing("torch")
def a_package_that_is_not_there(model: Path, folder: Path) -> None:
    import no_such_package  # type: ignore[import-not-found]  # noqa: F401


@failing("torch")
def a_file_that_is_not_there(model: Path, folder: Path) -> None:
    (folder / "no-such-file").read_text()


@failing("torch")
def a_file_beyond_the_limit(model: Path, folder: Path) -> None:
    import resource
    import signal

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        (folder / "large").write_bytes(bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@failing("torch")
def too_many_files(model: Path, folder: Path) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, before[1]))
    try:
        for _ in range(100):
            os.open(os.devnull, os.O_RDONLY)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@failing("transformers")
def half_a_weight_file(model: Path, folder: Path) -> None:
    load(copied(model, folder, model__safetensors=(model / "model.safetensors").read_bytes()[:200_000]))


@failing("transformers")
def the_pointer_to_a_weight_file(model: Path, folder: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 3352960\n"
    load(copied(model, folder, model__safetensors=pointer))


@failing("transformers")
def no_weight_file(model: Path, folder: Path) -> None:
    load(copied(model, folder, model__safetensors=None))


@failing("transformers")
def a_config_of_another_size(model: Path, folder: Path) -> None:
    config = json.loads((model / "config.json").read_text()) | {"hidden_size": 64}
    load(copied(model, folder, config__json=json.dumps(config).encode()))


@failing("transformers")
def an_unknown_architecture(model: Path, folder: Path) -> None:
    config = json.loads((model / "config.json").read_text()) | {"model_type": "qwen99"}
    load(copied(model, folder, config__json=json.dumps(config).encode()))


@failing("transformers")
def half_a_config(model: Path, folder: Path) -> None:
    load(copied(model, folder, config__json=b'{"model_type": '))


@failing("transformers")
def a_broken_tokenizer(model: Path, folder: Path) -> None:
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(copied(model, folder, tokenizer__json=b"{"))


@failing("transformers")
def a_tokenizer_of_another_kind(model: Path, folder: Path) -> None:
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(copied(model, folder, tokenizer__json=b'{"model": {"type": "none"}}'))


@failing("transformers")
def a_model_on_the_hub(model: Path, folder: Path) -> None:
    load("tuneloop-tests/no-such-model")


@failing("transformers")
def a_file_on_the_hub(model: Path, folder: Path) -> None:
    from huggingface_hub import hf_hub_download

    hf_hub_download("tuneloop-tests/no-such-model", "config.json")


@failing("transformers")
def a_question_to_the_hub(model: Path, folder: Path) -> None:
    from huggingface_hub import HfApi

    HfApi().model_info("tuneloop-tests/no-such-model")


@failing("transformers")
def a_folder_that_is_not_there(model: Path, folder: Path) -> None:
    load(folder / "nowhere")


@failing("transformers")
def a_template_with_a_slip(model: Path, folder: Path) -> None:
    conversation(model, "{% for message in messages %}{{ message.content }")


@failing("transformers")
def a_template_that_refuses(model: Path, folder: Path) -> None:
    conversation(model, "{{ raise_exception('no such role') }}")


@failing("transformers")
def a_template_with_an_unknown_name(model: Path, folder: Path) -> None:
    conversation(model, "{{ nobody.content }}")


@failing("transformers")
def no_template(model: Path, folder: Path) -> None:
    conversation(model, None)


@failing("transformers")
def rows_that_are_not_json(model: Path, folder: Path) -> None:
    import datasets

    path = folder / "torn.jsonl"
    path.write_text('{"word": "a"}\n{"word": }\n')
    datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(folder / "cache"))


@failing("transformers")
def a_data_file_that_is_not_there(model: Path, folder: Path) -> None:
    import datasets

    missing = str(folder / "none.jsonl")
    datasets.load_dataset("json", data_files=missing, split="train", cache_dir=str(folder / "cache"))


def instantiate(value: dict[str, Any], *arguments: Any) -> Any:
    from omegaconf import OmegaConf
    from torchtune import config

    return config.instantiate(OmegaConf.create(value), *arguments)


@failing("torchtune")
def a_component_of_no_module(model: Path, folder: Path) -> None:
    instantiate({"_component_": "torchtune.nothing.here"})


@failing("torchtune")
def a_section_without_a_component(model: Path, folder: Path) -> None:
    instantiate({"lr": 1})


@failing("torchtune")
def an_argument_that_nobody_takes(model: Path, folder: Path) -> None:
    import torch

    instantiate({"_component_": "torch.optim.AdamW", "rate": 3}, [torch.zeros(1)])


@failing("torchtune")
def a_key_that_is_not_there(model: Path, folder: Path) -> None:
    from omegaconf import OmegaConf

    config = OmegaConf.create({"a": 1})
    OmegaConf.set_struct(config, True)
    config.b  # noqa: B018


@failing("torchtune")
def a_value_that_nobody_gave(model: Path, folder: Path) -> None:
    from omegaconf import OmegaConf

    OmegaConf.create({"a": "???"}).a  # noqa: B018


@failing("torchtune")
def an_interpolation_of_nothing(model: Path, folder: Path) -> None:
    from omegaconf import OmegaConf

    OmegaConf.create({"a": "${b}"}).a  # noqa: B018


@failing("torchtune")
def bf16_where_there_is_none(model: Path, folder: Path) -> None:
    import torch
    from torchtune.training import get_dtype

    get_dtype("bf16", device=torch.device("cuda"))


def samples_of(path: Path, text: str) -> Any:
    from inspect_ai.dataset import json_dataset

    path.write_text(text)
    return json_dataset(str(path))


@failing("inspect")
def samples_without_an_input(model: Path, folder: Path) -> None:
    samples_of(folder / "columns.jsonl", '{"word": "a"}\n')


@failing("inspect")
def samples_that_are_not_json(model: Path, folder: Path) -> None:
    samples_of(folder / "torn.jsonl", '{"input": "a",\n')


@failing("inspect")
def a_task_without_samples(model: Path, folder: Path) -> None:
    from inspect_ai import Task
    from inspect_ai.dataset import MemoryDataset

    Task(dataset=MemoryDataset([]))


@failing("inspect")
def a_task_that_is_not_there(model: Path, folder: Path) -> None:
    import inspect_ai

    inspect_ai.eval("no_such_task", model="mockllm/model", log_dir=str(folder), display="none")


@failing("inspect")
def a_grader_without_a_key(model: Path, folder: Path) -> None:
    from inspect_ai.model._providers.util import environment_prerequisite_error

    raise environment_prerequisite_error("OpenAI", ["OPENAI_API_KEY"])


@failing("inspect")
def a_service_that_is_not_there(model: Path, folder: Path) -> None:
    import requests

    requests.get("http://127.0.0.1:9/", timeout=1)


@failing("disk")
def text_on_a_full_disk(model: Path, folder: Path) -> None:
    (folder / "text").write_text("x" * 100_000)


@failing("disk")
def a_checkpoint_on_a_full_disk(model: Path, folder: Path) -> None:
    import torch

    torch.save({"weight": torch.zeros(100_000)}, folder / "checkpoint.pt")


@failing("disk")
def an_adapter_on_a_full_disk(model: Path, folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(100_000)}, folder / "adapter.safetensors")


def said_by(function: Failing, model: Path, folder: Path) -> str:
    try:
        function(model, folder)
    except BaseException:  # noqa: BLE001  (any of them is what the test is about)
        return traceback.format_exc()
    return "no error"


def main() -> None:
    model, folder, group = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    os.environ["HF_HUB_OFFLINE"] = "1"
    kept = os.dup(1)
    os.dup2(2, 1)
    found = {function.__name__: said_by(function, model, folder) for function in GROUPS[group]}
    os.write(kept, json.dumps(found).encode())


if __name__ == "__main__":
    main()
