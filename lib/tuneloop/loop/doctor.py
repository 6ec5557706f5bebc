"""doctor: the tool, the work environments, the machine and the configuration, each checked, each with its repair."""

import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

import tuneloop
from tuneloop.documents.config import PROJECT_FILE, Config, Configuration, Profile, find_project, load
from tuneloop.documents.errors import Problem, TuneloopError
from tuneloop.documents.files import user_path
from tuneloop.documents.schema import validate
from tuneloop.experiment.design import SCHEMA, Design
from tuneloop.experiment.read import Experiment, read_experiment
from tuneloop.experiment.work import Check, Machine
from tuneloop.jobs.executors.local import core_count, cpus_per_job, gpu_count, slots
from tuneloop.loop.clusters import limits, where
from tuneloop.loop.clusters import profiles as known
from tuneloop.loop.proof import misnamed_checks, without_job
from tuneloop.workers import Order, names
from tuneloop.workers import load as load_worker
from tuneloop.workers.bridge import Remote

_LEAST_DISK = 2e9  # bytes; below that a training of any size fills the disk
# A design that asks for nothing special: what a worker needs for every experiment.
_ANY = {"schema": SCHEMA, "name": "any", "question": "?", "model": "any", "data": [{"split": "train", "path": "any"}]}


@dataclass(frozen=True)
class Section:
    """Checks of one thing, such as a work environment."""

    title: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)


def examine(start: Path, folder: Path | None = None) -> list[Section]:
    """Look at everything that can be known without an experiment, or that the one in `folder` needs.

    Raises InputError when there is no experiment in `folder`; whatever else is wrong is a check that fails.
    """
    experiment = None if folder is None else read_experiment(folder)
    configuration, files = _configuration(start if experiment is None else experiment.layout.folder)
    sections = [Section("tool", tuple(_tool())), Section("configuration", tuple(files))]
    profiles = known(configuration)
    if experiment is not None:
        wanted = experiment.design.cluster
        profiles = {name: profile for name, profile in profiles.items() if name == wanted}
        if not profiles:
            hint = f"`tuneloop cluster add {wanted}` makes one"
            fault = Check("profile", False, f"no cluster profile `{wanted}`", hint)
            sections.append(Section(f"profile {wanted}", (fault,)))
    for name, profile in profiles.items():
        sections.append(Section(f"profile {name}", tuple(_profile(name, profile))))
        if profile.ssh is None:  # else the work environment is there, and `cluster check` looks at it
            sections += [_environment(name, profile, worker, experiment) for worker in _workers(experiment)]
    return [*sections, Section("machine", tuple(_machine(configuration.root)))]


def _workers(experiment: Experiment | None) -> list[str]:
    if experiment is None:
        return names()
    design = experiment.design
    return list(dict.fromkeys([design.backend, *(item.backend for item in design.evaluations)]))


def _configuration(start: Path) -> tuple[Configuration, list[Check]]:
    """Return what is configured, the defaults where a file has faults, and a check for each of the files."""
    try:
        configuration = load(start)
    except TuneloopError as error:
        checks = [Check("configuration", False, _where(item), item.hint) for item in error.problems]
        return Configuration(Config(), (), start), checks
    origins = {item.origin for item in configuration.origins} - {"default"}
    project = find_project(start)
    words = f"the project is {project}" if project else f"no {PROJECT_FILE} here or above: the defaults hold"
    return configuration, [
        Check("project", True, words),
        *(Check("file", True, f"{origin} is read") for origin in sorted(origins)),
        Check("experiments", True, f"`tuneloop status` searches {configuration.root}"),
    ]


def _where(problem: Problem) -> str:
    return str(Problem(problem.message, problem.source, problem.line))


def _tool() -> Iterator[Check]:
    """Yield the versions that the command itself runs with, and those of the analysis, which runs beside it."""
    yield Check("tuneloop", True, f"tuneloop {tuneloop.__version__}")
    yield Check("python", True, f"Python {platform.python_version()}: {sys.executable}")
    for line in _required():
        need = Requirement(line)
        if need.marker is None or (need.marker.evaluate({"extra": "analysis"}) and "extra" in str(need.marker)):
            yield _package(need)


def _required() -> list[str]:
    try:
        return requires("tuneloop") or []
    except PackageNotFoundError:  # run from its source alone
        return []


def _package(need: Requirement) -> Check:
    hint = f"{shlex.quote(sys.executable)} -m pip install {shlex.quote(f'{need.name}{need.specifier}')}"
    try:
        found = version(need.name)
    except PackageNotFoundError:
        return Check(need.name, False, f"{need.name} is not installed", hint)
    if not need.specifier.contains(found, prereleases=True):
        return Check(need.name, False, f"{need.name} {found} does not fit, wanted {need.specifier}", hint)
    return Check(need.name, True, f"{need.name} {found}")


def _profile(name: str, profile: Profile) -> Iterator[Check]:
    """Yield what can be told of a profile without a job."""
    if profile.executor == "slurm":
        yield Check("executor", True, f"slurm, {where(profile)}: {limits(profile)}")
        yield from misnamed_checks(profile)
        yield from without_job(profile).checks
        yield Check("job", True, f"`tuneloop cluster check {name}` proves it by a job of seconds")
        return
    at_once = slots(profile)
    yield Check("executor", True, f"{profile.executor}, {at_once} job{'' if at_once == 1 else 's'} at once")


def _environment(cluster: str, profile: Profile, worker: str, experiment: Experiment | None) -> Section:
    """Ask one worker in its work environment what it has and what it lacks."""
    python = str(user_path(profile.interpreter(worker) or sys.executable))
    title = f"worker {worker}" if cluster == "local" else f"worker {worker} on {cluster}"
    machine = Machine(cluster, min(1, gpu_count()), cpus_per_job(profile), python)
    try:
        remote = Remote(load_worker(worker), python)
        found = remote.checks(_order(experiment, machine))
    except TuneloopError as error:
        fault = [Check("environment", False, item.message, item.hint) for item in error.problems]
        return Section(title, tuple(fault))
    here = Check("python", True, f"work environment {python}")
    return Section(title, (here, *(_mended(check, python) for check in found)))


def _order(experiment: Experiment | None, machine: Machine) -> Order:
    if experiment is None:
        return Order(str(Path.cwd()), validate(Design, _ANY), [], machine)
    return Order(str(experiment.layout.folder), experiment.design, experiment.runs, machine)


def _mended(check: Check, python: str) -> Check:
    """Return the check with a pip line that reaches the work environment, whatever `pip` is on the path."""
    if check.hint is None or not check.hint.startswith("pip "):
        return check
    return Check(check.name, check.ok, check.message, f"{shlex.quote(python)} -m {check.hint}")


def _machine(root: Path) -> Iterator[Check]:
    yield Check("processor", True, f"{core_count()} cores that jobs may use, {platform.machine()}")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    yield Check("memory", True, f"{memory / 1e9:.1f} GB")
    yield Check("gpu", True, "; ".join(_gpus()) or "no GPU: training and evaluation run on the processor")
    if not root.is_dir():
        yield Check("disk", False, f"no folder {root}", f"correct `experiments.root` in {PROJECT_FILE}, or make it")
        return
    free = shutil.disk_usage(root).free
    message = f"{free / 1e9:.1f} GB free at {root}"
    hint = "free some space; `tuneloop clean EXP --keep best` removes weights"
    yield Check("disk", free >= _LEAST_DISK, message, None if free >= _LEAST_DISK else hint)


def _gpus() -> list[str]:
    if gpu_count() == 0 or shutil.which("nvidia-smi") is None:
        return []
    argv = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]
