"""`tuneloop skills` as it is typed: what it says, its exit codes and its JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from librarian_support import linked, state, write

from tuneloop.librarian.pack import find_root, read_pack
from typed import as_json, tuneloop

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
