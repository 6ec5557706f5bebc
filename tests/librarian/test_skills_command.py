"""`tuneloop skills` as it is typed: what it says, its exit codes and its JSON."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from librarian_support import linked, state, write

from tuneloop.librarian.pack import find_root, read_pack
from typed import as_json, tuneloop

pytestmark = pytest.mark.slow

SKILLS = {f"skills/{skill.name}" for skill in read_pack().chosen()}


def test_a_project_is_linked_looked_at_and_left_as_it_was(project: Path) -> None:
    assert tuneloop(project, "skills", "doctor").returncode == 1
    done = tuneloop(project, "skills", "link", "--with-settings")
    assert done.returncode == 0, done.stderr
    assert "/reload-skills" in done.stdout
    assert len(SKILLS) >= 9
    assert linked(project) >= SKILLS
    assert tuneloop(project, "skills", "doctor").stdout == "all is well\n"
    shown = tuneloop(project, "skills", "status").stdout
    assert all(place in shown for place in SKILLS)
    assert "settings  merged" in shown
    assert tuneloop(project, "skills", "link", "--quiet").stdout == ""
    assert tuneloop(project, "skills", "unlink").returncode == 0
    assert state(project) == {}
    again = tuneloop(project, "skills", "unlink")
    assert (again.returncode, again.stdout) == (0, f"nothing is linked in {project}/.claude\n")


def test_what_is_left_alone_is_noted_and_no_failure(project: Path) -> None:
    write(project / ".claude/skills/run-inspect/SKILL.md", "# mine")
    done = tuneloop(project, "skills", "link")
    assert done.returncode == 0
    assert "left alone: skills/run-inspect, something of yours has this name" in done.stderr
    found = as_json(tuneloop(project, "skills", "link", "--json"))
    assert (found["schema"], found["left"], found["written"]) == ("tuneloop.skills/1", ["skills/run-inspect"], False)


def test_a_part_brings_the_skill_that_explains_it(project: Path) -> None:
    for part, whole in (("run-inspect", "run-experiment"), ("scaffold-torchtune", "scaffold-experiment")):
        tuneloop(project, "skills", "link", part)
        assert f"skills/{whole}" in linked(project)
        tuneloop(project, "skills", "unlink")


def test_the_line_that_doctor_says_mends(project: Path) -> None:
    tuneloop(project, "skills", "link", "run-inspect")
    (project / ".claude/skills/run-inspect").unlink()
    (fault,) = as_json(tuneloop(project, "skills", "doctor", "--json"), exit_code=1)["faults"]
    words = fault["hint"].strip("`").split()
    assert tuneloop(project, *words[1:]).returncode == 0
    assert as_json(tuneloop(project, "skills", "doctor", "--json")) == {
        "schema": "tuneloop.skills-doctor/1",
        "ok": True,
        "faults": [],
    }


def test_doctor_says_once_what_mends_several(project: Path) -> None:
    tuneloop(project, "skills", "link")
    (project / ".claude/skills/run-inspect").unlink()
    (project / ".claude/skills/run-torchtune").unlink()
    (project / ".claude/skills/run-torchtune").symlink_to("nowhere")
    (project / ".claude/agents/experiment-reviewer.md").unlink()
    done = tuneloop(project, "skills", "doctor")
    lines = done.stdout.splitlines()
    assert lines[0] == "fault  1 skill, 1 agent: missing, linked before, and gone"
    assert lines[1] == "       `tuneloop skills link run-inspect --project " + f"{project}`"
    assert lines[2].startswith("fault  skills/run-torchtune: left alone, changed after it was linked")
    assert lines[3].startswith("       move away what is there, then `tuneloop skills link")
    assert lines[-1] == "2 faults"
    manifest = project / ".claude/tuneloop.json"
    manifest.write_text(manifest.read_text().replace('"version": "', '"version": "older-'))
    again = tuneloop(project, "skills", "doctor").stdout
    assert again.count("tuneloop skills link") == 2, "one line mends two faults, and another the third"
    assert "3 faults" in again
    shown = tuneloop(project, "skills", "status").stdout
    assert "changed after it was linked" in shown


def test_a_dry_run_writes_nothing_not_even_a_lock(project: Path, home: Path) -> None:
    done = tuneloop(project, "skills", "link", "--with-settings", "--dry-run")
    assert "would make skills/run-inspect -> " in done.stdout
    assert tuneloop(project, "skills", "unlink", "--dry-run").returncode == 0
    assert (state(project), state(home)) == ({}, {})


def test_the_project_is_found_from_below(project: Path) -> None:
    write(project / "tuneloop.yaml", "")
    below = project / "data"
    below.mkdir()
    tuneloop(below, "skills", "link", "run-inspect")
    assert "skills/run-inspect" in linked(project)
    assert state(below) == {}


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("link", "run-inspectt"), 3, "did you mean `run-inspect`?"),
        (("link", "--project", "no/where"), 2, "no such folder"),
        (("link", "--user", "--project", "."), 2, "give one of them"),
        (("link", "--user", "--with-settings"), 2, "leave `--with-settings` out"),
        (("unlink", "run-inspect"), 0, ""),
        ((), 2, ""),
    ],
)
def test_bad_use_is_told(project: Path, words: tuple[str, ...], code: int, message: str) -> None:
    done = tuneloop(project, "skills", *words)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert state(project) == {}


@pytest.mark.parametrize("words", [("link", "--with-settings"), ("link", "--copy"), ("unlink",)])
def test_the_pack_s_own_checkout_refuses_what_would_be_in_the_way(words: tuple[str, ...]) -> None:
    done = tuneloop(find_root(), "skills", *words)
    assert done.returncode == 2
    assert "this is the pack's own checkout" in done.stderr


def test_many_at_once_all_come_through(project: Path) -> None:
    argv = [sys.executable, "-m", "tuneloop", "skills", "link", "--with-settings", "--json"]
    running = [
        subprocess.Popen(argv, cwd=project, env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    said = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0, 0], said
    assert sum(json.loads(out)["written"] for out, _ in said) == 1
    assert tuneloop(project, "skills", "unlink").returncode == 0
    assert state(project) == {}


# Git


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", folder, *words], check=True, capture_output=True, text=True).stdout


def test_what_is_bound_to_the_machine_is_named_once(project: Path) -> None:
    git(project, "init", "--quiet")
    first = tuneloop(project, "skills", "link", "run-inspect").stderr
    assert "keep out of git, such as in .git/info/exclude: .claude/tuneloop.json and " in first
    assert tuneloop(project, "skills", "link", "run-inspect").stderr == ""
    tuneloop(project, "skills", "unlink")
    assert "out of git" not in tuneloop(project, "skills", "link", "--dry-run").stderr
    assert "out of git" not in tuneloop(project, "skills", "link", "--quiet").stderr


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        (".claude/\n", ""),
        (".claude/tuneloop.json\n", ".claude/skills/create-inspect-task and "),
        (".claude/skills/\n", ".claude/tuneloop.json\n"),
    ],
)
def test_what_git_ignores_is_not_named(project: Path, rules: str, named: str) -> None:
    git(project, "init", "--quiet")
    write(project / ".git/info/exclude", rules)
    said = tuneloop(project, "skills", "link", "run-inspect").stderr
    assert ("out of git" in said) == bool(named)
    assert said.partition("exclude: ")[2].startswith(named)
    assert "\n" not in said[:-1], "it is one line"


@pytest.mark.parametrize("lack", ["repository", "git"])
def test_without_git_nothing_is_said(project: Path, tmp_path: Path, lack: str) -> None:
    path = os.environ["PATH"]
    if lack == "git":
        git(project, "init", "--quiet")
        path = str(tmp_path)
    done = tuneloop(project, "skills", "link", PATH=path)
    assert (done.returncode, done.stderr) == (0, "")


# At the start of a session


def test_the_hook_that_the_help_gives_links_at_the_start_of_a_session(project: Path) -> None:
    told = " ".join(tuneloop(project, "skills", "link", "--help").stdout.split())
    found = re.search(r'\{"hooks": \[.*?\}\]\}', told)
    assert found is not None
    write(project / ".claude/settings.json", json.dumps({"hooks": {"SessionStart": [json.loads(found[0])]}}))
    below = project / "data"
    below.mkdir()
    write(project / "tuneloop.yaml", "")
    settings = json.loads((project / ".claude/settings.json").read_text())
    (command,) = [hook["command"] for group in settings["hooks"]["SessionStart"] for hook in group["hooks"]]

    def start() -> subprocess.CompletedProcess[str]:
        """Run the hook as the client does: in the session's folder, with the event on its standard input."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        event = json.dumps({"hook_event_name": "SessionStart", "source": "startup", "cwd": str(below)})
        environment = os.environ | {"PATH": path}
        argv = ["sh", "-c", command]
        return subprocess.run(argv, cwd=below, input=event, env=environment, check=True, capture_output=True, text=True)

    assert "linked: " in start().stdout
    assert linked(project) >= SKILLS
    (project / ".claude/skills/run-inspect").unlink()
    assert "linked: 1 skill" in start().stdout
    assert linked(project) >= SKILLS
    quiet = start()
    assert (quiet.stdout, quiet.stderr) == ("", "")
    assert tuneloop(project, "skills", "doctor").returncode == 0
