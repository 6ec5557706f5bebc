"""Files that are whole or not there: the only module that writes.

A file is written beside its place, synced and renamed over it, so a reader or a crash never sees half of it.
What can be made again at any time (generated configs and scripts) skips the sync: a power cut may lose it,
a kill cannot.
"""

import contextlib
import errno
import fcntl
import glob
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import InputError, Problem

_CAUSES = {
    errno.ENOSPC: ("no space left on the device", "free some space and run the same command again"),
    errno.EROFS: ("the file system is read-only", "choose a folder that can be written"),
    errno.EACCES: ("permission denied", "choose a folder that can be written"),
    errno.EPERM: ("permission denied", "choose a folder that can be written"),
    errno.EEXIST: ("a part of the path is a file", "choose another folder"),
    errno.ENOTDIR: ("a part of the path is a file", "choose another folder"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter name"),
    errno.EDQUOT: ("the disk quota is used up", "free some space and run the same command again"),
}
_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP)  # EPERM is what FAT says


class NoLinksError(Exception):
    """The file system has no links: a copy must do."""


def user_path(text: str) -> Path:
    """Return a path as it is written, `~` as the home that it stands for; of a user whom nobody knows it stays."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 (pathlib's own raises RuntimeError for such a user)


def read_text(path: Path) -> str:
    """Return the file's text, line ends as they are. Raises InputError when it cannot be read."""
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise InputError(Problem(f"not UTF-8 text (byte {error.start})", path)) from None


def read_bytes(path: Path) -> bytes:
    """Return the file's bytes. Raises InputError when it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(Problem("no such file", path)) from None
    except IsADirectoryError:
        raise InputError(Problem("is a folder, not a file", path)) from None
    except OSError as error:
        raise input_error(error, path) from None


def write_text(path: Path, text: str, *, mode: int = 0o644, sync: bool = True) -> bool:
    """Make the file hold `text`; return whether it changed. Raises InputError when it cannot be written."""
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            Problem(f"{text[error.start]!r} is not a letter of UTF-8 and cannot be written", path)
        ) from None
    return write_bytes(path, data, mode=mode, sync=sync)


def write_bytes(path: Path, data: bytes, *, mode: int = 0o644, sync: bool = True) -> bool:
    """Make the file hold `data`; return whether it changed. Raises InputError when it cannot be written."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        if file.read() == data and path.stat().st_mode & 0o777 == mode:
            return False
    with _as_input_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                os.fchmod(file.fileno(), mode)
                if sync:
                    file.flush()
                    os.fsync(file.fileno())
            Path(beside).replace(path)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
        if sync:
            _sync_folder(path.parent)
    return True


def write_json(path: Path, value: Any, *, sync: bool = True) -> bool:
    return write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n", sync=sync)


def create_json(path: Path, value: Any) -> None:
    """Write a file that must not exist yet, whole or not at all. Raises FileExistsError when it does."""
    create_text(path, json.dumps(value))


def create_text(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Write a file that must not exist yet, whole or not at all. Raises FileExistsError when it does."""
    with _as_input_error(path, but=FileExistsError):
        handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".tmp")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                file.write(text)
                os.fchmod(file.fileno(), mode)
                file.flush()
                os.fsync(file.fileno())
            # A link fails where a rename would replace.
            os.link(beside, path)
        finally:
            Path(beside).unlink(missing_ok=True)


def append_line(path: Path, line: str, torn: str = "") -> None:
    """Add one line and return when it is on the disk; a torn last line is ended first, with the mark `torn`."""
    with _as_input_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            if file.tell() > 0:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    line = f"{torn}\n{line}"
            file.write(f"{line}\n".encode())
            file.flush()
            os.fsync(file.fileno())


def make_folder(path: Path) -> None:
    with _as_input_error(path):
        path.mkdir(parents=True, exist_ok=True)


def put_text(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Make the file hold `text`, in a folder of somebody else: even a killed call leaves nothing after the next one.

    Raises InputError when it cannot be written.
    """
    with new_file(path, mode=mode) as beside:
        beside.write_bytes(text.encode())


def make_link(path: Path, target: str) -> None:
    """Make a link where nothing is. Raises NoLinksError on a file system without links, InputError when refused."""
    try:
        path.symlink_to(target)
    except OSError as error:
        if error.errno in _NO_LINKS:
            raise NoLinksError(path) from None
        raise input_error(error, path) from None


def copy_folder(source: Path, path: Path, *, replace: bool = False) -> None:
    """Copy the files below `source`, whole or not at all. Raises InputError as `new_folder` does."""
    with new_folder(path, replace=replace) as beside:
        for file in sorted(source.rglob("*")):
            place = beside / file.relative_to(source)
            if file.is_dir():
                place.mkdir(exist_ok=True)
            elif "__pycache__" not in place.parts:
                write_bytes(place, file.read_bytes(), mode=0o755 if os.access(file, os.X_OK) else 0o644, sync=False)


def remove_left(path: Path) -> None:
    """Remove what killed calls left beside `path`. Raises InputError when it cannot be removed."""
    with _as_input_error(path):
        _remove_left(path)


def remove_file(path: Path) -> None:
    """Remove a file or a link, if it is there. Raises InputError when it cannot be removed."""
    with _as_input_error(path):
        path.unlink(missing_ok=True)


def remove_folder(path: Path) -> None:
    """Remove a folder and all in it, if it is there: it leaves its place at once, by a rename.

    Raises InputError when it cannot be removed.
    """
    with _as_input_error(path):
        if path.is_dir():
            old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f"{_left(path)}.", suffix=".tmp"))
            path.rename(old)  # over an empty folder
            shutil.rmtree(old)


def remove_if_empty(path: Path) -> None:
    """Remove a folder in which nothing is left. Raises InputError when it cannot be removed."""
    with _as_input_error(path):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


@contextlib.contextmanager
def new_file(path: Path, *, mode: int = 0o644) -> Iterator[Path]:
    """Yield a place beside `path` for a file that a tool writes; at the end it is synced and renamed over `path`.

    Nothing is left of it when the block fails, and what a killed call left is removed by the next one. Raises
    InputError when it cannot be written.
    """
    with _as_input_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_left(path)
        beside, handle = _claimed(path, folder=False)
        try:
            yield beside
            os.fchmod(handle, mode)
            os.fsync(handle)
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        finally:
            os.close(handle)
        _sync_folder(path.parent)


@contextlib.contextmanager
def new_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a folder beside `path` to be filled; at the end it is renamed into its place.

    Nothing is left of it when the block fails, and what a killed call left is removed by the next one. With
    `replace` it takes the place of the folder that is there; killed between the two renames, there is none.
    Raises InputError when `path` holds something and is not to be replaced.
    """
    with _as_input_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_left(path)
        beside, lock = _claimed(path, folder=True)
        try:
            beside.chmod(0o755)
            yield beside
            _put_in_place(beside, path, replace=replace)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
            os.close(lock)


def _claimed(path: Path, *, folder: bool) -> tuple[Path, int]:
    """Make a file or folder beside `path` and lock it, so that nobody takes it for one that a killed call left."""
    while True:
        beside, handle = _made(path, folder=folder)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if beside.exists():  # else it was removed before it was locked
                return beside, handle
        os.close(handle)


def _made(path: Path, *, folder: bool) -> tuple[Path, int]:
    prefix, suffix = f"{_left(path)}.", ".tmp"
    if folder:
        beside = Path(tempfile.mkdtemp(suffix, prefix, path.parent))
        return beside, os.open(beside, os.O_RDONLY)
    handle, name = tempfile.mkstemp(suffix, prefix, path.parent)
    return Path(name), handle


def _remove_left(path: Path) -> None:
    for left in path.parent.glob(f"{glob.escape(_left(path))}.*.tmp"):
        with contextlib.suppress(FileNotFoundError):  # another call was quicker
            if not left.is_symlink() and (left.is_dir() or left.is_file()):
                _remove_unlocked(left)


def _remove_unlocked(left: Path) -> None:
    lock = os.open(left, os.O_RDONLY)
    try:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink()
    finally:
        os.close(lock)


def _left(path: Path) -> str:
    return f".{path.name[:40]}.new"


def _put_in_place(folder: Path, path: Path, *, replace: bool) -> None:
    if replace and path.is_dir():
        old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f"{_left(path)}.", suffix=".tmp"))
        path.rename(old / path.name)
        folder.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    else:
        try:
            folder.rename(path)  # over an empty folder at most
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            raise InputError(Problem("something is here already", path, hint="choose another name")) from None
    _sync_folder(path.parent)


@contextlib.contextmanager
def _as_input_error(path: Path, but: type[OSError] | tuple[()] = ()) -> Iterator[None]:
    try:
        yield
    except but:
        raise
    except OSError as error:
        raise input_error(error, path) from None


def input_error(error: OSError, path: Path) -> InputError:
    """Return what the system refused as an error of the family, with what to do about it."""
    message, hint = _CAUSES.get(error.errno or 0, (error.strerror or str(error), None))
    return InputError(Problem(message, path, hint=hint))


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
