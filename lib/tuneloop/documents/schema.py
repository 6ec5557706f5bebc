"""Typed heads: unknown keys are errors, and every fault has its line and a suggestion."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from tuneloop.documents.errors import InputError, Problem, did_you_mean

S = TypeVar("S", bound="Schema")
_Loc = tuple[str | int, ...]


class Schema(BaseModel):
    """Base of everything that is read from a document: frozen, strict about types, closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def validate(schema: type[S], value: object, source: Path | None = None, lines: Mapping[_Loc, int] | None = None) -> S:
    """Return `value` as `schema`, or raise one InputError with every fault in it."""
    if not isinstance(value, dict):
        kind = "nothing" if value is None else type(value).__name__
        raise InputError(Problem(f"expected keys and values, found {kind}", source, line=1))
    try:
        return schema.model_validate(value)
    except ValidationError as error:
        raise InputError(_problems(error, schema, source, lines or {})) from None


def _problems(
    error: ValidationError, schema: type[BaseModel], source: Path | None, lines: Mapping[_Loc, int]
) -> list[Problem]:
    faults = [(_path(fault), fault) for fault in error.errors(include_url=False)]
    found = []
    for loc, fault in faults:
        if any(other[: len(loc)] == loc and len(other) > len(loc) for other, _ in faults):
            continue  # another branch of a union; the faults below are of the branch that was meant
        key = ".".join(str(part) for part in loc)
        message, hint = _words(fault, loc, schema)
        found.append(Problem(message, source, _line(loc, lines), key=key or None, hint=hint))
    return list(dict.fromkeys(found))


def _path(fault: Any) -> _Loc:
    """Return the path of keys to a fault. An unknown key is a key, even one that is called `int`."""
    *above, last = fault["loc"] or ("",)
    kept = [part for part in above if not _is_branch(part)]
    return (*kept, last) if fault["type"] == "extra_forbidden" or not _is_branch(last) else tuple(kept)


def _is_branch(part: str | int) -> bool:
    """Tell whether pydantic put the name of a union's branch into the path."""
    return isinstance(part, str) and ("[" in part or part in _BRANCHES)


_BRANCHES = {"str", "int", "float", "bool", "none", "function-after", "function-before"}


def _line(loc: _Loc, lines: Mapping[_Loc, int]) -> int | None:
    """Return the line of the fault, or of the nearest enclosing key that has one."""
    for end in range(len(loc), 0, -1):
        if loc[:end] in lines:
            return lines[loc[:end]]
    return min(lines.values(), default=None)


def _words(fault: Any, loc: _Loc, schema: type[BaseModel]) -> tuple[str, str | None]:
    name = ".".join(str(part) for part in loc)
    kind = fault["type"]
    special: dict[str, Callable[[], tuple[str, str | None]]] = {
        "extra_forbidden": lambda: (
            f"unknown key `{name}`",
            did_you_mean(str(loc[-1]), _keys_at(schema, loc)),
        ),
        "missing": lambda: (f"missing key `{name}`", f"add `{loc[-1]}:`"),
        "value_error": lambda: _split_hint(str(fault["ctx"]["error"]), name),
        "too_short": lambda: (
            f"`{name}` needs at least {fault['ctx']['min_length']}, found {_short(fault['input'])}",
            f"give at least {fault['ctx']['min_length']}",
        ),
        "model_type": lambda: _group_words(fault, loc, schema),
        "dict_type": lambda: _group_words(fault, loc, schema),
        "literal_error": lambda: (
            f"`{name}` is {fault['input']!r}",
            f"use one of {fault['ctx']['expected']}",
        ),
    }
    if kind in special:
        return special[kind]()
    text = fault["msg"].removeprefix("Input should be ").rstrip(".")
    return f"`{name}` should be {text}, found {_short(fault['input'])}", _right_value(fault, loc)


def _group_words(fault: Any, loc: _Loc, schema: type[BaseModel]) -> tuple[str, str]:
    """Return message and hint for what should have keys of its own, and has a value or nothing in their place."""
    found = "nothing" if fault["input"] is None else _short(fault["input"])
    keys = _keys_at(schema, (*loc, ""))
    key = next((str(part) for part in reversed(loc) if isinstance(part, str)), "KEY")
    hint = f"write it in braces: `{key}: {{{keys[0] if keys else 'NAME'}: VALUE}}`"
    return f"`{'.'.join(map(str, loc))}` should be keys and values, found {found}", hint


def _right_value(fault: Any, loc: _Loc) -> str:
    """Return the hint for a value of the wrong type, or outside its bounds."""
    key = next((str(part) for part in reversed(loc) if isinstance(part, str)), "KEY")
    value, bounds = fault["input"], fault.get("ctx", {})
    unquoted = ", without quotes" if isinstance(value, str) else ""
    hints = {
        "string_type": f'put it in quotes: `{key}: "{value}"`' if isinstance(value, int | float) else "write text",
        "list_type": f"write it in brackets: `{key}: [...]`",
        "bool_type": f"write true or false{unquoted}",
        "int_type": f"write a whole number, such as 1{unquoted}",
        "float_type": f"write a number, such as 0.5{unquoted}",
        "greater_than": f"write a larger number, such as {bounds.get('gt', 0) + 1:g}",
        "greater_than_equal": f"write {bounds.get('ge', 0):g} or more",
        "less_than": f"write a smaller number, such as {bounds.get('lt', 0) - 1:g}",
        "less_than_equal": f"write {bounds.get('le', 0):g} or less",
    }
    return hints.get(fault["type"], f"correct `{key}`, or take it out")


def _split_hint(text: str, name: str) -> tuple[str, str | None]:
    message, _, hint = text.partition("\n")
    return (f"`{name}`: {message}" if name else message), hint or None


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."


def _keys_at(schema: type[BaseModel], loc: _Loc) -> list[str]:
    """Return the keys that the schema knows where the unknown one stands."""
    annotation: Any = schema
    for part in loc[:-1]:
        annotation = next((inner for kind in _kinds(annotation) for inner in _inside(kind, part)), None)
    models = [kind for kind in _kinds(annotation) if _is_model(kind)]
    return [field.alias or name for model in models[:1] for name, field in model.model_fields.items()]


def _inside(kind: Any, part: str | int) -> Iterator[Any]:
    """Yield the type of what stands at `part` in a model, a list or a mapping."""
    if _is_model(kind):
        yield from (field.annotation for name, field in kind.model_fields.items() if part in (name, field.alias))
    elif get_origin(kind) is (list if isinstance(part, int) else dict):
        yield get_args(kind)[-1]


def _kinds(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the one type that it is."""
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
