"""Jobs: the script and the specification of one evaluation."""

from tuneloop.documents.shell import quote
from tuneloop.experiment.layout import Layout
from tuneloop.experiment.script import Script, render
from tuneloop.experiment.shapes import shape_of
from tuneloop.experiment.work import Estimate, JobSpec, Machine, eval_key
from tuneloop.workers.inspect.models import Subject
from tuneloop.workers.inspect.request import Request, request_path

_MODULE = "tuneloop.workers.inspect"


def job_spec(layout: Layout, request: Request, subject: Subject, machine: Machine, cost: Estimate) -> JobSpec:
    run = layout.run(request.run)
    return JobSpec(
        key=eval_key(request.run, request.epoch, request.evaluation),
        worker="inspect",
        run=request.run,
        script=layout.relative(run.eval_script(request.evaluation, request.epoch)),
        attempts=layout.relative(run.eval_attempts(request.evaluation, request.epoch)),
        needs=() if subject.need is None else (subject.need,),
        makes=(f"evaluation:{request.run}/{_stage(request.epoch)}/{request.evaluation}",),
        digest=request.digest,
        shape=shape_of(cost, machine),
        resumable=False,
        seconds=cost.seconds,
        log=f"{layout.relative(run.eval)}/slurm-*.out",
    )


def job_script(layout: Layout, request: Request, spec: JobSpec, machine: Machine) -> str:
    """Return the text of the evaluation's script, which runs in the run's folder."""
    run = layout.run(request.run)
    what = "the base model" if request.epoch is None else f"epoch {request.epoch}"
    return render(
        Script(
            title=f"Evaluate {what} of {request.run}: {request.evaluation}",
            command="tuneloop scaffold-inspect",
            key=spec.key,
            shape=spec.shape,
            machine=machine,
            attempts=str(run.eval_attempts(request.evaluation, request.epoch).relative_to(run.folder)),
            log=f"{run.eval.relative_to(run.folder)}/slurm-{{id}}.out",
            digest=spec.digest,
            steps=_steps(request, str(request_path(run, request.evaluation, request.epoch).relative_to(run.folder))),
            environment=_environment(machine),
            up="..",
        )
    )


def _steps(request: Request, path: str) -> list[str]:
    """Return the shell lines: configs from the request, the evaluation, the verdict."""
    options = [
        f"--model {quote(f'hf/{request.run}@{_stage(request.epoch)}')}",
        '--model-config "$TUNELOOP_ATTEMPT/model.json"',
        '--task-config "$TUNELOOP_ATTEMPT/task.json"',
        '--generate-config "$TUNELOOP_ATTEMPT/generate.json"',
        f"--metadata tuneloop_digest={quote(request.digest)}",
        '--log-dir "$TUNELOOP_ATTEMPT" --log-format eval --no-log-realtime --display plain',
    ]
    if request.limit is not None:
        options.insert(4, f"--limit {request.limit}")
    return [
        "# Settings of somebody's shell must not reach a result.",
        "unset ${!INSPECT_@}",
        "export INSPECT_EVAL_CTL_SERVER=false",
        "# Traces and the like belong to the attempt, not to somebody's home.",
        'export XDG_DATA_HOME="$TUNELOOP_ATTEMPT"',
        "",
        f"python -m {_MODULE} prepare {quote(path)}",
        "# As `inspect eval`, whose options follow.",
        "code=0",
        " \\\n  ".join([f"python -m {_MODULE} eval {quote(request.task)}", *options]) + " || code=$?",
        f'python -m {_MODULE} verify --exit-code "$code"',
    ]


def _environment(machine: Machine) -> dict[str, str]:
    return {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "error",
        "OMP_NUM_THREADS": str(machine.cpus),
        "OMP_WAIT_POLICY": "passive",  # threads that spin while they wait slow a busy machine down
    }


def _stage(epoch: int | None) -> str:
    return "base" if epoch is None else f"e{epoch}"
