"""A call killed before any of its acts on the disk is finished by the next one, and nothing of it is left over."""

import subprocess
import sys
from pathlib import Path

import pytest
from librarian_support import make_pack, write

# Does an act in a child that ends itself before its n-th act on the disk, for n from 1 until it comes through; says
# after each what a next whole call makes of it. Forked, for starting Python each time would take minutes.
_SCRIPT = """
import json, os, shutil, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from librarian_support import state, wish
from tuneloop.librarian import acts
from tuneloop.librarian.links import plan_link
from tuneloop.librarian.pack import read_pack
from tuneloop.librarian.settings import additions
from tuneloop.librarian.target import for_project

WRITING = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.chmod", "shutil.rmtree")
folder, kind = Path(sys.argv[2]), sys.argv[3]
project, start = folder / "project", folder / "start"

def link(root, copy):
    pack = read_pack(folder / root)
    more = {"additions": additions(pack.root, ["Bash(tuneloop status:*)"]), "merge": True}
    acts.link(pack, for_project(project, project), wish("lifecycle", copy=copy, **more))

def unlink():
    acts.unlink(for_project(project, project), [], None)

ACTS = {
    "link": (lambda: None, lambda: link("pack", False)),
    "copy": (lambda: None, lambda: link("pack", True)),
    "relink": (lambda: link("pack", False), lambda: link("newer", False)),
    "recopy": (lambda: link("pack", True), lambda: link("newer", True)),
    "unlink": (lambda: link("pack", False), unlink),
    "uncopy": (lambda: link("pack", True), unlink),
}
before, act = ACTS[kind]

def die_before(number):
    count = 0
    def hook(event, arguments):
        nonlocal count
        writes = event in WRITING or (event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE)
        if writes and str(folder) in str(arguments[0]) and "/state/" not in str(arguments[0]):
            count += 1
            if count == number:
                os._exit(9)
    sys.addaudithook(hook)

def reset():
    shutil.rmtree(project)
    shutil.copytree(start, project, symlinks=True)
    before()

import filelock, asyncio  # before anything is counted
os.fsync = lambda handle: None  # a kill, not a power cut
reset()
act()
wanted = state(project)
unlink()
first = state(project)
assert first == state(start), "unlinking left something"
for number in range(1, 1000):
    reset()
    child = os.fork()
    if child == 0:
        die_before(number)
        act()
        os._exit(0)
    died = os.waitpid(child, 0)[1] != 0
    for again, should in ((act, wanted), (unlink, first)):
        again()
        found = state(project)
        if found != should:
            wrong = sorted(name for name in {*found, *should} if found.get(name) != should.get(name))
            sys.exit(f"killed before act {number}, {again.__name__}: {wrong}")
    if died:  # and when it is not finished but taken back
        reset()
        child = os.fork()
        if child == 0:
            die_before(number)
            act()
            os._exit(0)
        os.waitpid(child, 0)
        unlink()
        if state(project) != first:
            sys.exit(f"killed before act {number}, taken back: {sorted(set(state(project)) ^ set(first))}")
    else:
        break
print(number - 1)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "claude"),
    [
        ("link", "no"),
        ("link", "with"),
        ("copy", "with"),
        ("relink", "with"),
        ("recopy", "no"),
        ("unlink", "no"),
        ("unlink", "with"),
        ("uncopy", "no"),
    ],
)
def test_a_killed_call_is_finished_or_taken_back(tmp_path: Path, kind: str, claude: str) -> None:
    make_pack(tmp_path / "pack")
    newer = make_pack(tmp_path / "newer", version="0.2.0")
    skill = newer / "skills/lifecycle/clean-up/SKILL.md"
    skill.write_text(f"{skill.read_text()}\nA new line.\n")
    for name in ("project", "start"):
        (tmp_path / name).mkdir()
    if claude == "with":
        write(tmp_path / "start/.claude/settings.json", '{"hooks":{},  "model": "opus"}').chmod(0o640)
        write(tmp_path / "start/.claude/skills/mine/SKILL.md", "# mine")
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(Path(__file__).parent), str(tmp_path), kind],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 10, "too few acts were seen"
