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

_TAG = "tag:yaml.org,2002:"
_INT, _FLOATING = f"{_TAG}int", f"{_TAG}float"
_TAGS = {
    yaml.ScalarNode: {_TAG + name for name in ("str", "int", "float", "bool", "null", "merge")},
    yaml.SequenceNode: {f"{_TAG}seq"},
    yaml.MappingNode: {f"{_TAG}map"},
}
# A design has some dozens of values, five deep; aliases can make a short text stand for billions.
_DEEPEST, _MOST = 40, 200_000
_NO_TEXT = re.compile("[\0\ud800-\udfff]")  # no file name, script or UTF-8 file can hold them
# What PyYAML says, and what to look for.
_REPAIRS = [
    ("mapping values are not allowed", "put text with a colon in quotes, and indent keys of one level alike"),
    ("unexpected end of stream", "close the quote that is open"),
    ("unknown escape", "write a backslash twice, or use single quotes"),
    ("undefined alias", "put text that begins with `*` in quotes"),
    ("is not known here", "put text that begins with `!` in quotes"),
    ("cannot start any token", "indent with blanks, not tabs; put text that begins with a mark in quotes"),
    ("an alias stands", "write the value out instead of the alias"),
    ("levels deep", "write fewer levels"),
    ("it stands for more than", "write the values out instead of aliases of aliases"),
    ("a character that no file", "take the escape out"),
    ("is no number", "put it in quotes if it is text"),
    ("found another document", "take the second `---` out"),
    ("unhashable key", "put text that begins with a bracket or brace in quotes"),
    ("expected ',' or", "close the bracket or brace, and put a comma between its items"),
    ("did not find expected", "close what is open, and indent keys of one level alike"),
]


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

    def number(self, node: yaml.ScalarNode) -> Any:
        try:
            whole = node.tag == _INT
            return self.construct_yaml_int(node) if whole else self.construct_yaml_float(node)
        except ValueError:
            raise _refused(f"`{_short(node.value)}` is no number that can be read", node) from None


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
    # Dates stay text: a JSON document has none. So does a single `=`.
    _replace_resolver(_cls, "tag:yaml.org,2002:timestamp", re.compile(r"^\b\B$"), "0")
    _replace_resolver(_cls, "tag:yaml.org,2002:value", re.compile(r"^\b\B$"), "=")
for _tag in (_INT, _FLOATING):
    _Loader.add_constructor(_tag, _Loader.number)


def load_yaml(text: str, source: Path | None = None, first_line: int = 1) -> Any:
    """Return the value of one YAML document.

    `first_line` is the line of the file at which `text` begins. Raises InputError with the line of the fault.
    """
    try:
        return _loaded(text)
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


def _loaded(text: str) -> Any:
    _check_depth(text)
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _check(node, frozenset(), {})
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _check_depth(text: str) -> None:
    """Look at depth before anything is composed: libyaml's composer recurses in C and crashes Python."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise _refused(f"more than {_DEEPEST} levels deep", event)


def _check(node: yaml.Node, above: frozenset[int], counted: dict[int, int]) -> int:
    """Return how many values a node stands for, or raise for what nobody writes into a document on purpose."""
    if id(node) in above:
        raise _refused("an alias stands inside its own anchor", node)
    if node.tag not in _TAGS[type(node)] or (node.tag == f"{_TAG}bool" and not _BOOL.match(node.value)):
        raise _refused(f"the tag `{_short(node.tag)}` is not known here", node)
    if isinstance(node, yaml.ScalarNode):
        if _NO_TEXT.search(node.value):
            raise _refused("a character that no file can hold", node)
        return 1
    if id(node) not in counted:
        pairs = isinstance(node, yaml.MappingNode)
        inner = [item for pair in node.value for item in pair] if pairs else node.value
        above = above | {id(node)}
        counted[id(node)] = 1 + sum(_check(item, above, counted) for item in inner)
        if counted[id(node)] > _MOST:
            raise _refused(f"it stands for more than {_MOST:,} values", node)
    return counted[id(node)]


def _refused(message: str, node: Any) -> yaml.MarkedYAMLError:
    """Return an error at the place of a node or an event."""
    return yaml.MarkedYAMLError(problem=message, problem_mark=node.start_mark)


def _short(text: str) -> str:
    return text if len(text) < 40 else f"{text[:37]}..."


def _repair(error: yaml.MarkedYAMLError) -> str:
    """Return what to look for: PyYAML names where it stumbled, which is behind the slip itself."""
    words = _words(error)
    for said, hint in _REPAIRS:
        if said in words:
            return hint
    return "look at this line and the one before: a quote, bracket or colon, or the indentation"


def _words(error: yaml.MarkedYAMLError) -> str:
    if "maximum nesting depth" in (error.problem or ""):  # the parser's own limit, which PyYAML has since 6.0.4
        return f"more than {_DEEPEST} levels deep"
    # Some problems are half a sentence: "expected a single document in the stream", "but found another document".
    parts = [error.context, error.problem] if (error.problem or "").startswith("but ") else [error.problem]
    return ", ".join(part for part in parts if part) or str(error.context)


def dump_yaml(value: Any) -> str:
    """Return `value` as YAML in the order of its keys, innermost lists and mappings on one line."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)


def dump_line(value: Any) -> str:
    """Return `value` as YAML on one line, as it stands between braces."""
    text: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**6, default_flow_style=True
    )
    return text.strip()


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
