"""The launcher: silent and out of the way whatever is missing; in its blocking mode a block whatever is missing."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hook_support import call, copied_pack, guard, make_own_checkout, settings_line, shell_event

from tuneloop.librarian.target import is_pack

# A hook that lets one command pass, blocks all others as a hook may (2), and breaks on request.
BLOCKER = '''\
"""A hook for tests."""

import os
import signal
import sys
import time


def answer(event):
    command = event["tool_input"]["command"]
    if command == "break":
        raise RuntimeError("broken on request")
    if command == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if command == "hang":
        time.sleep(60)
    if command == "end":
        os._exit(7)
    if command != "harmless":
        sys.stderr.write("not this one\\n")
        sys.exit(2)
    return None
'''


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A pack with a hook `blocker`, in a folder whose name has a space; a second is enough for its hooks."""
    folder = copied_pack(tmp_path / "the pack")
    (folder / "lib" / "tuneloop" / "hooks" / "blocker.py").write_text(BLOCKER)
    launch = folder / "hooks" / "launch"
    text = launch.read_text()
    assert "seconds=5 " in text
    launch.write_text(text.replace("seconds=5 ", "seconds=1 "))
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def must(pack: Path) -> str:
    """Return the settings line of a hook that must block."""
    return f'"{pack}/hooks/launch" --must blocker || exit 2'


def test_a_hook_that_must_block_lets_pass_what_it_finds_harmless(pack: Path, project: Path) -> None:
    assert call(must(pack), shell_event("harmless", project), project) == (0, "", "")


def test_a_hook_that_must_block_gives_its_reason(pack: Path, project: Path) -> None:
    assert call(must(pack), shell_event("rm", project), project) == (2, "", "not this one\n")


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("break", "RuntimeError: broken on request"),
        ("die", "it was killed"),
        ("hang", "it was killed, or took more than 1 s"),
        ("end", "it ended with 7"),
    ],
)
def test_every_fault_of_a_hook_that_must_block_blocks(command: str, reason: str, pack: Path, project: Path) -> None:
    answer = call(must(pack), shell_event(command, project), project)
    assert answer.code == 2
    assert reason in answer.complained


@pytest.mark.parametrize("event", ["", "no JSON", "[]", "{}", '{"tool_input": "x"}', "\udcff", "{" * 5000])
def test_an_event_that_cannot_be_read_blocks(event: str, pack: Path, project: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", must(pack)],
        input=event.encode(errors="surrogateescape"),
        cwd=project,
        env=os.environ | {"CLAUDE_PROJECT_DIR": str(project)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2
    assert b"this is blocked" in done.stderr


@pytest.mark.parametrize("missing", ["launcher", "module", "library", "Python", "permission"])
def test_whatever_is_missing_blocks(missing: str, pack: Path, project: Path) -> None:
    environment = {}
    if missing == "launcher":
        (pack / "hooks" / "launch").unlink()
    elif missing == "module":
        (pack / "lib" / "tuneloop" / "hooks" / "blocker.py").unlink()
    elif missing == "library":
        shutil.rmtree(pack / "lib")
    elif missing == "Python":
        environment["TUNELOOP_PYTHON"] = "/nowhere/python"
    else:
        (pack / "hooks" / "launch").chmod(0o644)
    answer = call(must(pack), shell_event("harmless", project), project, **environment)
    assert answer.code == 2
    assert answer.complained


@pytest.mark.parametrize("tool", ["cat", "tr", "timeout"])
def test_a_missing_tool_blocks(tool: str, pack: Path, project: Path, tmp_path: Path) -> None:
    (tmp_path / "path").mkdir()
    for name in {"sh", "cat", "tr", "timeout"} - {tool}:
        (tmp_path / "path" / name).symlink_to(shutil.which(name) or "nowhere")
    line = f'"{pack}/hooks/launch" --must guard || exit 2'
    event = shell_event("tuneloop cancel x", project)
    assert call(line, event, project, PATH=str(tmp_path / "path")).code == 2
    (tmp_path / "path" / tool).symlink_to(shutil.which(tool) or "nowhere")
    assert call(line, event, project, PATH=str(tmp_path / "path")).decision == "ask"


def test_a_killed_launcher_blocks(pack: Path, project: Path) -> None:
    launch = pack / "hooks" / "launch"
    launch.write_text(launch.read_text().replace("name=$1\n", "name=$1\nkill -9 $$\n"))
    assert call(must(pack), shell_event("harmless", project), project).code == 2


def test_even_a_hook_that_must_block_is_silent_in_the_packs_own_checkout(pack: Path, project: Path) -> None:
    make_own_checkout(project)
    assert call(must(pack), shell_event("rm", project), project) == (0, "", "")


@pytest.mark.parametrize("command", ["break", "die", "hang", "end", "rm"])
def test_no_fault_of_another_hook_is_noticed(command: str, pack: Path, project: Path) -> None:
    line = f'"{pack}/hooks/launch" blocker'
    assert call(line, shell_event(command, project), project) == (0, "", "")


@pytest.mark.parametrize("missing", ["library", "Python", "HOME"])
def test_the_packs_hooks_are_silent_where_something_is_missing(missing: str, pack: Path, project: Path) -> None:
    environment = {"TUNELOOP_PYTHON": "/nowhere/python"} if missing == "Python" else {}
    if missing == "library":
        shutil.rmtree(pack / "lib")
    for name in ("PreToolUse", "SessionStart"):
        line = settings_line(name, pack)
        if missing == "HOME":
            line = f"unset HOME XDG_STATE_HOME; {line}"
            event = shell_event("ls tuneloop", project)
        else:
            event = shell_event("tuneloop cancel x", project)
        assert call(line, event, project, **environment) == (0, "", "")


def test_python_is_not_started_where_there_is_nothing_to_guard(pack: Path, project: Path, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\ntouch '{tmp_path}/started'\n")
    python.chmod(0o755)
    asked = {"TUNELOOP_PYTHON": str(python), "XDG_STATE_HOME": str(tmp_path / "empty")}
    event = json.dumps({"tool_input": {"command": "ls"}})
    call(settings_line("PreToolUse", pack), event, project, **asked)
    call(settings_line("SessionStart", pack), "{}", project, **asked)
    assert not (tmp_path / "started").exists()
    call(settings_line("PreToolUse", pack), shell_event("tuneloop status", project), project, **asked)
    assert (tmp_path / "started").exists()


# An interpreter that is another one and says that it is 3.8.
OLD = """\
#!/bin/sh
echo "$0" >>"$STARTED"
shift 2
exec {python} -I -S -c 'import runpy, sys
sys.version_info, sys.argv = (3, 8, 18), sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")' "$@"
"""


def program(place: Path, text: str) -> Path:
    place.parent.mkdir(exist_ok=True)
    place.write_text(text)
    place.chmod(0o755)
    return place


@pytest.fixture
def old_python(pack: Path, tmp_path: Path) -> dict[str, str]:
    """A system whose own Python is too old, and whose PATH begins with an empty folder; what that needs to be set."""
    text = OLD.replace("{python}", sys.executable)
    program(tmp_path / "usr" / "python3", text)
    launch = pack / "hooks" / "launch"
    launch.write_text(launch.read_text().replace("/usr/bin/python3 ", f"{tmp_path}/usr/python3 "))
    for name in ("sh", "cat", "tr", "timeout"):
        (tmp_path / "path").mkdir(exist_ok=True)
        (tmp_path / "path" / name).symlink_to(shutil.which(name) or "nowhere")
    return {"PATH": str(tmp_path / "path"), "STARTED": str(tmp_path / "started")}


@pytest.mark.parametrize("name", ["python3", "python", "python3.11"])
def test_a_python_that_is_too_old_is_passed_over(
    name: str, pack: Path, project: Path, tmp_path: Path, old_python: dict[str, str]
) -> None:
    line, event = settings_line("PreToolUse", pack), shell_event("tuneloop cancel x", project)
    assert call(line, event, project, **old_python) == (0, "", "")
    assert call(must(pack), shell_event("harmless", project), project, **old_python).code == 2
    program(tmp_path / "path" / name, f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    assert call(line, event, project, **old_python).decision == "ask"
    assert call(must(pack), shell_event("harmless", project), project, **old_python) == (0, "", "")


def test_a_python_of_another_age_is_asked_last(
    pack: Path, project: Path, tmp_path: Path, old_python: dict[str, str]
) -> None:
    program(tmp_path / "path" / "python", "#!/bin/sh\necho 'Unknown option: -I' >&2\nexit 2\n")
    program(tmp_path / "path" / "python3.11", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    line, event = settings_line("PreToolUse", pack), shell_event("tuneloop cancel x", project)
    assert call(line, event, project, **old_python).decision == "ask"


@pytest.mark.parametrize("broken", ["#!/nowhere/python\n", "#!/bin/sh\nexit 127\n"])
def test_a_python_that_does_not_start_is_passed_over(
    broken: str, pack: Path, project: Path, tmp_path: Path, old_python: dict[str, str]
) -> None:
    program(tmp_path / "usr" / "python3", broken)
    program(tmp_path / "path" / "python3", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    line, event = settings_line("PreToolUse", pack), shell_event("tuneloop cancel x", project)
    assert call(line, event, project, **old_python).decision == "ask"


def test_a_python_that_fits_is_the_only_one_to_start(
    pack: Path, project: Path, tmp_path: Path, old_python: dict[str, str]
) -> None:
    program(tmp_path / "usr" / "python3", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    program(tmp_path / "path" / "python3", '#!/bin/sh\necho "$0" >>"$STARTED"\n')
    line, event = settings_line("PreToolUse", pack), shell_event("tuneloop cancel x", project)
    assert call(line, event, project, **old_python).decision == "ask"
    assert not (tmp_path / "started").exists()


def test_a_wheels_layout_is_found(pack: Path, project: Path, tmp_path: Path) -> None:
    library = tmp_path / "site packages" / "tuneloop"
    shutil.copytree(pack / "lib" / "tuneloop", library)
    shutil.copytree(pack / "hooks", library / "pack" / "hooks")
    line = settings_line("PreToolUse", library / "pack")
    assert call(line, shell_event("tuneloop cancel x", project), project).decision == "ask"


def test_a_project_cannot_lend_the_hooks_its_own_modules(pack: Path, project: Path) -> None:
    for name in ("json.py", "tuneloop.py", "sitecustomize.py"):
        (project / name).write_text("raise SystemExit(9)\n")
    line = settings_line("PreToolUse", pack)
    answer = call(line, shell_event("tuneloop cancel x", project), project, PYTHONPATH=str(project))
    assert answer.decision == "ask"


def test_nothing_is_asked_in_the_packs_own_checkout(project: Path) -> None:
    (project / "runs").mkdir()
    assert guard("tuneloop cancel runs/demo", project / "runs").decision == "ask"
    make_own_checkout(project)
    assert guard("tuneloop cancel runs/demo", project / "runs") == (0, "", "")


def test_the_project_counts_and_not_where_its_shell_went(project: Path, tmp_path: Path) -> None:
    make_own_checkout(tmp_path / "checkout")
    line, event = settings_line("PreToolUse"), shell_event("tuneloop cancel x", project)
    assert call(line, event, project, cwd=tmp_path / "checkout").decision == "ask"
    assert call(line, event, tmp_path / "checkout", cwd=project) == (0, "", "")
    unset = f"unset CLAUDE_PROJECT_DIR; {line}"
    assert call(unset, event, project, cwd=tmp_path / "checkout") == (0, "", "")
    assert call(unset, event, project).decision == "ask"
    assert call(line, event, project, CLAUDE_PROJECT_DIR="nowhere").decision == "ask"


MANIFESTS = {
    '{"name": "tuneloop", "version": "0.1"}': True,
    '{\r\n\t"name" : "tuneloop",\n "version": "0.1"}': True,
    '{"name": "another"}': False,
    '{"name": "another", "dependencies": [{"name": "tuneloop"}]}': False,
    '{"dependencies": [{"name": "tuneloop", "version": "0.1"}], "name": "another"}': False,
    '{\n  "dependencies": [\n  {\n  "name": "tuneloop",\n  "version": "0.1"}],\n  "name": "another"\n}': False,
    '{"name": "tuneloop-fork", "version": "0.1"}': False,
    '{"version": "0.1", "name": "tuneloop"}': False,
    '{"name":\u00a0"tuneloop", "version": "0.1"}': False,
    "": False,
}


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_hooks_and_links_agree_on_the_manifest_of_the_packs_own_checkout(manifest: str, project: Path) -> None:
    make_own_checkout(project, manifest)
    silent = guard("tuneloop cancel runs/demo", project).decision is None
    assert silent == is_pack(project) == MANIFESTS[manifest]


@pytest.mark.parametrize("missing", ["hooks/launch", "lib/tuneloop/hooks", ".claude-plugin/plugin.json"])
def test_hooks_and_links_agree_that_a_part_of_it_is_no_checkout(missing: str, project: Path) -> None:
    make_own_checkout(project)
    assert is_pack(project)
    (project / missing).rename(project / "gone")
    assert guard("tuneloop cancel runs/demo", project).decision == "ask"
    assert not is_pack(project)
