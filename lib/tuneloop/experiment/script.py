"""Job scripts: one shape for every worker, complete alone, for bash and for sbatch.

A script claims its attempt first (`tuneloop.jobs.claim` starts it again inside), then does its steps, and its
exit code is that of the last one: verify. Paths are relative to the folder it runs in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, Template

from tuneloop.documents.errors import InputError
from tuneloop.documents.shell import quote
from tuneloop.experiment.work import JobKey, Machine, Shape, Site


@dataclass(frozen=True)
class Script:
    """What a worker says of a job; the rest is the same for all."""

    title: str
    command: str  # the tuneloop command that wrote it
    key: JobKey
    shape: Shape
    machine: Machine
    attempts: str  # relative to the folder it runs in
    log: str  # likewise, with {id} for the job's id
    digest: str
    steps: Sequence[str]  # shell lines, their values already quoted
    environment: Mapping[str, str] = field(default_factory=dict)
    up: str = ""  # from the script's folder to the one it runs in, e.g. `..`


def render(script: Script) -> str:
    """Return the text of a job script. Raises InputError for a value that cannot be quoted."""
    return _template().render(
        **{name: getattr(script, name) for name in Script.__dataclass_fields__},
        bin=Path(script.machine.python).parent,
        directives=directives(script.key, script.shape, script.machine.site),
        setup=script.machine.site.setup,
        elsewhere=f"{script.key} runs on {script.shape.nodes} nodes: hand it to SLURM with sbatch",
    )


def directives(name: str, shape: Shape, site: Site) -> list[str]:
    """Return the options of sbatch that say what a job asks for, each as one quoted word. Raises InputError."""
    memory = site.memory_mb or shape.memory_mb
    options = {
        "job-name": name,
        "nodes": shape.nodes,
        **({"ntasks-per-node": 1} if shape.nodes > 1 else {}),
        "cpus-per-task": shape.cpus,
        "mem": f"{memory}M",
        "time": slurm_time(shape.minutes),
        **({"gpus-per-node": f"{site.gpu_type}:{shape.gpus}" if site.gpu_type else shape.gpus} if shape.gpus else {}),
        **site.options,
    }
    return [directive(option, value) for option, value in options.items()]


def directive(option: str, value: object = None) -> str:
    """Return an option for an `#SBATCH` line. Raises InputError for what sbatch would change on its way."""
    if value is None:
        return f"--{option}"
    if "\\" in str(value):
        hint = "take it out of the cluster's profile"
        raise InputError(f"sbatch drops the backslash of {str(value)!r} in --{option}", hint=hint)
    return f"--{option}={quote(value)}"


def slurm_time(minutes: int) -> str:
    """Return minutes as D-HH:MM:SS, which SLURM reads in one way only."""
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days}-{hours:02d}:{minutes:02d}:00"


@cache
def _template() -> Template:
    return templates("tuneloop.experiment").get_template("job.slurm.j2")


def templates(package: str) -> Environment:
    """Return the script templates of a package, and `setup.j2`, which all share.

    `q` quotes a value, and an unknown name is an error.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("tuneloop.experiment")]),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701  (what is written is shell, and `q` quotes it)
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["q"] = quote
    return environment
