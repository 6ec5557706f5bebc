"""A laboratory for tests: experiments on the echo workers, driven through the real command line."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tuneloop.documents.locks import is_held
from tuneloop.experiment.layout import Layout

Tree = dict[str, Any]

_DESIGN = """\
schema: tuneloop.experiment/1
name: echo
question: Does the loop hold?
backend: echo
model: model
data:
  - {{split: train, path: data.jsonl, format: instruct, columns: {{input: word, output: answer}}}}
  - {{split: test, path: data.jsonl}}
variables: {variables}
controls: {controls}
evaluations:
  - {{name: cap, backend: echo-eval, task: echo, split: test}}
metrics: {{primary: {{evaluation: cap}}}}
{rest}runs: [{{name: control, kind: control}}]
"""


def cli(
    *arguments: str | Path, check: bool = True, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `tuneloop` to its end; with `check` a bad exit code fails the test with what it said."""
    done = subprocess.run(
        command(*arguments), capture_output=True, text=True, check=False, env=os.environ | (env or {})
    )
    assert not check or done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "tuneloop", *map(str, arguments)]


def as_json(*arguments: str | Path, check: bool = True, env: Mapping[str, str] | None = None) -> Any:
    return json.loads(cli(*arguments, "--json", check=check, env=env).stdout)


def make_echo(
    folder: Path,
    variables: str = "{lr: [1e-3, 1e-4]}",
    controls: str = "{epochs: 2, seconds: 0.4, steps: 4}",
    rest: str = "",
    *,
    scaffold: bool = True,
) -> Path:
    """Design (and scaffold) an echo experiment in `folder`; return the folder."""
    folder.mkdir(parents=True)
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text("{}")
    rows = [{"word": word, "answer": word.upper()} for word in ("one", "two", "three", "four", "five", "six")]
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = folder / "design.yaml"
    source.write_text(_DESIGN.format(variables=variables, controls=controls, rest=rest))
    cli("design-experiment", folder, "--from", source)
    if scaffold:
        cli("scaffold-experiment", folder)
    return folder


def plan_id(folder: Path, *verb: str) -> str | None:
    """Return the id of the plan that the command would hand over, None when there is nothing."""
    plan = as_json(*(verb or ("run-experiment",)), folder, "--dry-run")
    return plan["plan"] if plan["jobs"] else None


def run(folder: Path, *options: str, verb: tuple[str, ...] = ("run-experiment",), check: bool = True) -> Any:
    """Consent to the plan as it is and hand it over; follows to the end unless told to detach."""
    plan = plan_id(folder, *verb)
    consent = ["--yes", plan] if plan else []
    return cli(*verb, folder, *consent, *(options or ("--follow",)), check=check)


def states(folder: Path) -> dict[str, str]:
    return {job["key"]: job["state"] for job in as_json("status", folder, "--all")["jobs"]}


def events(folder: Path) -> list[dict[str, Any]]:
    """Return the journal's lines."""
    return [json.loads(line) for line in Layout(folder).journal.read_text().splitlines()]


def starts(folder: Path) -> dict[str, int]:
    """Return how often each job was really started: counted by attempt folders."""
    found: dict[str, int] = {}
    for start in [*folder.glob("*/.attempts/*/*/start.json"), *folder.glob(".tuneloop/attempts/*/*/start.json")]:
        job = start.parent.parent.relative_to(folder).as_posix()
        found[job] = found.get(job, 0) + 1
    return found


def results(folder: Path) -> Tree:
    """Return what a pass made: checkpoint digests and scores, whatever attempt made them."""
    found: Tree = {}
    for path in sorted([*folder.glob("*/epoch_*/**/*"), *folder.glob("*/eval/logs/*")]):
        if path.is_file():
            found[path.relative_to(folder).as_posix()] = _content(path)
    return found


def _content(path: Path) -> Any:
    if path.suffix != ".json":
        return path.read_bytes()
    value = json.loads(path.read_text())
    return {key: item for key, item in value.items() if key not in ("time", "created", "attempt")}


def until(true: Callable[[], bool], seconds: float = 30, what: str = "it") -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"{what} never happened"
        time.sleep(0.02)


def runner_pid(folder: Path) -> int | None:
    """Return the process that holds the runner's lock, asked of the kernel."""
    lock = Layout(folder.resolve()).runner_lock
    if not is_held(lock):
        return None
    inode = str(lock.stat().st_ino)
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        if fields[1] == "FLOCK" and fields[5].endswith(f":{inode}"):
            return int(fields[4])
    return None


def kill(pid: int | None) -> None:
    assert pid is not None
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def kill_session(folder: Path) -> None:
    """Kill the runner and every process of its session, jobs included."""
    runner = runner_pid(folder)
    assert runner is not None
    session = _session(Path("/proc", str(runner)))  # led by the shell that started it and has ended
    assert session is not None
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _session(entry) == session:
            kill(int(entry.name))


def _session(process: Path) -> int | None:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[3])
    except OSError:
        return None


def live_attempts(folder: Path) -> list[Path]:
    return [lock.parent for lock in folder.glob("*/.attempts/*/*/lock") if is_held(lock)]
