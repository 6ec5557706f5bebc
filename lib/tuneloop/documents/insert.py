"""A new entry in a YAML file of a person's: one block is added, and every other byte stays where it was."""

import textwrap
from collections.abc import Mapping
from typing import Any

import yaml

from tuneloop.documents.errors import InputError
from tuneloop.documents.yamltext import dump_line, dump_yaml, load_yaml

_INDENT = 2  # blanks, where the file shows no habit of its own


def with_entry(text: str, section: str, name: str, value: Mapping[str, Any]) -> str:
    """Return a mapping's text with `name: value` as the last entry of its key `section`, made where it lacks.

    Raises InputError, with the lines to add by hand, where the text is of a form that cannot be added to safely.
    """
    before = load_yaml(text) or {}
    wanted = {**before, section: {**(before.get(section) or {}), name: value}}
    changed = _changed(text, section, name, value)
    try:
        fine = load_yaml(changed) == wanted
    except InputError:
        fine = False
    if not fine:
        lines = as_block(section, name, value).rstrip()
        raise InputError("nothing can be added to a file of this form", hint=f"add it by hand:\n{lines}")
    return changed


def as_block(section: str, name: str, value: Mapping[str, Any]) -> str:
    """Return the lines of the entry in a section of its own."""
    return f"{section}:\n{_block(name, value, _INDENT)}"


def _changed(text: str, section: str, name: str, value: Mapping[str, Any]) -> str:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    found = next(((key, node) for key, node in pairs if key.value == section), None)
    if found is None:
        return _after(text, len(text.splitlines()), as_block(section, name, value))
    key, node = found
    if isinstance(node, yaml.MappingNode) and node.flow_style:
        return _into_braces(text, node, {name: value})
    if isinstance(node, yaml.MappingNode):
        return _after(text, _last_line(node) + 1, _block(name, value, node.start_mark.column))
    return _after(text, key.start_mark.line + 1, _block(name, value, _INDENT))  # a key without a value


def _block(name: str, value: Mapping[str, Any], indent: int) -> str:
    return textwrap.indent(dump_yaml({name: dict(value)}), " " * indent)


def _after(text: str, count: int, block: str) -> str:
    """Put a block behind the first `count` lines, with the line ends of the file."""
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines(keepends=True)
    above, below = "".join(lines[:count]), "".join(lines[count:])
    if above and not above.endswith("\n"):
        above += newline
    return above + block.replace("\n", newline) + below


def _into_braces(text: str, node: yaml.MappingNode, entry: Mapping[str, Any]) -> str:
    end = node.end_mark.index - 1  # of the closing brace
    line = dump_line(dict(entry))
    above = text[:end].rstrip()
    comma = "" if above.endswith(("{", ",")) else ","
    return f"{above}{comma}{' ' if node.value else ''}{line[1:-1]}{text[len(above) :]}"


def _last_line(node: yaml.Node) -> int:
    """Return the last line of a value: a block ends where the next thing begins, so its last leaf tells."""
    if isinstance(node, yaml.CollectionNode) and node.value and not node.flow_style:
        last = node.value[-1]
        return max(_last_line(item) for item in (last if isinstance(last, tuple) else (last,)))
    end = node.end_mark
    return int(end.line - 1 if end.column == 0 and end.line > node.start_mark.line else end.line)
