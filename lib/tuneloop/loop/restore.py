"""restore: an archive becomes a folder again, once every file in it has been checked. Nothing else is believed."""

import contextlib
import hashlib
import json
import os
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tuneloop.documents.errors import InputError, Problem
from tuneloop.documents.files import new_folder
from tuneloop.documents.shell import checked_name
from tuneloop.experiment.layout import SUMMARY
from tuneloop.loop.archive import MANIFEST, SCHEMA

_MOST_FAULTS = 5
_DAMAGED = (tarfile.TarError, EOFError, zlib.error, OSError, ValueError, KeyError, TypeError, AttributeError)
_AGAIN = "make the archive again, or copy it again from where it is whole"


@dataclass(frozen=True)
class Restored:
    folder: Path
    files: int
    bytes: int
    weights: bool


class _NotKeptError(Exception):
    """Ends a dry run: everything was checked, and nothing is to stay."""


def restore(source: Path, target: Path | None, *, keep: bool = True) -> Restored:
    """Unpack `source` beside `target`, check it against its manifest, and rename it into its place.

    Without `keep` nothing stays. Raises InputError with what is wrong with the archive; nothing is left then.
    """
    if not source.is_file():
        raise InputError(Problem("no such file", source))
    with _readable(source):
        folder = (target or Path(_name_in(source))).resolve()
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise InputError(Problem("something is here already", folder, hint="name another folder"))
    done: Restored | None = None
    with contextlib.suppress(_NotKeptError), new_folder(folder) as beside, _readable(source):
        manifest = _unpack(source, beside)
        files = _checked(source, beside, manifest)
        done = Restored(folder, len(files), sum(files.values()), bool(manifest.get("weights", True)))
        if not keep:
            raise _NotKeptError
    assert done is not None
    return done


@contextlib.contextmanager
def _readable(source: Path) -> Iterator[None]:
    """Turn what a damaged archive raises, whoever trips on it, into an InputError."""
    try:
        yield
    except _DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault, not the archive's
        raise InputError(Problem(f"damaged, or no archive: {error}", source, hint=_AGAIN)) from None


def _members(source: Path) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    with tarfile.open(source, "r:gz") as tar:
        for member in tar:
            yield tar, member


def _name_in(source: Path) -> str:
    """Return the folder that all members lie in."""
    for _, member in _members(source):
        name = PurePosixPath(member.name).parts[0] if member.name else ""
        with contextlib.suppress(ValueError):
            return checked_name(name)
        raise InputError(Problem(f"`{name}` in it is no name of an experiment", source, hint="name a folder to make"))
    raise InputError(Problem("the archive is empty", source, hint=_AGAIN))


def _unpack(source: Path, folder: Path) -> Mapping[str, Any]:
    """Write the archive's files into the folder; return its manifest. Raises InputError for what must not be there."""
    manifest: Mapping[str, Any] | None = None
    for tar, member in _members(source):
        if manifest is not None:
            raise _refused(source, member.name, "stands after the manifest")
        if member.name == MANIFEST and member.isreg():
            manifest = _read_manifest(source, tar, member)
            continue
        _extract(source, tar, member, folder)
    if manifest is None:
        raise InputError(Problem("it has no manifest: it was cut off, or is no archive of ours", source, hint=_AGAIN))
    return manifest


def _extract(source: Path, tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    parts = PurePosixPath(member.name).parts
    if not member.isreg():
        raise _refused(source, member.name, "is no plain file")
    if member.name.startswith("/") or ".." in parts or len(parts) < 2 or "\\" in member.name:
        raise _refused(source, member.name, "would land outside of the experiment")
    inside = copy(member)
    inside.name, inside.mode = "/".join(parts[1:]), member.mode & 0o755
    # Whoever made the archive is nobody here.
    inside.uid, inside.gid, inside.uname, inside.gname = os.getuid(), os.getgid(), "", ""
    if (folder / inside.name).exists():
        raise _refused(source, member.name, "stands in it twice")
    try:
        # Python before 3.11.4 has no filters; what they would refuse is refused above.
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        tar.extract(inside, folder)
    except tarfile.TarError as error:
        raise _refused(source, member.name, str(error)) from None


def _refused(source: Path, name: str, why: str) -> InputError:
    return InputError(Problem(f"`{name}` in it {why}", source, hint="do not use this archive: it was not made by us"))


def _read_manifest(source: Path, tar: tarfile.TarFile, member: tarfile.TarInfo) -> Mapping[str, Any]:
    file = tar.extractfile(member)
    value = json.loads(file.read()) if file is not None else None
    if not isinstance(value, dict) or value.get("schema") != SCHEMA or not isinstance(value.get("files"), dict):
        raise InputError(Problem("its manifest is not one of ours", source, hint=_AGAIN))
    return value


def _checked(source: Path, folder: Path, manifest: Mapping[str, Any]) -> dict[str, int]:
    """Return the files with their sizes. Raises InputError with every file that is not as the manifest says."""
    wanted = {name: str(item.get("sha256")) for name, item in manifest["files"].items()}
    there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    bad = [f"`{name}` in it is not as it was archived" for name in there if _sha256(there[name]) != wanted.get(name)]
    bad += [f"`{name}` is missing in it" for name in wanted.keys() - there.keys()]
    if SUMMARY not in wanted:
        bad.append(f"there is no `{SUMMARY}` in it")
    if bad:
        more = [f"and {len(bad) - _MOST_FAULTS} more"] if len(bad) > _MOST_FAULTS else []
        raise InputError([Problem(text, source, hint=_AGAIN) for text in [*bad[:_MOST_FAULTS], *more]])
    return {name: path.stat().st_size for name, path in there.items()}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
