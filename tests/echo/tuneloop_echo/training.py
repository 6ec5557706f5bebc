"""The training side of echo: one job a run, that writes a small deterministic folder an epoch."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from tuneloop.experiment.expand import Run
    from tuneloop.experiment.work import Check, Estimate, Fault, File, JobKey, JobSpec, Need, Row, Scaffolded, Setting
    from tuneloop.workers import Order
    from tuneloop.workers.models import Exported, ExportRequest, Sampled, SampleRequest

MODULE = "tuneloop_echo.training"
# Fields that decide how a job behaves and nothing about its result, with their defaults.
BEHAVIOUR: dict[str, Any] = {
    "seconds": 0.2,
    "fail": 0,
    "fail_times": None,
    "hang": False,
    "vanish": False,
    "lose": False,
    "minutes": 5,
    "memory": None,
}


class Echo:
    name = "echo"
    stage: Literal["train", "evaluate"] = "train"
    module = MODULE

    def versions(self) -> Mapping[str, str]:
        return versions()

    def scaffold(self, order: Order) -> Scaffolded:
        from tuneloop.experiment.work import Scaffolded

        faults, hashes = inputs(order)
        runs = [run for run in order.runs if run.kind == "train"]
        faults += [fault for run in runs for fault in _field_faults(run)]
        if faults:
            return Scaffolded(faults=tuple(dict.fromkeys(faults)))
        files: list[File] = []
        jobs: list[JobSpec] = []
        for run in runs:
            spec, written = _job(order, run, hashes)
            jobs.append(spec)
            files += written
        settings = {run.name: _settings(run) for run in runs}
        return Scaffolded(tuple(files), tuple(jobs), settings)

    def estimate(self, order: Order) -> Mapping[JobKey, Estimate]:
        from tuneloop.experiment.estimates import corrected
        from tuneloop.experiment.work import Estimate, train_key

        result = {}
        for run in order.runs:
            if run.kind == "train":
                seconds = float(run.value("seconds", BEHAVIOUR["seconds"]))
                steps = run.epochs * int(run.value("steps", 5))
                basis = "`seconds` of the design"
                result[train_key(run.name)] = Estimate(seconds, 64, 0.01 * run.epochs, steps=steps, basis=basis)
        return corrected(result, order.seen)

    def checks(self, order: Order) -> Sequence[Check]:
        from tuneloop.experiment.work import Check

        return [Check("tuneloop-echo", True, f"tuneloop-echo {versions()['tuneloop-echo']}")]

    def rows(self, order: Order) -> Sequence[Row]:
        from tuneloop.experiment.layout import Layout

        layout = Layout(order.path.resolve())
        return [row for run in order.runs if run.kind == "train" for row in _rows(layout.run(run.name).metrics, run)]

    def sample(self, request: SampleRequest) -> Sampled:
        """Say the last message again; the quality of the weights stands in the prompt, as its template."""
        from tuneloop.workers.models import Sampled

        words = request.messages[-1]["content"].split()[: request.max_tokens]
        roles = "".join(f"[{item['role']}]{item['content']}" for item in request.messages)
        return Sampled(f"{_quality(request.weights.folder)}{roles}", " ".join(words).upper(), len(words), True)

    def smaller(self, order: Order) -> Mapping[str, Mapping[str, int]]:
        from tuneloop.workers.smaller import shared_out

        found = {}
        for run in order.runs:
            shared = shared_out(run.value("batch_size", 1), run.value("gradient_accumulation", 1))
            if shared is not None:
                found[run.name] = {"batch_size": shared[0], "gradient_accumulation": shared[1]}
        return found

    def export(self, request: ExportRequest) -> Exported:
        from pathlib import Path
        from shutil import copytree, ignore_patterns

        from tuneloop.documents.files import new_folder
        from tuneloop.experiment.identity import digest, model_hash
        from tuneloop.workers.models import MARK_SCHEMA, Exported, mark_of, sizes, stands, write_mark

        target, checkpoint = Path(request.target), Path(request.weights.folder)
        mark = {
            "schema": MARK_SCHEMA,
            "checkpoint": model_hash(checkpoint),
            "dtype": request.dtype,
            "files": digest(dict(request.files)),
        }
        if stands(target, mark, replace=request.replace):
            return Exported(sizes(target), made=False)
        with new_folder(target, replace=mark_of(target) is not None) as folder:
            copytree(checkpoint, folder, dirs_exist_ok=True, ignore=ignore_patterns("verified.json"))
            for name, text in request.files.items():
                (folder / name).write_text(text)
            write_mark(folder, mark)
        return Exported(sizes(target))


def _quality(folder: str) -> str:
    from pathlib import Path

    from tuneloop_echo.steps import WEIGHTS

    path = Path(folder) / WEIGHTS
    return f"<{json.loads(path.read_text())['quality']:.3f}>" if path.is_file() else "<base>"


def versions() -> dict[str, str]:
    from importlib.metadata import version

    return {"tuneloop-echo": version("tuneloop-echo")}


def inputs(order: Order) -> tuple[list[Fault], dict[str, str]]:
    """Return the faults of model and data, and what decides each by its name in the design."""
    from tuneloop.documents.errors import InputError
    from tuneloop.experiment.identity import file_hash
    from tuneloop.experiment.work import Fault

    faults: list[Fault] = []
    hashes: dict[str, str] = {}
    try:
        hashes["model"] = subject(order, order.design.model)[1]
    except InputError as error:
        hint = error.problems[0].hint or "paths start at the experiment's folder"
        faults.append(Fault(error.problems[0].message, ("model",), hint))
    for index, entry in enumerate(order.design.data):
        try:
            hashes[f"data/{entry.split}"] = file_hash((order.path / entry.path).resolve())
        except InputError:
            faults.append(Fault(f"no data file `{entry.path}`", ("data", index, "path"), None))
    return faults, hashes


def subject(order: Order, text: str) -> tuple[Path, str, Need | None]:
    """Return the model that a design names, what decides it, and the job of another experiment that makes it.

    Raises InputError when there is neither a folder nor a job.
    """
    from tuneloop.documents.errors import InputError
    from tuneloop.experiment.identity import digest, model_hash
    from tuneloop.workers.checkpoints import cite
    from tuneloop.workers.hub import model_folder

    cited = cite(text, order.path)
    if cited is not None:
        return cited.folder, digest(cited.identity), cited.need
    folder = model_folder(text, order.path)
    if not folder.is_dir():
        raise InputError(f"no model folder `{text}`")
    return folder, model_hash(folder), None


def _field_faults(run: Run) -> Iterator[Fault]:
    from tuneloop.experiment.work import Fault

    whole = {"epochs": 1, "steps": 1, "fail": 0, "minutes": 1}
    for name, least in whole.items():
        value = run.value(name, least)
        if not isinstance(value, int) or value < least:
            message = f"`{name}` should be a whole number from {least}, found {value!r}"
            yield Fault(message, ("controls", name))


def _job(order: Order, run: Run, hashes: Mapping[str, str]) -> tuple[JobSpec, list[File]]:
    from tuneloop.experiment.identity import digest
    from tuneloop.experiment.layout import Layout
    from tuneloop.experiment.script import Script, render
    from tuneloop.experiment.shapes import shape_of, within
    from tuneloop.experiment.work import Estimate, File, JobSpec, train_key

    layout = Layout(order.path.resolve())
    folder = layout.run(run.name)
    _, _, need = subject(order, order.design.model)
    values = {name: setting.value for name, setting in run.fields.items()}
    result = {name: value for name, value in values.items() if name not in BEHAVIOUR}
    trained = {name: mark for name, mark in hashes.items() if name in {"model", "data/train"}}
    mark = digest({"settings": result, "inputs": trained})
    behaviour = {name: values.get(name, default) for name, default in BEHAVIOUR.items()}
    # The result of an epoch depends on the epochs before it, not on how many follow.
    identity = digest({"settings": {name: value for name, value in result.items() if name != "epochs"}, **trained})
    config = {
        "digest": mark,
        "quality": int(identity[:8], 16) / 2**32,
        "epochs": run.epochs,
        "steps": int(run.value("steps", 5)),
        "batch_size": run.value("batch_size", 1),
        **behaviour,
    }
    asked = shape_of(Estimate(float(behaviour["seconds"]), 64, 0.0), order.machine, gpus=0)
    at_once = float(behaviour["seconds"]) / (run.epochs if order.design.policy.resumes else 1)
    shape = replace(asked, cpus=1, minutes=within(order.machine, int(behaviour["minutes"]), at_once))
    spec = JobSpec(
        key=train_key(run.name),
        worker="echo",
        run=run.name,
        script=layout.relative(folder.script),
        attempts=layout.relative(folder.train_attempts),
        needs=() if need is None else (need,),
        makes=tuple(f"checkpoint:{run.name}/e{epoch}" for epoch in range(run.epochs)),
        digest=mark,
        shape=shape,
        resumable=True,
        seconds=float(behaviour["seconds"]),
        log=f"{run.name}/slurm-*.out",
    )
    config_name = folder.config.name
    steps = [f"python -m tuneloop_echo.steps {step} {config_name}" for step in ("train", "verify-training")]
    script = render(
        Script(
            title=f"Train {run.name}",
            command="tuneloop scaffold-echo",
            key=spec.key,
            shape=shape,
            machine=order.machine,
            attempts=str(folder.train_attempts.relative_to(folder.folder)),
            log="slurm-{id}.out",
            digest=mark,
            steps=steps,
        )
    )
    text = json.dumps(config, indent=1) + "\n"  # YAML reads JSON
    return spec, [File(layout.relative(folder.config), text), File(spec.script, script, executable=True)]


def _settings(run: Run) -> dict[str, Setting]:
    from tuneloop.experiment.work import Setting

    defaults = {"epochs": 1, "steps": 5, **BEHAVIOUR}
    silent = {name: Setting(value, "default of echo") for name, value in defaults.items()}
    return silent | dict(run.fields)


def _rows(path: Path, run: Run) -> Iterator[Row]:
    from tuneloop.experiment.work import Row

    if path.is_file():
        for line in path.read_text().splitlines():
            item = json.loads(line)
            yield Row(run.name, "train", "loss", item["loss"], epoch=item["epoch"], step=item["step"])


worker = Echo()


def _main() -> int:
    from tuneloop.workers.bridge import serve

    return serve(worker, {})


if __name__ == "__main__":
    raise SystemExit(_main())
