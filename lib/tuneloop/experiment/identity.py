"""Identity: the digest of all that decides a run's result.

Small files are hashed whole. A weight file over 64 MB is known by its size and its first and last MiB: reading
16 GB for every scaffold would cost minutes, and a retrained checkpoint differs in all of them.
"""

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import InputError, Problem

_WHOLE = 64 * 2**20
_EDGE = 2**20
_LENGTH = 16  # hex digits of a digest that people see


def digest(value: Any) -> str:
    """Return a short digest of JSON data; equal data give equal digests, whatever the order of keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]


def file_hash(path: Path) -> str:
    """Return `sha256:<hex>` of a file's bytes. Raises InputError when it cannot be read."""
    try:
        stat = path.stat()
        return _file_hash(path, stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        raise InputError(Problem(error.strerror or str(error), path)) from None


@lru_cache(maxsize=4096)
def _file_hash(path: Path, _changed: int, _size: int) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def model_hash(folder: Path) -> str:
    """Return the digest of a model folder: config, tokenizer and weights. Raises InputError without a folder."""
    if not folder.is_dir():
        raise InputError(Problem("no such model folder", folder))
    parts = {}
    for path in sorted(folder.iterdir()):
        if path.suffix in {".json", ".safetensors", ".bin", ".pt", ".jinja", ".txt", ".model"}:
            parts[path.name] = _weights_mark(path) if path.stat().st_size > _WHOLE else file_hash(path)
    return digest(parts)


def _weights_mark(path: Path) -> str:
    size = path.stat().st_size
    with path.open("rb") as file:
        edges = hashlib.sha256(file.read(_EDGE))
        file.seek(size - _EDGE)
        edges.update(file.read(_EDGE))
    return f"{size}:{edges.hexdigest()}"
