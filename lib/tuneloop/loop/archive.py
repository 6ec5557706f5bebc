"""archive: an experiment as one file, with a manifest of sha256 for everything in it.

The manifest is the last member, so every byte is read once; an archive that was cut off has none and is refused.
Model and data outside of the experiment stay where they are: the records name them with their hashes.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import tuneloop
from tuneloop.documents.errors import InputError, Problem
from tuneloop.documents.files import new_file
from tuneloop.documents.logs import timestamp
from tuneloop.experiment.layout import Layout, cleaned_in
from tuneloop.experiment.read import Experiment
from tuneloop.jobs.board import Board
from tuneloop.loop.retention import cleaned_record, merged_models, refuse_going, resume_files, weights_in

MANIFEST = "tuneloop-archive.json"
SCHEMA = "tuneloop.archive/1"
_LEVEL = 6  # of gzip; weights hardly shrink, and 9 takes twice the time


@dataclass(frozen=True)
class ArchivePlan:
    layout: Layout
    target: Path
    files: tuple[Path, ...]
    notes: Mapping[Path, bytes]  # files that are in the archive alone: what the left-out weights were
    left_out: tuple[str, ...]  # links, relative
    weights: bool
    bytes: int


def plan_archive(experiment: Experiment, board: Board, target: Path, *, weights: bool) -> ArchivePlan:
    """Return what would be packed. Raises BusyError while jobs are going, InputError where `target` cannot be."""
    layout = experiment.layout
    refuse_going(experiment, board)
    if target.exists():
        raise InputError(Problem("something is here already", target, hint="choose another name"))
    if target.resolve().is_relative_to(layout.folder):
        raise InputError(
            Problem("an archive cannot lie in the experiment itself", target, hint="choose another folder")
        )
    skipped, notes = (set(), {}) if weights else _without_weights(layout, board)
    files, links = [], []
    for path in sorted(layout.folder.rglob("*")):
        if path.is_symlink():
            links.append(layout.relative(path))
        elif path.is_file() and path not in skipped and not _left_by_a_kill(path):
            files.append(path)
    size = sum(path.stat().st_size for path in files)
    return ArchivePlan(layout, target, tuple(files), notes, tuple(links), weights, size)


def write_archive(plan: ArchivePlan) -> None:
    """Write the archive beside its place, then rename it. Raises InputError when it cannot be written."""
    hashes: dict[str, dict[str, object]] = {}
    with (
        new_file(plan.target) as beside,
        tarfile.open(beside, "w:gz", format=tarfile.PAX_FORMAT, compresslevel=_LEVEL) as tar,
    ):
        for path in plan.files:
            name = plan.layout.relative(path)
            hashes[name] = _add_file(tar, path, _member(plan, name))
        for path, data in plan.notes.items():
            name = plan.layout.relative(path)
            _add(tar, _member(plan, name), data)
            hashes[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        _add(tar, MANIFEST, json.dumps(_manifest(plan, hashes), indent=1).encode())


def as_data(plan: ArchivePlan) -> dict[str, object]:
    return {
        "archive": str(plan.target.resolve()),
        "files": len(plan.files) + len(plan.notes),
        "bytes": plan.bytes,
        "weights": plan.weights,
        "left_out": list(plan.left_out),
    }


def _left_by_a_kill(path: Path) -> bool:
    """Tell whether the file is one that was being written beside its place."""
    return path.name.startswith(".") and path.name.endswith(".tmp")


def _manifest(plan: ArchivePlan, files: Mapping[str, object]) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "name": plan.layout.name,
        "time": timestamp(),
        "tuneloop": tuneloop.__version__,
        "weights": plan.weights,
        "left_out": list(plan.left_out),
        "files": dict(files),
    }


def _member(plan: ArchivePlan, name: str) -> str:
    return f"{plan.layout.name}/{name}"


def _add_file(tar: tarfile.TarFile, path: Path, name: str) -> dict[str, object]:
    with path.open("rb") as file:
        read = _Hashed(file)
        info = tar.gettarinfo(fileobj=file)
        # Attempts share weights as hard links; in here each file stands for itself.
        info.type, info.linkname, info.name, info.size = tarfile.REGTYPE, "", name, path.stat().st_size
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        tar.addfile(info, read)
    return {"sha256": read.hexdigest(), "bytes": info.size}


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o644
    tar.addfile(info, io.BytesIO(data))


def _without_weights(layout: Layout, board: Board) -> tuple[set[Path], dict[Path, bytes]]:
    """Return the files that stay out, and for each checkpoint the record of what its weights were."""
    skipped: set[Path] = set()
    notes: dict[Path, bytes] = {}
    for checkpoint in _checkpoints(layout, board):
        own = weights_in(checkpoint)
        skipped.update(own)
        if own and not cleaned_in(checkpoint).is_file():
            record = cleaned_record(checkpoint, "archived without weights")
            notes[cleaned_in(checkpoint)] = (json.dumps(record, indent=1) + "\n").encode()
    folders = [folder for spec in board.specs for folder in resume_files(layout.folder / spec.attempts)]
    for folder in [*folders, *merged_models(layout)]:
        skipped.update(path for path in folder.rglob("*") if path.is_file())
    return skipped, notes


def _checkpoints(layout: Layout, board: Board) -> Iterator[Path]:
    for spec in board.specs:
        if any(made.startswith("checkpoint:") for made in spec.makes):
            yield from layout.made_by(spec)
    yield from (path for path in layout.replaced.rglob("epoch_*") if path.is_dir())


class _Hashed(io.RawIOBase):
    """A file that hashes what is read of it, so that a file which changes meanwhile is not vouched for."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file, self._hash = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._hash.update(data)
        return data

    def hexdigest(self) -> str:
        return self._hash.hexdigest()
