"""What is handed to sbatch: one job, or an array whose task i runs the i-th job script. Text only."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import PurePosixPath

from jinja2 import Template

from tuneloop.documents.config import Profile
from tuneloop.experiment.script import directive, directives, templates
from tuneloop.experiment.work import COLLECT, log_name
from tuneloop.jobs.batches import Batch
from tuneloop.jobs.executors import Order
from tuneloop.jobs.orphans import GRACE_S
from tuneloop.jobs.slurm.site import site_of

_KINDS = {"ok": "afterok", "any": "afterany", "each": "aftercorr"}  # ours to SLURM's
_MAIL = {"end": "END", "fail": "FAIL", "begin": "BEGIN", "requeue": "REQUEUE", "time-limit-80": "TIME_LIMIT_80"}


def render(batch: Batch, after: Sequence[Order], profile: Profile, name: str) -> str:
    """Return the script of a batch; its name in the queue begins with `name`.

    Raises InputError for a value that cannot be quoted.
    """
    return _template().render(
        token=batch.token,
        options=_options(batch, after, profile, name),
        jobs=[
            (task, key, PurePosixPath(script).parent, PurePosixPath(script).name)
            for task, key, script in zip(batch.tasks, batch.keys, batch.scripts, strict=True)
        ],
        log=f"{log_name(batch.keys[0], batch.worker)}.log",
        array=is_array(batch),
        resumes=batch.resumes,
    )


def is_array(batch: Batch) -> bool:
    return len(batch.keys) > 1


def _options(batch: Batch, after: Sequence[Order], profile: Profile, name: str) -> list[str]:
    kind = batch.keys[0].split("/")[0]
    options = {"comment": batch.token, "open-mode": "append", "requeue": None}
    if is_array(batch):
        throttle = f"%{profile.limits.running}" if profile.limits.running else ""
        options |= {"array": f"{ranges(batch.tasks)}{throttle}", "output": f"{batch.token}_%a.out"}
    else:
        options |= {"output": f"{batch.token}.out"}
    if after:
        options["dependency"] = ",".join(f"{_KINDS[item.when]}:{_id(item)}" for item in after)
        # A job that can never start would wait for ever; the one that collects takes every end.
        options["kill-on-invalid-dep"] = "no" if batch.keys[0] == COLLECT else "yes"
    options["signal"] = f"B:USR1@{_lead(profile, batch)}"
    if profile.mail is not None:
        options |= {"mail-user": profile.mail.to, "mail-type": ",".join(_MAIL[item] for item in profile.mail.on)}
    # A name is for people; squeue and mails print it as it is.
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:64]
    lines = directives(f"{plain}-{kind}", batch.shape, site_of(profile))
    return lines + [directive(option, value) for option, value in options.items()]


def _lead(profile: Profile, batch: Batch) -> int:
    """Return the seconds before its time limit at which a job is asked to end.

    A short job keeps most of its time; but ending takes `orphans.GRACE_S` for the tool, twice that at most for what it
    left behind, and SLURM would end it in the middle.
    """
    return max(round(3 * GRACE_S), min(profile.signal_s, batch.shape.minutes * 60 // 4))


def _id(order: Order) -> str:
    return order.native.name


def ranges(tasks: Sequence[int]) -> str:
    """Return tasks as sbatch takes them: `0-3,7`."""
    found: list[list[int]] = []
    for task in sorted(tasks):
        if found and task == found[-1][1] + 1:
            found[-1][1] = task
        else:
            found.append([task, task])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in found)


@cache
def _template() -> Template:
    return templates("tuneloop.jobs.slurm").get_template("wrapper.slurm.j2")
