"""`prepare REQUEST`: the first step of a script. Turns the request into inspect's own config files.

Everything is compared with what was scaffolded, so that no compute is spent on another model or other data.
Imports nothing of inspect; takes about 0.2 s.
"""

import json
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import FailedError, InputError, Problem, Problems, TuneloopError
from tuneloop.documents.files import make_folder, read_text, write_json, write_text
from tuneloop.experiment.identity import file_hash
from tuneloop.experiment.work import Verdict
from tuneloop.workers.inspect.request import (
    COPY,
    Model,
    Request,
    attempt_folder,
    read_request,
    render_request,
    write_verdict,
)
from tuneloop.workers.inspect.stopping import missing_stop


def prepare(arguments: Sequence[str]) -> int:
    """Write `task.json`, `model.json`, `generate.json` and the request's copy into the attempt's folder."""
    if len(arguments) != 1:
        raise InputError("prepare takes one argument, the request")
    attempt = attempt_folder()
    try:
        _prepare(Path(arguments[0]), attempt)
    except TuneloopError as error:
        write_verdict(attempt, Verdict(False, error.problems[0].message))
        raise
    return 0


def _prepare(path: Path, attempt: Path) -> None:
    request = read_request(path)
    _check_digest(request, path)
    _check_files(request)
    model = _model_arguments(request, attempt)
    # The log's verdict is compared with what was asked now, even if somebody scaffolds again meanwhile.
    write_text(attempt / COPY, render_request(request))
    write_json(attempt / "model.json", model)
    write_json(attempt / "task.json", _task_arguments(request))
    write_json(attempt / "generate.json", _generation(request))


def _check_digest(request: Request, path: Path) -> None:
    expected = os.environ.get("TUNELOOP_DIGEST", request.digest)
    if request.digest != expected:
        message = "scaffolded again after this job was handed over"
        raise FailedError(Problem(message, path, hint="cancel this job and run the evaluation again"))


def _check_files(request: Request) -> None:
    problems = Problems()
    for name, expected in request.files.items():
        if file_hash(Path(name)) != expected:
            hint = "scaffold again; results from the old one are stale"
            problems.add("changed since it was scaffolded", source=Path(name), hint=hint)
    if problems.found:
        raise FailedError(problems.found)


def _model_arguments(request: Request, attempt: Path) -> dict[str, Any]:
    model = request.model
    folder = Path(model.path).resolve()
    if not folder.is_dir():
        raise FailedError(Problem("no such model folder", folder, hint="the training job makes it"))
    if (folder / "adapter_config.json").is_file():
        folder = _loadable_adapter(folder, attempt)
    elif not (folder / "config.json").is_file():
        raise FailedError(Problem("no config.json in the model folder", folder))
    arguments: dict[str, Any] = {
        "model_path": str(folder),
        "tokenizer_path": str(Path(model.tokenizer).resolve()),
        "device": model.device,
        "do_sample": request.sampling,
    }
    template = _chat_template(model)
    if template is None:
        return arguments
    # The template writes the text's first token; the tokenizer would put another one before it.
    return {**arguments, "chat_template": template, "tokenizer_call_args": {"add_special_tokens": False}}


def _generation(request: Request) -> dict[str, Any]:
    """Return inspect's generation settings; an answer ends with its turn, unless the design says where."""
    template, model = _chat_template(request.model), request.model
    if template is None or "stop_seqs" in request.generation:
        return dict(request.generation)
    stop = missing_stop(template, Path(model.tokenizer).resolve(), Path(model.path).resolve())
    return {**request.generation, **({} if stop is None else {"stop_seqs": [stop]})}


def _chat_template(model: Model) -> str | None:
    if model.chat_template is None or not Path(model.chat_template).is_file():
        return None
    return read_text(Path(model.chat_template))


def _loadable_adapter(folder: Path, attempt: Path) -> Path:
    """Return an adapter's folder as transformers can load it from here, through peft and the base that it names.

    A base inside an experiment is named as the adapter's own run sees it, and looked up from the working directory:
    an adapter of another experiment is seen through links beside a config that names the base in full.
    """
    source = folder / "adapter_config.json"
    config = json.loads(read_text(source))
    named = config.get("base_model_name_or_path")
    if not named:
        raise FailedError(Problem("the adapter does not name its base model", source))
    base = (folder.parent / named).resolve()
    if os.sep in named and not base.is_dir():
        raise FailedError(Problem(f"the adapter's base model is not there: {named}", source))
    if find_spec("peft") is None:
        raise FailedError(Problem("peft is missing, and the checkpoint is an adapter", folder))
    if os.sep not in named or Path(named).resolve() == base:
        return folder
    view = attempt / "adapter"
    make_folder(view)
    for path in folder.iterdir():
        if path != source and not (view / path.name).is_symlink():
            (view / path.name).symlink_to(path)
    write_json(view / source.name, {**config, "base_model_name_or_path": str(base)})
    return view


def _task_arguments(request: Request) -> dict[str, Any]:
    """Return the task's arguments. Inspect builds a task in its file's folder, so the data's path is made absolute."""
    arguments = dict(request.args)
    if arguments.get("data") in request.files:
        arguments["data"] = str(Path(arguments["data"]).resolve())
    return arguments
