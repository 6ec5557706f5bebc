"""The evaluating side of echo: one job an evaluation, that scores samples by the checkpoint's quality."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from tuneloop_echo.training import BEHAVIOUR, inputs, subject, versions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from tuneloop.experiment.design import Evaluation
    from tuneloop.experiment.expand import Run
    from tuneloop.experiment.layout import Layout
    from tuneloop.experiment.work import Check, Estimate, Fault, File, JobKey, JobSpec, Need, Row, Scaffolded
    from tuneloop.workers import Order

MODULE = "tuneloop_echo.evaluating"


class EchoEval:
    name = "echo-eval"
    stage: Literal["train", "evaluate"] = "evaluate"
    module = MODULE

    def versions(self) -> Mapping[str, str]:
        return versions()

    def scaffold(self, order: Order) -> Scaffolded:
        from tuneloop.experiment.layout import Layout
        from tuneloop.experiment.work import Scaffolded

        faults, hashes = inputs(order)
        faults += list(_model_faults(order))
        if faults:
            return Scaffolded(faults=tuple(dict.fromkeys(faults)))
        layout = Layout(order.path.resolve())
        files: list[File] = []
        jobs: list[JobSpec] = []
        for run, evaluation, epoch in _evaluations(order):
            spec, written = _job(order, layout, run, evaluation, epoch, hashes)
            jobs.append(spec)
            files += written
        return Scaffolded(tuple(files), tuple(jobs))

    def estimate(self, order: Order) -> Mapping[JobKey, Estimate]:
        from tuneloop.experiment.estimates import corrected
        from tuneloop.experiment.work import Estimate, eval_key

        result = {}
        for run, evaluation, epoch in _evaluations(order):
            seconds = float(evaluation.args.get("seconds", BEHAVIOUR["seconds"]))
            cost = Estimate(seconds, 64, 0.01, basis="`seconds` of the design")
            result[eval_key(run.name, epoch, evaluation.name)] = cost
        return corrected(result, order.seen)

    def checks(self, order: Order) -> Sequence[Check]:
        from tuneloop.experiment.work import Check

        return [Check("tuneloop-echo", True, f"tuneloop-echo {versions()['tuneloop-echo']}")]

    def rows(self, order: Order) -> Sequence[Row]:
        from tuneloop.experiment.layout import Layout

        layout = Layout(order.path.resolve())
        found: list[Row] = []
        for run, evaluation, epoch in _evaluations(order):
            path = layout.run(run.name).eval_log(evaluation.name, epoch).with_suffix(".json")
            found.extend(_rows(path, run.name, evaluation.name, epoch))
        return found


def _evaluations(order: Order) -> Iterator[tuple[Run, Evaluation, int | None]]:
    for run in order.runs:
        for evaluation in order.design.evaluations:
            if evaluation.backend == "echo-eval":
                for epoch in run.evaluated_at(evaluation):
                    yield run, evaluation, epoch


def _model_faults(order: Order) -> Iterator[Fault]:
    from tuneloop.documents.errors import InputError
    from tuneloop.experiment.references import parse_reference
    from tuneloop.experiment.work import Fault

    for run in order.runs:
        if run.kind == "train" and run.name not in order.trained and order.design.evaluations:
            yield Fault(f"no job trains `{run.name}`", ("runs",), "scaffold its training first")
        if run.kind != "eval-only" or run.checkpoint is None:
            continue
        reference = parse_reference(run.checkpoint)
        if reference is not None and reference.experiment is None:
            if reference.run not in order.trained:
                yield Fault(f"no job trains `{reference.run}`", ("runs",), None)
            continue
        try:
            subject(order, run.checkpoint)
        except InputError as error:
            yield Fault(error.problems[0].message, ("runs",), error.problems[0].hint)


def _subject(order: Order, layout: Layout, run: Run, epoch: int | None) -> tuple[Path, Any, Need | None]:
    """Return the folder that is evaluated, what decides its content, and the job that makes it."""
    from tuneloop.experiment.references import parse_reference
    from tuneloop.experiment.work import Need

    if run.kind == "train":
        assert epoch is not None
        made_by = order.trained[run.name]
        return layout.run(run.name).checkpoint(epoch), [made_by.digest, epoch], Need(made_by.key)
    reference = parse_reference(run.checkpoint or "")
    if reference is not None and reference.experiment is None:
        made_by = order.trained[reference.run]
        folder = layout.run(reference.run).checkpoint(reference.epoch)
        return folder, [made_by.digest, reference.epoch], Need(made_by.key)
    return subject(order, run.checkpoint or order.design.model)


def _job(
    order: Order,
    layout: Layout,
    run: Run,
    evaluation: Evaluation,
    epoch: int | None,
    hashes: Mapping[str, str],
) -> tuple[JobSpec, list[File]]:
    from tuneloop.experiment.identity import digest
    from tuneloop.experiment.script import Script, render
    from tuneloop.experiment.shapes import shape_of, within
    from tuneloop.experiment.work import Estimate, File, JobSpec, eval_key

    folder = layout.run(run.name)
    model, identity, need = _subject(order, layout, run, epoch)
    behaviour = {name: evaluation.args.get(name, default) for name, default in BEHAVIOUR.items()}
    mark = digest([identity, _definition(evaluation), hashes.get(f"data/{evaluation.split}")])
    config = {
        "digest": mark,
        "name": evaluation.name,
        "model": _from_run(order, model, folder.folder),
        "log": str(folder.eval_log(evaluation.name, epoch).with_suffix(".json").relative_to(folder.folder)),
        "data": _data(order, evaluation, folder.folder),
        "samples": evaluation.limit or evaluation.args.get("samples", 20),
        "limited": evaluation.limit is not None,
        **behaviour,
    }
    script_path = folder.eval_script(evaluation.name, epoch)
    asked = shape_of(Estimate(float(behaviour["seconds"]), 64, 0.0), order.machine, gpus=0)
    at_once = float(behaviour["seconds"])
    shape = replace(asked, cpus=1, minutes=within(order.machine, int(behaviour["minutes"]), at_once))
    spec = JobSpec(
        key=eval_key(run.name, epoch, evaluation.name),
        worker="echo-eval",
        run=run.name,
        script=layout.relative(script_path),
        attempts=layout.relative(folder.eval_attempts(evaluation.name, epoch)),
        needs=() if need is None else (need,),
        makes=(f"evaluation:{run.name}/{_stage(epoch)}/{evaluation.name}",),
        digest=mark,
        shape=shape,
        resumable=False,
        seconds=float(behaviour["seconds"]),
        log=f"{run.name}/eval/slurm-*.out",
    )
    config_path = script_path.with_suffix(".json")
    name = config_path.relative_to(folder.folder)
    script = render(
        Script(
            title=f"Evaluate {run.name}: {evaluation.name}",
            command="tuneloop scaffold-echo-eval",
            key=spec.key,
            shape=shape,
            machine=order.machine,
            attempts=str(folder.eval_attempts(evaluation.name, epoch).relative_to(folder.folder)),
            log="eval/slurm-{id}.out",
            digest=mark,
            steps=[f"python -m tuneloop_echo.steps {step} {name}" for step in ("evaluate", "verify-evaluation")],
            up="..",
        )
    )
    text = json.dumps(config, indent=1) + "\n"
    return spec, [File(layout.relative(config_path), text), File(spec.script, script, executable=True)]


def _definition(evaluation: Evaluation) -> dict[str, Any]:
    """Return what of the evaluation decides its result."""
    args = {name: value for name, value in evaluation.args.items() if name not in BEHAVIOUR}
    return {"name": evaluation.name, "task": evaluation.task, "args": args, "limit": evaluation.limit}


def _data(order: Order, evaluation: Evaluation, start: Path) -> dict[str, str] | None:
    from tuneloop.experiment.design import sources

    if evaluation.split is None:
        return None
    source = sources(order.design)[evaluation.split][0]
    return {
        "path": _from_run(order, (order.path / source.path).resolve(), start),
        "input": source.columns.get("input", "input"),
        "target": source.columns.get("output", "output"),
    }


def _from_run(order: Order, path: Path, start: Path) -> str:
    """Return a path as the run in `start` names it: relative where jobs find it in the experiment."""
    found = order.inside(path)
    return os.path.relpath(found, start) if found.is_relative_to(order.path) else str(found)


def _stage(epoch: int | None) -> str:
    return "base" if epoch is None else f"e{epoch}"


def _rows(path: Path, run: str, source: str, epoch: int | None) -> Iterator[Row]:
    from tuneloop.experiment.work import Row

    if not path.is_file():
        return
    samples = json.loads(path.read_text())["samples"]
    for item in samples:
        texts = {name: item[name] for name in ("input", "target", "output")}
        yield Row(run, source, "score", item["score"], epoch, None, "echo", item["id"], **texts)
    mean = sum(item["score"] for item in samples) / len(samples)
    yield Row(run, source, "accuracy", mean, epoch, None, "echo")


worker = EchoEval()


def _main() -> int:
    from tuneloop.workers.bridge import serve

    return serve(worker, {})


if __name__ == "__main__":
    raise SystemExit(_main())
