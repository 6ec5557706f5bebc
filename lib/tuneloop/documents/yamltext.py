"""YAML as people write it: `3e-4` is a number, `no` is a word, two equal keys are an error.

PyYAML follows YAML 1.1, where `3e-4` is a string and `no` is false, and keeps the last of two equal
keys in silence. Reading and writing share one resolver here, so that what is written reads back the same.
"""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from tuneloop.documents.errors import InputError, Problem

_FLOAT = re.compile(
    r"""^(?:[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+]?[0-9]+)?
    |[-+]?(?:[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)
    |[-+]?\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?
    |[-+]?\.(?:inf|Inf|INF)
    |\.(?:nan|NaN|NAN))$""",
    re.VERBOSE,
)
_BOOL = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")

Path_ = tuple[str | int, ...]


class _Loader(yaml.CSafeLoader):
    """PyYAML's fast safe loader with YAML 1.2 scalars and no duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            name = str(key.value)
            line = key.start_mark.line + 1
            if name in seen:
                raise _DuplicateKeyError(name, line, seen[name])
            seen[name] = line
        return super().construct_mapping(node, deep)


class _Dumper(yaml.CSafeDumper):
    """Quotes whatever `_Loader` would read as a number."""


class _DuplicateKeyError(yaml.YAMLError):
    def __init__(self, key: str, line: int, first: int) -> None:
        self.key, self.line, self.first = key, line, first
        super().__init__(f"duplicate key {key}")


def _replace_resolver(cls: Any, tag: str, pattern: re.Pattern[str], first: str) -> None:
    cls.yaml_implicit_resolvers = {
        letter: [pair for pair in pairs if pair[0] != tag] for letter, pairs in cls.yaml_implicit_resolvers.items()
    }
    cls.add_implicit_resolver(tag, pattern, list(first))


for _cls in (_Loader, _Dumper):
    _replace_resolver(_cls, "tag:yaml.org,2002:float", _FLOAT, "-+0123456789.")
    _replace_resolver(_cls, "tag:yaml.org,2002:bool", _BOOL, "tTfF")
    # Dates stay text: a JSON document has none.
    _replace_resolver(_cls, "tag:yaml.org,2002:timestamp", re.compile(r"^\b\B$"), "0")


def load_yaml(text: str, source: Path | None = None, first_line: int = 1) -> Any:
    """Return the value of one YAML document.

    `first_line` is the line of the file at which `text` begins. Raises InputError with the line of the fault.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 (a subclass of the safe loader)
    except _DuplicateKeyError as error:
        line, first = error.line + first_line - 1, error.first + first_line - 1
        raise InputError(
            Problem(
                f"duplicate key `{error.key}`",
                source,
                line,
                key=error.key,
                hint=f"it stands on line {first} already",
            )
        ) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        last = max(0, len(text.splitlines()) - 1)  # what is never closed is found behind the last line
        found = None if mark is None else min(mark.line, last) + first_line
        raise InputError(Problem(f"not YAML: {_words(error)}", source, found, hint=_repair(error))) from None
    except yaml.YAMLError as error:
        hint = "take the character out, or write it as an escape in double quotes"
        raise InputError(Problem(f"not YAML: {error}", source, first_line, hint=hint)) from None


def _repair(error: yaml.MarkedYAMLError) -> str:
    """Return what to look for: PyYAML names where it stumbled, which is behind the slip itself."""
    words = _words(error)
    for said, hint in _REPAIRS:
        if said in words:
            return hint
    return "look at this line and the one before: a quote, bracket or colon, or the indentation"


_REPAIRS = [
    ("found character '\\t'", "indent with blanks, not with tabs"),
    ("mapping values are not allowed", "put text with a colon in quotes, and indent keys of one level alike"),
    ("unexpected end of stream", "close the quote that is open"),
    ("unknown escape", "write a backslash twice, or use single quotes"),
    ("undefined alias", "put text that begins with `*` in quotes"),
    ("could not determine a constructor", "put text that begins with `!` in quotes"),
    ("cannot start any token", "put text that begins with this character in quotes"),
    ("expected ',' or", "close the bracket or brace, and put a comma between its items"),
    ("did not find expected", "close what is open, and indent keys of one level alike"),
]


def _words(error: yaml.MarkedYAMLError) -> str:
    # Some problems are half a sentence: "expected a single document in the stream", "but found another document".
    parts = [error.context, error.problem] if (error.problem or "").startswith("but ") else [error.problem]
    return ", ".join(part for part in parts if part) or str(error.context)


def dump_yaml(value: Any) -> str:
    """Return `value` as YAML in the order of its keys, innermost lists and mappings on one line."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)


def lines_of(text: str, first_line: int = 1) -> dict[Path_, int]:
    """Return the line of every key and list item in `text`, by path."""
    found: dict[Path_, int] = {}

    def walk(node: yaml.Node, path: Path_) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                here = (*path, str(key.value))
                found[here] = key.start_mark.line + first_line
                walk(value, here)
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                here = (*path, index)
                found[here] = value.start_mark.line + first_line
                walk(value, here)

    root = yaml.compose(text, Loader=_Loader)
    if root is not None:
        walk(root, ())
    return found
