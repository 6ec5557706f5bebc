"""A tiny job that says what a job of a profile finds on its node. Text in, text out; nothing is run here."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from tuneloop.documents.config import Profile
from tuneloop.documents.plain import plain
from tuneloop.documents.shell import quote
from tuneloop.experiment.script import directives, templates
from tuneloop.experiment.work import Check, Shape
from tuneloop.jobs.slurm.site import site_of

OUT = "probe.out"  # what it prints
NAME = "tuneloop-check"
OTHER_FOLDER = "use a folder on a file system with locks (`flock`) that login and compute nodes share"
_MINUTES = 5  # its time limit; it runs for seconds
_MEMORY_MB = 1024


class Found(NamedTuple):
    """What one step of the job said."""

    fine: bool
    said: str


def shape_of(profile: Profile, cluster: str) -> Shape:
    """Return what the tiny job asks for: what a job of the profile asks for, for minutes."""
    minutes = min(_MINUTES, profile.limits.minutes or _MINUTES)
    memory = profile.memory_mb or _MEMORY_MB
    return Shape(cluster, gpus=min(1, profile.gpus), cpus=profile.cpus, memory_mb=memory, minutes=minutes)


def largest_of(profile: Profile, cluster: str) -> Shape:
    """Return what a job of the profile asks for that takes all GPUs of its node; nobody hands one over."""
    return replace(shape_of(profile, cluster), gpus=profile.gpus)


def render(profile: Profile, cluster: str, interpreters: Sequence[str], shape: Shape | None = None) -> str:
    """Return the script, which works in the folder where it is handed over. Raises InputError."""
    site = site_of(profile)
    shape = shape or shape_of(profile, cluster)
    return (
        templates("tuneloop.jobs.slurm")
        .get_template("probe.slurm.j2")
        .render(
            options=[*directives(NAME, shape, site), f"--output={OUT}", "--open-mode=append", "--no-requeue"],
            setup=site.setup,
            interpreters=interpreters,
            gpus=shape.gpus,
        )
    )


def parse(text: str) -> dict[str, Found]:
    """Return what the job found, by step; lines that are not understood are left alone."""
    rows = (line.split("\t", 2) for line in text.splitlines())
    return {
        row[0]: Found(row[1] == "0", plain(row[2]).strip() or f"exit code {row[1]}") for row in rows if len(row) == 3
    }


def checks(found: Mapping[str, Found], profile: Profile, interpreters: Sequence[str]) -> list[Check]:
    """Return what the job found as checks, each fault with what to change in the profile."""
    node = found["node"].said if "node" in found else "a node"
    made = [Check("node", True, f"the job ran on {node}")]
    made += [_setup(line, found.get(f"setup {index}")) for index, line in enumerate(site_of(profile).setup)]
    made += [_python(path, found.get(f"python {index}")) for index, path in enumerate(interpreters)]
    if profile.gpus:
        made.append(_gpus(found.get("gpus"), shape_of(profile, "").gpus))
    lock = found.get("lock")
    if lock is None or not lock.fine:
        made.append(Check("lock", False, "a file in the folder cannot be locked on the node", OTHER_FOLDER))
    end = found.get("end")
    return [*made, Check("end", False, f"the job did not come to its end: {end.said}")] if end else made


_UNKNOWN = Found(fine=False, said="the job did not come so far")


def _setup(line: str, found: Found | None) -> Check:
    found = found or _UNKNOWN
    if found.fine:
        return Check("setup", True, f"`{line}` works")
    key = {"source": "source", "module": "modules", "export": "environment"}[line.split(maxsplit=1)[0]]
    hint = f"correct `{key}:` of the profile"
    if key == "modules" and "command not found" in found.said:
        hint = "name the file that brings the command `module` under `source:`"
    return Check("setup", False, f"`{line}` failed: {found.said}", hint)


def _python(path: str, found: Found | None) -> Check:
    found = found or _UNKNOWN
    if found.fine:
        return Check("python", True, f"{path} imports tuneloop {found.said}")
    hint = f"correct `python:` of the profile, or install it there: {quote(path)} -m pip install tuneloop"
    return Check("python", False, f"{path} does not import tuneloop: {found.said}", hint)


def _gpus(found: Found | None, wanted: int) -> Check:
    found = found or _UNKNOWN
    message = f"the job asked for {wanted} GPU and sees {found.said}"
    return Check("gpus", found.fine, message, None if found.fine else "correct `gpus:` and `gpu_type:` of the profile")
