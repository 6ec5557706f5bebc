"""Cluster profiles: impossible values and keys that do not go together are faults with file, line and what to write."""

from pathlib import Path

import pytest

from tuneloop.documents.config import load
from tuneloop.documents.errors import InputError, Problem


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's file; the user has none yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    path = tmp_path / "project" / "tuneloop.yaml"
    path.parent.mkdir()
    return path


def faults(project: Path, text: str) -> list[Problem]:
    project.write_text(text)
    with pytest.raises(InputError) as caught:
        load(project.parent)
    assert {item.source for item in caught.value.problems} == {project}
    return caught.value.problems


@pytest.mark.parametrize(
    ("line", "key", "words"),
    [
        ('account: "a\\tb"', "account", "a control character in 'a\\tb'"),
        ('partition: "a\\nb"', "partition", "a control character"),
        ("qos: two words", "qos", "a space in 'two words'"),
        ("gpu_type: ''", "gpu_type", "it is empty"),
        ("ssh: -oProxyCommand=x", "ssh", "begins with a dash"),
        ('scratch: "a\\0b"', "scratch", "no file can hold"),
        ('scratch: "a\\u0007b"', "scratch", "a control character"),
        ("scratch: $SCRATCH", "scratch", "a `$` in '$SCRATCH', and no shell there reads it"),
        ("models: /data/${USER}/models", "models", "a `$` in '/data/${USER}/models'"),
        ("models: ~somebody/models", "models", "a `~` without a `/` behind it in '~somebody/models'"),
        ('scratch: "~"', "scratch", "a `~` without a `/`"),
        ("modules: [cuda/12, 'a b']", "modules.1", "a space in 'a b'"),
        ('source: ["a\\nb"]', "source.0", "a control character"),
        ("environment: {A-B: x}", "environment.A-B", "'A-B' is not the name of a variable"),
        ("environment: {TUNELOOP_TOKEN: x}", "environment.TUNELOOP_TOKEN", "is Tuneloop's own"),
        ('environment: {A: "x\\ny"}', "environment.A", "a control character"),
        ("mail: {to: Some Body <a@b.org>}", "mail.to", "is not one address"),
        ("mail: {to: 'a@b.org,c@d.org'}", "mail.to", "is not one address"),
        ("mail: {to: a@b.org, on: [start]}", "mail.on.0", "is 'start'"),
        ('python: {torchtune: "a\\nb"}', "python.torchtune", "a control character"),
        ("limits: {array: 0}", "limits.array", "greater than or equal to 1"),
    ],
)
def test_a_value_that_no_script_can_carry_is_a_fault_at_its_line(
    project: Path, line: str, key: str, words: str
) -> None:
    (fault,) = faults(project, f"clusters:\n  site:\n    executor: slurm\n    {line}\n")
    assert words in fault.message
    assert fault.line == 4
    assert fault.hint
    assert fault.key in (f"clusters.site.{key}", None)  # what is not YAML has no key


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            "clusters:\n  site:\n",
            "`clusters.site` should be keys and values, found nothing",
            "`site: {executor: VALUE}`",
        ),
        (
            "clusters:\n  site: gpu\n",
            "`clusters.site` should be keys and values, found 'gpu'",
            "`site: {executor: VALUE}`",
        ),
        ("\nclusters:\n", "`clusters` should be keys and values, found nothing", "`clusters: {NAME: VALUE}`"),
        (
            "clusters:\n  site: {mail: me@b.org}\n",
            "`clusters.site.mail` should be keys and values, found 'me@b.org'",
            "`mail: {to: VALUE}`",
        ),
    ],
)
def test_a_value_or_nothing_in_the_place_of_keys_is_a_fault_in_plain_words(
    project: Path, text: str, message: str, hint: str
) -> None:
    (fault,) = faults(project, text)
    assert (fault.message, fault.line, fault.hint) == (message, 2, f"write it in braces: {hint}")


@pytest.mark.parametrize("name", ["'a b'", "-x", "'../x'", "eval"])
def test_the_name_of_a_profile_is_a_plain_name(project: Path, name: str) -> None:
    (fault,) = faults(project, f"clusters:\n  {name}: {{executor: slurm}}\n")
    assert "profile " in fault.message
    assert fault.line == 2


@pytest.mark.parametrize(
    ("profile", "key", "hint"),
    [
        ("{partition: main}", "partition", "add `executor: slurm`, or take the key out"),
        ("{executor: local, limits: {jobs: 3}}", "limits", "add `executor: slurm`, or take the key out"),
        ("{executor: slurm, slots: 2}", "slots", "`limits: {running: N}` throttles arrays"),
        ("{executor: slurm, ssh: host}", "ssh", "add `scratch: FOLDER`"),
        ("{executor: slurm, scratch: /s}", "scratch", "add `ssh: HOST`, or take the key out"),
        ("{executor: slurm, gpu_type: a100}", "gpu_type", "add `gpus:`, how many a node has"),
    ],
)
def test_keys_that_do_not_go_together_are_faults(project: Path, profile: str, key: str, hint: str) -> None:
    (fault,) = faults(project, f"experiments: {{root: .}}\nclusters:\n  site: {profile}\n")
    assert (fault.key, fault.line, fault.hint) == (f"clusters.site.{key}", 3, hint)


def test_the_machine_itself_has_no_scheduler(project: Path) -> None:
    (fault,) = faults(project, "clusters: {local: {executor: slurm}}\n")
    assert fault.message == "`clusters.local.executor`: `local` is this machine"


def test_what_a_fault_lacks_may_stand_in_the_other_file(project: Path, tmp_path: Path) -> None:
    """A user's file says how a cluster is reached, a project's where its experiments lie."""
    user = tmp_path / "user" / "tuneloop" / "config.yaml"
    user.parent.mkdir(parents=True)
    user.write_text("clusters: {far: {executor: slurm, ssh: host}}\n")
    project.write_text("clusters: {far: {scratch: /scratch/me}}\n")
    found = load(project.parent)
    assert found.profile("far").scratch == "/scratch/me"
    assert set(found.files_of("far")) == {str(project), str(user)}
    assert found.files_of("local") == []
    project.write_text("# nothing\n")
    with pytest.raises(InputError) as caught:
        load(project.parent)
    (fault,) = caught.value.problems
    assert (fault.source, fault.line) == (user, 1)


def test_all_faults_of_all_profiles_are_told_at_once(project: Path) -> None:
    found = faults(project, "clusters:\n  a: {qos: x}\n  b: {executor: slurm, ssh: h, slots: 1}\n")
    assert [(item.key, item.line) for item in found] == [
        ("clusters.a.qos", 2),
        ("clusters.b.slots", 3),
        ("clusters.b.ssh", 3),
    ]


def test_a_whole_profile_passes(project: Path) -> None:
    project.write_text(
        "clusters:\n"
        "  site:\n"
        "    executor: slurm\n"
        "    python: {torchtune: /opt/it's/python, inspect: /b}\n"
        "    account: lab\n    partition: gpu,long\n    qos: normal\n    reservation: r1\n"
        "    constraint: 'a100&(x|y)'\n    gpus: 4\n    gpu_type: a100\n    cpus: 8\n    memory_mb: 64000\n"
        "    modules: [cuda/12.1]\n    source: [/etc/profile.d/my modules.sh]\n    environment: {HF_HOME: /x, EMPTY: ''}\n"
        "    ssh: me@login\n    ssh_config: ~/.ssh/other\n    scratch: /scratch/me\n    models: /models\n"
        "    limits: {array: 500, jobs: 1000, running: 8, minutes: 2880}\n"
        "    prices: {gpu_hour: 1.5, cpu_hour: 0.02, currency: EUR}\n    mail: {to: me@b.org, on: [end]}\n"
        "    signal_s: 60\n"
    )
    profile = load(project.parent).profile("site")
    assert profile.interpreters == ["/opt/it's/python", "/b"]
    assert profile.limits.minutes == 2880
