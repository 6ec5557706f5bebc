"""Keys of a document against the schemas that read them, and its YAML and JSON blocks by their loaders."""

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

from docs_reading import ROOT, SHELL, blocks, head_and_body, inline_codes
from pydantic import BaseModel, TypeAdapter, ValidationError

from tuneloop.documents.config import Config
from tuneloop.documents.errors import InputError
from tuneloop.documents.schema import Schema, validate
from tuneloop.documents.yamltext import load_yaml
from tuneloop.experiment.design import Design
from tuneloop.experiment.design import faults as design_faults
from tuneloop.librarian.pack import AgentHead, CommandHead, SkillHead
from tuneloop.workers.torchtune.fields import FIELDS

OPEN = ("controls", "variables", "runs.set")  # whose keys are the worker's fields
DATA = ("jsonl", "csv")  # read by test_docs_data.py
READ = {"", "text", "markdown", "yaml", "json", *DATA, *SHELL}  # the kinds of a block that somebody looks at
# What stands before a colon and is no key: origins as `tuneloop explain` prints them.
ORIGINS = {"design", "machine", "preset"}
_DOTTED = re.compile(r"[a-z_]+(\.[a-z_]+)+")
_SNAKE = re.compile(r"[a-z0-9]+(_[a-z0-9]+)+")
_PAIR = re.compile(r"([a-z_]+):(?: (.+))?")
_FILE = re.compile(r".*\.(csv|html|json|jsonl|md|py|yaml|toml|txt|sh|slurm|jinja|eval|parquet|safetensors|log)")
# The least that makes a fragment a whole design.
_REST = {"schema": "tuneloop.experiment/1", "name": "a", "question": "b?", "model": "c"}
_DATA = [{"split": "train", "path": "d.jsonl"}]


def faults(text: str, source: Path) -> list[str]:
    return [*key_faults(text), *block_faults(text, source)]


def key_faults(text: str) -> Iterator[str]:
    for code in inline_codes(head_and_body(text)[1]):
        if _FILE.fullmatch(code):
            continue
        if _DOTTED.fullmatch(code):
            if not is_key(code) and not _is_module(code):
                yield f"no such key: {code}"
        elif _SNAKE.fullmatch(code):
            if code not in words_of_the_library():
                yield f"nothing is called {code}"
        elif pair := _PAIR.fullmatch(code):
            yield from _pair_faults(pair[1], pair[2])


def _pair_faults(name: str, value: str | None) -> Iterator[str]:
    if name in ORIGINS and (value or "").endswith("…"):
        return
    if not (name in FIELDS or name == "torchtune" or _fields_named(name)):
        yield f"no such key: {name}:"
    elif value is not None and "…" not in value and not _fits(name, load_yaml(value)):
        yield f"no value of {name}: {value}"


def _fits(name: str, value: Any) -> bool:
    """Tell whether one of the schemas' fields of this name, or the worker's, takes the value."""
    if name in FIELDS and FIELDS[name].fault(value) is None:
        return True
    for annotation in _fields_named(name):
        try:
            TypeAdapter(annotation).validate_python(value, strict=True)
        except ValidationError:
            continue
        return True
    return False


def is_key(dotted: str) -> bool:
    """Tell whether a design or a configuration has the key, or the head of a skill."""
    if dotted in schema_keys():
        return True
    above, _, last = dotted.rpartition(".")
    return above in OPEN and (last in FIELDS or last == "torchtune")


@cache
def schema_keys() -> dict[str, Any]:
    """Return every dotted key of what people write, with the annotation of its field."""
    return {
        key: field for schema in (Design, Config, SkillHead, CommandHead, AgentHead) for key, field in _keys(schema)
    }


def _keys(schema: type[BaseModel], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in schema.model_fields.items():
        key = f"{above}{field.alias or name}"
        yield key, field.annotation
        for inner in _schemas(field.annotation):
            yield from _keys(inner, f"{key}.")


def _schemas(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the schemas in an annotation; names that people choose, such as a cluster's, are left out of the key."""
    if isinstance(annotation, type) and issubclass(annotation, Schema):
        yield annotation
    for item in get_args(annotation):
        yield from _schemas(item)


def _fields_named(name: str) -> list[Any]:
    return [annotation for key, annotation in schema_keys().items() if key.rpartition(".")[2] == name]


def _is_module(dotted: str) -> bool:
    """Tell whether a dotted name is a module or an entry-point group of the library."""
    return dotted.startswith("tuneloop.") and find_spec(dotted) is not None


@cache
def words_of_the_library() -> frozenset[str]:
    """Return every name and every word of a text in the library's source, and the keys of the schemas."""
    found = set(FIELDS) | {part for key in schema_keys() for part in key.split(".")}
    for path in [*(ROOT / "lib").rglob("*.py"), *(ROOT / "examples").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= set(re.findall(r"\w+", node.value))
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.arg):
                found.add(node.arg)
    return frozenset(found)


def block_faults(text: str, source: Path) -> Iterator[str]:
    """Yield what is wrong with the blocks that a loader reads, and blocks of a kind that nobody reads."""
    for block in blocks(text):
        if block.kind not in READ:
            yield f"nobody reads a block of the kind {block.kind}"
        elif block.kind == "json":
            yield from _json_faults(block.text)
        elif block.kind == "yaml":
            yield from _yaml_faults(block.text, source)


def _json_faults(text: str) -> Iterator[str]:
    try:
        json.loads(text)
    except ValueError as error:
        yield f"JSON: {error}"


def _yaml_faults(text: str, source: Path) -> Iterator[str]:
    """Read a block as a part of a design or of a configuration, whichever has its keys."""
    try:
        value = load_yaml(text, source)
        if not isinstance(value, dict):
            yield f"YAML without keys: {text}"
        elif set(value) & set(Config.model_fields):
            validate(Config, value, source)
        else:
            design = validate(Design, {**_REST, "data": _DATA, **value}, source)
            yield from (fault.message for fault in design_faults(design))
    except InputError as error:
        yield str(error)
