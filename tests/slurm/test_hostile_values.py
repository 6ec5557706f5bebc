"""Two hundred hostile values on their way to bash and to sbatch: each arrives as it is, or is refused; none is run."""

import json
import os
import random
import shlex
import subprocess
from pathlib import Path

import pytest
from pydantic import ValidationError

from lab import cli, make_echo
from slurm_cluster import DevCluster
from slurm_lab import shims
from tuneloop.documents.errors import InputError
from tuneloop.documents.profile import Mail, Profile
from tuneloop.experiment.script import Script
from tuneloop.experiment.script import render as render_job
from tuneloop.experiment.work import JobKey, Machine, Shape, Site, Token
from tuneloop.jobs.batches import Batch
from tuneloop.jobs.slurm import handing, site
from tuneloop.jobs.slurm.site import site_of
from tuneloop.jobs.slurm.wrapper import render
from tuneloop.jobs.transport import Here

CANARY = "canary"  # what a value that is run makes in the current folder
_PIECES = [
    *(f"$(touch {CANARY})", f"`touch {CANARY}`", f";touch {CANARY};", f"&touch {CANARY}&", f"|touch {CANARY}"),
    *("'", '"', "'\"'", "\\", "$HOME", "${IFS}", "~", "*", "?", "[a-z]", "{a,b}", "!!", "#", " ", "  ", "=", ","),
    *("-x", "--wrap=id", "%j", "%A_%a", "<(id)", ">x", "ü", "漢", "\u202e", "\ufeff", "word", "a.b"),
]
_CONTROL = ["\n", "\r", "\t", "\x00", "\x1b[2J", "\x7f", "\x85", f"\ntouch {CANARY}\n"]
NUMBER = 200


def hostile_values() -> list[str]:
    stream = random.Random(5)
    found = [*_PIECES, *_CONTROL]
    while len(found) < NUMBER:
        pieces = stream.choices([*_PIECES, *_CONTROL], weights=[4] * len(_PIECES) + [1] * len(_CONTROL), k=4)
        found.append("".join(pieces))
    return found


VALUES = hostile_values()
PRINTABLE = [value for value in VALUES if not any(control[0] in value for control in _CONTROL)]
AS_FILES = [value for value in PRINTABLE if "/" not in value]
OPTIONS = [value for value in PRINTABLE if "\\" not in value]  # sbatch drops a backslash


def profile(**values: object) -> Profile:
    """Return a profile that was not checked: scripts must hold without the checks of its schema."""
    return Profile().model_copy(update=values)


def mail(value: str) -> Mail:
    return Mail.model_construct(to=value, on=["end"])


def test_there_are_enough_of_each_kind() -> None:
    assert len(set(VALUES)) >= NUMBER - 5
    assert len(OPTIONS) > 50
    assert len(PRINTABLE) < NUMBER - 30


def script(site_profile: Profile, *, python: str = "/usr/bin/python3", words: dict[str, str] | None = None) -> str:
    """Return a job script whose one step tells what its environment holds."""
    return render_job(
        Script(
            title="Train a",
            command="tuneloop scaffold-echo",
            key=JobKey("train/a"),
            shape=Shape("dev"),
            machine=Machine("dev", 0, 1, python, site_of(site_profile)),
            attempts=".attempts/train",
            log="log",
            digest="d",
            steps=("env -0 >environment",),
            environment=words or {},
        )
    )


def run(folder: Path, text: str) -> None:
    """Run a job script behind its claim, with a `module` that tells its arguments."""
    folder.mkdir(exist_ok=True)
    (folder / "job.slurm").write_text(text)
    subprocess.run(["bash", "-n", folder / "job.slurm"], check=True)
    bin_ = folder / "bin"
    bin_.mkdir()
    (bin_ / "module").write_text('#!/bin/sh\nprintf "%s\\0" "$@" >>modules\n')
    (bin_ / "module").chmod(0o755)
    env = os.environ | {"PATH": f"{bin_}:{os.environ['PATH']}", "TUNELOOP_ATTEMPT": "x"}
    subprocess.run(["bash", folder / "job.slurm"], check=True, cwd=folder, env=env)


def told(file: Path) -> list[str]:
    return file.read_text().split("\0")[:-1]


def test_modules_files_and_variables_arrive_as_they_are(tmp_path: Path) -> None:
    files = [tmp_path / "files" / value for value in AS_FILES]
    (tmp_path / "files").mkdir()
    for file in files:
        file.write_text('printf "%s\\0" "${BASH_SOURCE[0]}" >>sourced\n')
    variables = {f"V{number}": value for number, value in enumerate(PRINTABLE)}
    words = {f"W{number}": value for number, value in enumerate(PRINTABLE)}
    site_profile = profile(modules=PRINTABLE, source=[str(file) for file in files], environment=variables)
    folder = tmp_path / "job"
    run(folder, script(site_profile, python=str(tmp_path / AS_FILES[0] / "python"), words=words))
    assert told(folder / "modules") == [word for value in PRINTABLE for word in ("load", value)]
    assert told(folder / "sourced") == [str(file) for file in files]
    environment = dict(line.partition("=")[::2] for line in told(folder / "environment"))
    assert {name: environment[name] for name in variables | words} == variables | words
    assert not (folder / CANARY).exists()


def test_what_is_not_quoted_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "quote", str)
    run(tmp_path / "job", script(profile(modules=["a $(touch canary)"])))
    assert told(tmp_path / "job" / "modules") != ["load", "a $(touch canary)"]
    assert (tmp_path / "job" / CANARY).exists()


@pytest.mark.parametrize("where", ["modules", "source", "environment", "account", "partition", "qos", "constraint"])
def test_control_characters_are_refused_everywhere(where: str) -> None:
    refused = [value for value in VALUES if value not in PRINTABLE]
    for value in refused:
        given = {"modules": [value], "source": [value], "environment": {"V": value}}.get(where, value)
        with pytest.raises(InputError):
            script(profile(**{where: given}))
    assert refused


def test_a_variable_with_a_hostile_name_is_refused() -> None:
    for value in VALUES:
        if value.isidentifier() and value.isascii():
            continue
        with pytest.raises(ValidationError):
            Profile(environment={value: "1"})


def wrapper(value: str, *, name: str = "exp", scripts: tuple[str, ...] = ("a/finetune.slurm",)) -> str:
    wishes = dict.fromkeys(("account", "partition", "qos", "reservation", "constraint", "gpu_type"), value)
    site_profile = profile(**wishes, mail=mail(value))
    keys = tuple(JobKey(f"train/r{number}") for number in range(len(scripts)))
    batch = Batch(
        Token("0123456789"), "echo", Shape("dev", gpus=1), keys, scripts, tuple(range(len(scripts))), resumes=1
    )
    return render(batch, (), site_profile, name)


def directives(text: str) -> dict[str, str]:
    """Return the options of a script as sbatch's own lexer reads them: quotes as in a shell, `#` is no comment in one."""
    found = {}
    for line in text.split("\n"):
        if line.startswith("#SBATCH "):
            [word] = shlex.split(line.removeprefix("#SBATCH "), comments=True)
            option, _, value = word.partition("=")
            found[option] = value
    return found


def test_options_of_sbatch_arrive_as_they_are_or_are_refused(tmp_path: Path) -> None:
    for value in VALUES:
        if value not in OPTIONS:
            with pytest.raises(InputError):
                wrapper(value)
            continue
        text = wrapper(value)
        found = directives(text)
        for option in ("account", "partition", "qos", "reservation", "constraint", "mail-user"):
            assert found[f"--{option}"] == value
        assert found["--gpus-per-node"] == f"{value}:1"
        (tmp_path / "wrapper").write_text(text)
        subprocess.run(["bash", "-n", tmp_path / "wrapper"], check=True)


def test_a_hostile_name_of_an_experiment_becomes_a_plain_one_in_the_queue() -> None:
    for value in VALUES:
        name = directives(wrapper("x", name=value))["--job-name"]
        assert name.isascii()
        assert set("-._") | {"a"} >= {"a" if letter.isalnum() else letter for letter in name}


@pytest.mark.slow
def test_the_real_sbatch_reads_options_as_they_were_meant(cluster: DevCluster, tmp_path: Path) -> None:
    for value in OPTIONS[::8]:
        mailed = profile(mail=mail(value))
        batch = Batch(Token("0123456789"), "echo", Shape("dev"), (JobKey("train/a"),), ("a/job.slurm",), (0,))
        (tmp_path / "held.slurm").write_text(render(batch, (), mailed, value))
        job = cluster.sbatch("--hold", "--chdir", str(tmp_path), tmp_path / "held.slurm")
        shown = cluster.call("scontrol", "show", "job", job)
        assert f"MailUser={value} MailType=END" in shown
    cluster.cancel_all()
    assert not (tmp_path / CANARY).exists()


def test_paths_of_scripts_reach_bash_as_they_are(tmp_path: Path) -> None:
    names = AS_FILES[::4]
    folder = tmp_path / ".tuneloop" / "submissions"
    folder.mkdir(parents=True)
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "job's.slurm").write_text('printf "%s\\0" "$PWD" >>"$TOLD"\n')
    text = wrapper("x", scripts=tuple(f"{name}/job's.slurm" for name in names))
    (folder / "wrapper.slurm").write_text(text)
    env = os.environ | {"SLURM_SUBMIT_DIR": str(folder), "SLURM_ARRAY_JOB_ID": "7", "TOLD": str(tmp_path / "told")}
    for number in range(len(names)):
        there = env | {"SLURM_ARRAY_TASK_ID": str(number), "SLURM_JOB_ID": str(7 + number)}
        subprocess.run(["bash", folder / "wrapper.slurm"], check=True, env=there)
    assert told(tmp_path / "told") == [str(tmp_path / name) for name in names]
    assert not list(tmp_path.rglob(CANARY))


def test_the_folder_of_a_submission_reaches_sbatch_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = tmp_path / "seen"
    text = f'printf "%s\\0" "$PWD" "$@" >>{shlex.quote(str(seen))}; echo 5\n'
    monkeypatch.setenv("PATH", shims(tmp_path / "bin", text)["PATH"])
    wanted = []
    for value in AS_FILES[::4]:
        folder = tmp_path / "experiments" / value
        folder.mkdir(parents=True)
        assert handing.submit(Here(), str(folder), Token("0123456789")) == "5"
        wanted += [str(folder), "--parsable", "0123456789.slurm"]
    assert told(seen) == wanted
    assert not list(tmp_path.rglob(CANARY))
    with pytest.raises(InputError):
        handing.submit(Here(), str(tmp_path / "a\nb"), Token("0123456789"))


def test_a_prompt_enters_no_script(tmp_path: Path) -> None:
    prompt = " ".join(value for value in PRINTABLE if not set("{}") & set(value)) + " {input}"
    folder = make_echo(tmp_path / "exp", scaffold=False)
    summary = folder / "experiment_summary.md"
    text = summary.read_text()
    assert text.count("  columns: {") == 1, text
    summary.write_text(text.replace("  columns: {", f"  prompt: {json.dumps(prompt)}\n  columns: {{", 1))
    cli("scaffold-experiment", folder)
    scripts = list(folder.rglob("*.slurm"))
    assert scripts
    for path in scripts:
        assert CANARY not in path.read_text()


def test_a_site_without_wishes_adds_nothing() -> None:
    assert site_of(Profile()) == Site()
