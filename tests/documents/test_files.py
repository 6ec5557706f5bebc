"""Files are whole or not there, whatever happens to their writer or to the disk."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from places import fill, make_read_only
from tuneloop.documents.errors import InputError
from tuneloop.documents.files import (
    append_line,
    create_json,
    make_folder,
    new_file,
    new_folder,
    read_text,
    user_path,
    write_bytes,
    write_json,
    write_text,
)

# Writes two texts of 1 MB in turn for ever; says when it has begun.
_WRITER = """
import itertools, sys
from pathlib import Path
from tuneloop.documents.files import write_text
for letter in itertools.cycle("ab"):
    write_text(Path(sys.argv[1]), letter * 1_000_000, sync=sys.argv[2] == "sync")
    print(letter, flush=True)
"""
NOBODY = 65534


@pytest.mark.parametrize("sync", ["sync", "quick"])
def test_killed_writer_leaves_a_whole_file(tmp_path: Path, sync: str) -> None:
    path = tmp_path / "file"
    luck = random.Random(7)
    for _ in range(8):
        writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(path), sync], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(luck.uniform(0, 0.02))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        text = path.read_text()
        assert len(text) == 1_000_000
        assert set(text) in ({"a"}, {"b"})


def test_unchanged_text_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    assert write_text(path, "a\r\nb\n")
    before = path.stat()
    assert not write_text(path, "a\r\nb\n")
    assert path.stat().st_ino == before.st_ino
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert read_text(path) == "a\r\nb\n"


def test_mode_is_set_and_changed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert write_text(path, "a", mode=0o755)
    assert path.stat().st_mode & 0o777 == 0o755
    assert write_text(path, "a")
    assert path.stat().st_mode & 0o777 == 0o644


def test_bytes_and_json_are_written(tmp_path: Path) -> None:
    assert write_bytes(tmp_path / "bytes", b"\xff\x00")
    assert not write_bytes(tmp_path / "bytes", b"\xff\x00")
    write_json(tmp_path / "json", {"ü": 1})
    assert json.loads((tmp_path / "json").read_text()) == {"ü": 1}


def test_create_json_is_exclusive(tmp_path: Path) -> None:
    path = tmp_path / "fact.json"
    create_json(path, {"a": 1})
    with pytest.raises(FileExistsError):
        create_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [item.name for item in tmp_path.iterdir()] == ["fact.json"]


def test_append_ends_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    append_line(path, "one")
    with path.open("a") as file:
        file.write("tor")
    append_line(path, "two")
    append_line(path, "three")
    assert path.read_text() == "one\ntor\ntwo\nthree\n"
    with path.open("a") as file:
        file.write("tor")
    append_line(path, "four", torn=" #torn")
    assert path.read_text().endswith("three\ntor #torn\nfour\n")


WRITERS: list[Callable[[Path], object]] = [
    lambda path: write_text(path, "new" * 2000),
    lambda path: write_text(path, "new" * 2000, sync=False),
    lambda path: write_bytes(path, b"new" * 2000),
    lambda path: write_json(path, ["new"] * 2000),
]
WRITER_NAMES = ["text", "quick text", "bytes", "json"]


@pytest.mark.parametrize("write", WRITERS, ids=WRITER_NAMES)
def test_full_disk_leaves_the_old_file(tiny_disk: Path, write: Callable[[Path], object]) -> None:
    path = tiny_disk / "file"
    path.write_text("old")
    fill(tiny_disk)
    with pytest.raises(InputError) as caught:
        write(path)
    assert str(caught.value) == (
        f"{path}: no space left on the device\n  hint: free some space and run the same command again"
    )
    assert path.read_text() == "old"
    assert sorted(item.name for item in tiny_disk.iterdir()) == ["ballast", "file"]


def test_full_disk_creates_nothing(tiny_disk: Path) -> None:
    fill(tiny_disk)
    with pytest.raises(InputError, match="no space left on the device"):
        create_json(tiny_disk / "fact", ["x" * 5000])
    assert [item.name for item in tiny_disk.iterdir()] == ["ballast"]


@pytest.mark.parametrize("write", WRITERS, ids=WRITER_NAMES)
def test_read_only_disk_is_an_input_error(read_only_disk: Path, write: Callable[[Path], object]) -> None:
    path = read_only_disk / "file"
    path.write_text("old")
    make_read_only(read_only_disk)
    with pytest.raises(InputError) as caught:
        write(path)
    assert str(caught.value) == f"{path}: the file system is read-only\n  hint: choose a folder that can be written"
    assert path.read_text() == "old"


# As root chmod stops nobody, so the user is dropped first.
_FORBIDDEN = """
import os, sys
from pathlib import Path
from tuneloop.documents.errors import InputError
from tuneloop.documents.files import append_line, create_json, make_folder, write_text
folder = Path()  # nobody may not search the folders above
folder.chmod(0o555)
if os.geteuid() == 0:
    os.setgroups([])
    os.setuid(int(sys.argv[1]))
acts = [
    lambda: write_text(folder / "file", "new"),
    lambda: create_json(folder / "fact", 1),
    lambda: append_line(folder / "log", "line"),
    lambda: make_folder(folder / "below"),
]
for act in acts:
    try:
        act()
    except InputError as error:
        print(error)
"""


def test_forbidden_folder_is_an_input_error(tmp_path: Path) -> None:
    folder = tmp_path / "forbidden"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", _FORBIDDEN, str(NOBODY)], cwd=folder, check=False, capture_output=True, text=True
    )
    folder.chmod(0o755)
    hint = "hint: choose a folder that can be written"
    names = ["file", "fact", "log", "below"]
    assert done.stdout == "".join(f"{name}: permission denied\n  {hint}\n" for name in names), done.stderr
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("make", "path", "message"),
    [
        (lambda folder: None, "gone", "no such file"),
        (lambda folder: (folder / "below").mkdir(), "below", "is a folder, not a file"),
        (lambda folder: (folder / "bytes").write_bytes(b"ab\xff"), "bytes", "not UTF-8 text (byte 2)"),
        (lambda folder: (folder / "a").touch(), "a/b", "a part of the path is a file\n  hint: choose another folder"),
    ],
    ids=["missing", "folder", "bytes", "file in the path"],
)
def test_unreadable_file_is_an_input_error(
    tmp_path: Path, make: Callable[[Path], object], path: str, message: str
) -> None:
    make(tmp_path)
    with pytest.raises(InputError) as caught:
        read_text(tmp_path / path)
    assert str(caught.value) == f"{tmp_path / path}: {message}"


def test_file_in_the_way_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine")
    for act in (lambda: make_folder(tmp_path / "a"), lambda: write_text(tmp_path / "a" / "b", "x")):
        with pytest.raises(InputError, match="a part of the path is a file"):
            act()
    assert (tmp_path / "a").read_text() == "mine"


def test_lone_surrogate_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a letter of UTF-8 and cannot be written"):
        write_text(tmp_path / "file", os.fsdecode(b"\xff"))
    assert list(tmp_path.iterdir()) == []


def test_a_new_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "folder"
    with pytest.raises(InputError, match="gone"), new_folder(target) as beside:
        read_text(beside / "gone")
    assert list(target.parent.iterdir()) == []
    with new_folder(target) as beside:
        (beside / "whole").write_text("whole")
        assert not target.exists()
    assert [path.name for path in target.parent.iterdir()] == ["folder"]
    assert (target / "whole").read_text() == "whole"


def test_a_new_folder_replaces_another_only_when_told_to(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "mine").write_text("mine")
    with pytest.raises(InputError, match="something is here already"), new_folder(target) as beside:
        (beside / "new").write_text("new")
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "mine"]
    with new_folder(target, replace=True) as beside:
        (beside / "new").write_text("new")
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "new"]


def test_what_a_killed_writer_left_goes_and_a_living_one_is_spared(tmp_path: Path) -> None:
    code = "import os, sys; from pathlib import Path; from tuneloop.documents.files import new_folder\n"
    code += "with new_folder(Path(sys.argv[1])): os._exit(9)"
    target = tmp_path / "folder"
    subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    with new_folder(target) as living:
        assert list(tmp_path.iterdir()) == [living]
        with new_folder(target) as second:
            assert living.is_dir()
            (second / "first to end").touch()
        (living / "too late").touch()
        with pytest.raises(InputError), new_folder(target):
            pass
        (target / "first to end").unlink()
    assert [path.name for path in target.iterdir()] == ["too late"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_new_file_is_whole_or_not_there(tmp_path: Path) -> None:
    target = tmp_path / "file"
    with pytest.raises(InputError, match="gone"), new_file(target) as beside:
        read_text(beside.with_name("gone"))
    assert list(tmp_path.iterdir()) == []
    with new_file(target) as beside:
        beside.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [target]


def test_a_home_is_expanded_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert user_path("~/models/base") == Path("/home/me/models/base")
    assert user_path("~nobody.here/base") == Path("~nobody.here/base")
    assert user_path("data/~old") == Path("data/~old")


# Says when its file has begun, and then writes until it is killed.
_NEW_FILE = """
import sys, time
from pathlib import Path
from tuneloop.documents.files import new_file
with new_file(Path(sys.argv[1])) as beside:
    beside.write_text("half")
    print("begun", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_call_left_of_a_new_file_is_removed_by_the_next(tmp_path: Path) -> None:
    target = tmp_path / "file"
    argv = [sys.executable, "-c", _NEW_FILE, str(target)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        with new_file(target) as beside:
            beside.write_text("mine")
        assert len(list(tmp_path.iterdir())) == 2, "what a living call writes is left alone"
        writer.kill()
    with new_file(target) as beside:
        beside.write_text("whole")
    assert target.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.slow
def test_a_full_disk_leaves_no_half_folder(tiny_disk: Path) -> None:
    fill(tiny_disk)
    with pytest.raises(InputError, match="no space left"), new_folder(tiny_disk / "folder") as beside:
        (beside / "file").write_bytes(b"x" * 100_000)
    assert [path.name for path in tiny_disk.iterdir()] == ["ballast"]
