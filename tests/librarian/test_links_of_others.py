"""What belongs to somebody else: files, links, folders that nobody may write to. Each is left, and told."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from librarian_support import link, linked, make_pack, state, unlink, write

from places import fill, make_read_only
from tuneloop.documents.errors import InputError
from tuneloop.librarian.pack import Pack
from tuneloop.librarian.settings import additions
from typed import tuneloop

NOBODY = 65534


def own_skill(place: Path) -> None:
    write(place / "SKILL.md", "# mine")


def own_link(place: Path) -> None:
    place.parent.mkdir(parents=True)
    place.symlink_to(place.parents[2])


def dangling_link(place: Path) -> None:
    place.parent.mkdir(parents=True)
    place.symlink_to("nowhere")


def text_of_a_link(place: Path) -> None:
    write(place, f"{place.parents[3]}/pack/skills/experiment/do-it")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (own_skill, "something of yours has this name"),
        (own_link, "a link of yours"),
        (dangling_link, "a link of yours that leads nowhere: nowhere"),
        (text_of_a_link, "git made a text file of a link"),
    ],
)
def test_what_has_the_name_already_is_left_and_told(
    pack: Pack, project: Path, make: Callable[[Path], None], why: str
) -> None:
    place = project / ".claude/skills/do-it"
    make(place)
    before = state(project)
    plan = link(pack, project)
    assert [step.place for step in plan.left] == ["skills/do-it"]
    assert plan.left[0].why.startswith(why)
    assert {path: item for path, item in state(project).items() if path in before} == before
    assert "skills/look-at-it" in linked(project)
    unlink(project)
    assert state(project) == before


def test_the_very_link_made_by_hand_is_used_and_stays(pack: Pack, project: Path) -> None:
    place = project / ".claude/skills/do-it"
    place.parent.mkdir(parents=True)
    place.symlink_to(pack.root / "skills/experiment/do-it")
    before = state(project)
    assert not link(pack, project).left
    unlink(project)
    assert state(project) == before


def test_one_made_by_hand_beside_ours_stays_too(pack: Pack, project: Path) -> None:
    link(pack, project, "clean-up")
    place = project / ".claude/skills/do-it"
    place.symlink_to(pack.root / "skills/experiment/do-it")
    assert not link(pack, project).left
    unlink(project)
    assert linked(project) == {"skills/do-it"}


@pytest.mark.parametrize("name", ["", "skills", "commands", "agents"], ids=["claude", "skills", "commands", "agents"])
def test_nothing_is_written_through_a_folder_that_is_a_link(
    pack: Pack, project: Path, tmp_path: Path, name: str
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    folder = project / ".claude" / name
    folder.parent.mkdir(exist_ok=True)
    folder.symlink_to(other)
    before = state(project)
    for act in (link, lambda _, project: unlink(project)):
        with pytest.raises(InputError) as caught:
            act(pack, project)
        assert f"{folder}: is a link: nothing is written through it" in str(caught.value)
    assert state(project) == before
    assert state(other) == {}


@pytest.mark.parametrize("name", ["tuneloop.json", "settings.json"])
def test_nothing_is_written_through_a_file_that_is_a_link(pack: Pack, project: Path, tmp_path: Path, name: str) -> None:
    other = write(tmp_path / "other.json", "{}")
    (project / ".claude").mkdir()
    (project / ".claude" / name).symlink_to(other)
    with pytest.raises(InputError):
        link(pack, project, additions=additions(pack.root, []), merge=True)
    assert other.read_text() == "{}"
    assert linked(project) == set()


def test_all_that_is_in_the_way_is_told_at_once(pack: Pack, project: Path) -> None:
    write(project / ".claude/skills", "a file")
    (project / ".claude/agents").symlink_to("nowhere")
    with pytest.raises(InputError) as caught:
        link(pack, project)
    assert [problem.message for problem in caught.value.problems] == [
        "is a file, not a folder",
        "is a link: nothing is written through it",
    ]


@pytest.mark.parametrize(
    "entries",
    [
        {"../../outside": [{"kind": "file", "holds": ""}]},
        {"skills/..": [{"kind": "folder", "holds": ""}]},
        {"hooks/x": [{"kind": "file", "holds": ""}]},
    ],
)
def test_a_manifest_that_leads_out_of_the_folder_is_refused(pack: Pack, project: Path, entries: object) -> None:
    write(project / ".claude/tuneloop.json", json.dumps({"schema": "tuneloop.links/1", "entries": entries}))
    before = state(project)
    for act in (link, lambda _, project: unlink(project)):
        with pytest.raises(InputError):
            act(pack, project)
    assert state(project) == before


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema": "tuneloop.links/9"}'])
def test_a_broken_manifest_changes_nothing(pack: Pack, project: Path, text: str) -> None:
    path = write(project / ".claude/tuneloop.json", text)
    with pytest.raises(InputError) as caught:
        link(pack, project)
    assert str(path) in str(caught.value)
    assert linked(project) == set()


def linked_settings(path: Path) -> None:
    path.symlink_to(write(path.parents[2] / "other.json", "{}"))


def dangling_settings(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize(
    "make",
    [
        linked_settings,
        dangling_settings,
        lambda path: path.write_text("{"),
        lambda path: path.write_bytes(b"\xff"),
        lambda path: path.mkdir(),
    ],
    ids=["link", "dangling", "broken", "no text", "folder"],
)
def test_settings_that_cannot_be_written_stop_only_who_would_write_them(
    pack: Pack, project: Path, make: Callable[[Path], object]
) -> None:
    (project / ".claude").mkdir()
    make(project / ".claude/settings.json")
    before = state(project)
    wanted = additions(pack.root, ["Bash(tuneloop status:*)"])
    with pytest.raises(InputError):
        link(pack, project, additions=wanted, merge=True)
    assert state(project) == before
    link(pack, project, additions=wanted)
    assert "skills/do-it" in linked(project)
    assert not link(pack, project, additions=wanted).to_do
    unlink(project)
    assert state(project) == before


# Nobody's rights. Root may write anywhere, so a process without rights links.

_AS_NOBODY = """
import os, sys
from pathlib import Path
from tuneloop.cli.main import main
from tuneloop.documents import locks, schema, yamltext
from tuneloop.librarian import acts, health, links
from tuneloop.hooks import commands
import filelock, asyncio, filelock._unix
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(int(sys.argv[1]))
    os.setuid(int(sys.argv[1]))
sys.argv[1:] = sys.argv[2:]
main()
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may search, unlike those of pytest."""
    folder = Path(tempfile.mkdtemp(prefix="tuneloop-open-"))
    folder.chmod(0o755)
    (folder / "state").mkdir()
    (folder / "state").chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def as_nobody(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"XDG_STATE_HOME": str(folder / "state"), "HOME": str(folder)}
    argv = [sys.executable, "-c", _AS_NOBODY, str(NOBODY), "skills", *words, "--project", str(folder / "project")]
    done = subprocess.run(argv, cwd=folder, env=environment, check=False, capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.mark.parametrize("closed", ["", ".claude", ".claude/skills"], ids=["project", "claude", "skills"])
def test_a_project_that_cannot_be_written_is_left_as_it_is(open_folder: Path, closed: str) -> None:
    (open_folder / "project/.claude/skills").mkdir(parents=True)
    if not closed:
        shutil.rmtree(open_folder / "project/.claude")
    for path in (open_folder / "project", *(open_folder / "project").rglob("*")):
        path.chmod(0o777)
    (open_folder / "project" / closed).chmod(0o555)
    before = state(open_folder / "project")
    done = as_nobody(open_folder, "link", "--with-settings")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "this folder cannot be written" in done.stderr
    assert "hint: nothing was changed" in done.stderr
    assert state(open_folder / "project") == before


def test_what_nobody_may_take_away_stays_whole(open_folder: Path) -> None:
    project = open_folder / "project"
    project.mkdir(mode=0o777)
    project.chmod(0o777)
    assert as_nobody(open_folder, "link").returncode == 0
    project.chmod(0o555)  # now `.claude` itself cannot go
    before = state(project)
    assert as_nobody(open_folder, "unlink").returncode == 2
    assert state(project) == before
    project.chmod(0o777)
    assert as_nobody(open_folder, "unlink").returncode == 0
    assert state(project) == {}


def test_a_state_folder_that_cannot_be_written_is_told(open_folder: Path) -> None:
    (open_folder / "project").mkdir()
    (open_folder / "project").chmod(0o777)
    (open_folder / "state").chmod(0o555)
    done = as_nobody(open_folder, "link")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "the lock of links cannot be made: permission denied" in done.stderr
    assert "hint: set XDG_STATE_HOME to a folder that can be written" in done.stderr
    assert state(open_folder / "project") == {}


def test_settings_that_nobody_may_read_stop_no_link(open_folder: Path) -> None:
    project = open_folder / "project"
    write(project / ".claude/settings.json", "{}").chmod(0o600)
    for folder in (project, project / ".claude"):
        folder.chmod(0o777)
    assert as_nobody(open_folder, "link").returncode == 0
    assert as_nobody(open_folder, "unlink").returncode == 0
    assert as_nobody(open_folder, "link", "--with-settings").returncode == 2


def test_a_read_only_disk_is_told(pack: Pack, read_only_disk: Path) -> None:
    make_read_only(read_only_disk)
    with pytest.raises(InputError) as caught:
        link(pack, read_only_disk)
    assert "this folder cannot be written" in str(caught.value)


def test_a_full_disk_is_told_and_nothing_is_left(pack: Pack, tiny_disk: Path) -> None:
    fill(tiny_disk)
    before = state(tiny_disk)
    with pytest.raises(InputError) as caught:
        link(pack, tiny_disk, copy=True)
    assert "no space left" in str(caught.value)
    unlink(tiny_disk)
    assert state(tiny_disk) == before


@pytest.mark.slow
def test_any_name_of_a_folder_does(pack: Pack, hostile_folder: Path) -> None:
    assert tuneloop(hostile_folder, "skills", "link", "--with-settings").returncode == 0
    assert tuneloop(hostile_folder, "skills", "doctor").returncode == 0
    assert tuneloop(hostile_folder, "skills", "unlink").returncode == 0
    assert state(hostile_folder) == {}


def test_the_pack_s_files_are_never_touched(pack: Pack, project: Path, tmp_path: Path) -> None:
    before = state(pack.root)
    for more in ({}, {"copy": True}):
        link(pack, project, **more)
        unlink(project)
    assert state(pack.root) == before == state(make_pack(tmp_path / "another"))
