"""Job scripts: one shape for every worker, complete alone, for bash and for sbatch.

A script claims its attempt first (`tuneloop.jobs.claim` starts it again inside), then does its steps, and its
exit code is that of the last one: verify. Paths are relative to the folder it runs in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template

from tuneloop.documents.shell import quote
from tuneloop.experiment.work import JobKey, Machine, Shape

_TEMPLATE = """\
#!/usr/bin/env bash
# {{ title }}
# Written by `{{ command }}`; run it with bash or sbatch from its own folder.
#SBATCH --job-name={{ key | q }}
#SBATCH --nodes={{ shape.nodes }}
{%- if shape.nodes > 1 %}
#SBATCH --ntasks-per-node=1
{%- endif %}
#SBATCH --cpus-per-task={{ shape.cpus }}
#SBATCH --mem={{ shape.memory_mb }}M
#SBATCH --time={{ time }}
{%- if shape.gpus %}
#SBATCH --gpus-per-node={{ shape.gpus }}
{%- endif %}
#SBATCH --output=/dev/null
#SBATCH --open-mode=append
set -euo pipefail
script=$(realpath -- "${BASH_SOURCE[0]}")
cd -- "${SLURM_SUBMIT_DIR:-$(dirname -- "$script")}"{% if up %}/{{ up | q }}{% endif %}
export PATH={{ bin | q }}:"$PATH"
{% if shape.nodes > 1 %}
if [[ ${SLURM_JOB_NUM_NODES:-1} -lt {{ shape.nodes }} ]]; then
  echo {{ elsewhere | q }} >&2
  exit 3
fi
{% endif %}
# Claim the attempt; a second copy of it ends here. The log is {{ log }}.
if [[ -z ${TUNELOOP_ATTEMPT:-} ]]; then
  exec python -m tuneloop.jobs.claim --attempts {{ attempts | q }} --log {{ log | q }} \\
    --digest {{ digest | q }} -- bash "$script"
fi
{% for name, value in environment.items() %}
export {{ name }}={{ value | q }}
{%- endfor %}

{% for step in steps -%}
{{ step }}
{% endfor -%}
"""


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
        time=slurm_time(script.shape.minutes),
        elsewhere=f"{script.key} runs on {script.shape.nodes} nodes: hand it to SLURM with sbatch",
    )


def slurm_time(minutes: int) -> str:
    """Return minutes as D-HH:MM:SS, which SLURM reads in one way only."""
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days}-{hours:02d}:{minutes:02d}:00"


@cache
def _template() -> Template:
    environment = Environment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)  # noqa: S701
    environment.filters["q"] = quote
    return environment.from_string(_TEMPLATE)
