"""Designs that somebody would not write on purpose, made out of a good one; and the commands run over them.

The commands run in this process, workers too: a hundred designs take seconds. What a worker raises is then not
hidden behind a process's exit code.
"""

import contextlib
import io
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from hypothesis import strategies as st

from tuneloop.cli.main import _run
from tuneloop.workers import bridge
from tuneloop.workers import load as load_worker

CANARY = "CANARY"
_SHELL = [
    f"$(touch {CANARY})",
    f"`touch {CANARY}`",
    f"; touch {CANARY} #",
    f"' ; touch {CANARY} ; '",
    f'" ; touch {CANARY} ; "',
    f"x\ntouch {CANARY}\n",
    f"| touch {CANARY}",
    f"$$ ${{IFS}} && touch {CANARY}",
    f"{{{{ {CANARY} }}}} {{% raw %}}",
    f"-rf --model {CANARY}",
]
_TEXTS = [
    *_SHELL,
    "",
    " ",
    "\x00",
    "\x1b[31m",
    "\x07\x08\x7f",
    "\u2028\u202e",
    "\udc80",
    "ünïcode 你好 🙂",
    "x" * 5000,
    "../../etc/passwd",
    "/dev/null",
    "~root",
    "CON",
    "---",
    "<!-- tuneloop:end status -->",
    "{input}{input}",
    "${oops}",
    "{",
    "a/b@1",
    "@",
    "%s%n",
    "null",
    "1e-3",
]
_NUMBERS = [0, -1, 1, 2**31, 2**63, 2**64, 10**400, -(10**30), 1e308, -1e308, 5e-324, 1.5, True, False]
_ODD = [float("nan"), float("inf"), float("-inf"), None, [], {}, [[]], [None], {"": ""}, {"a": {"b": {}}}]
values = (
    st.sampled_from(_TEXTS)
    | st.sampled_from(_NUMBERS)
    | st.sampled_from(_ODD)
    | st.text(max_size=30)
    | st.integers()
    | st.floats()
    | st.lists(st.sampled_from([*_TEXTS, *_NUMBERS]), max_size=3)
    | st.dictionaries(st.sampled_from(_TEXTS), st.sampled_from([*_TEXTS, *_NUMBERS]), max_size=3)
)
# What is done to the text of a design that is good YAML.
_SPOILERS: list[Callable[[str], str]] = [
    lambda text: text.replace("\n", "\nname: twice\n", 1),
    lambda text: text + "\x00",
    lambda text: text + "a: [" * 3,
    lambda text: text + "deep: " + "[" * 3000 + "]" * 3000 + "\n",
    lambda text: text + "deep: " + "{a: " * 60 + "1" + "}" * 60 + "\n",
    lambda text: text + "loop: &x [*x]\n",
    lambda text: text + "a: &a [1]\n" + "".join(f"b{n}: &b{n} [{'*a, ' * 9}*a]\n" for n in range(9)),
    lambda text: text + "controls: !!python/object/apply:os.system [touch CANARY]\n",
    lambda text: text + "? [a, b]\n: 1\n",
    lambda text: text.replace(":", "", 1),
    lambda text: text.replace("  ", "\t"),
    lambda text: f"%TAG ! x\n{text}",
    lambda text: f"{text}---\nmore: 1\n",
    lambda text: f"\ufeff{text}",
    lambda text: text.replace("\n", "\r"),
    lambda text: text[: len(text) // 2],
    lambda _: "",
    lambda _: "- a list\n",
    lambda _: "just text\n",
]

Place = tuple[str | int, ...]


class Answer(NamedTuple):
    code: int
    out: str


def places(value: Any, at: Place = ()) -> Iterator[Place]:
    """Yield the path of everything in a design."""
    if at:
        yield at
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(item, (*at, key))


@st.composite
def designs(draw: st.DrawFn, good: Mapping[str, Any]) -> str:
    """Return the text of a design with one to three faults, or with none."""
    head = deepcopy(dict(good))
    for _ in range(draw(st.integers(0, 3))):
        known = list(places(head))
        if known:
            _mutate(draw, head, draw(st.sampled_from(known)))
    text = yaml.safe_dump(head, sort_keys=False, allow_unicode=True)
    spoil = draw(st.none() | st.none() | st.sampled_from(_SPOILERS))
    return text if spoil is None else spoil(text)


def _mutate(draw: st.DrawFn, head: Any, at: Place) -> None:
    holder = head
    for part in at[:-1]:
        holder = holder[part]
    act = draw(st.sampled_from(["replace", "replace", "replace", "remove", "rename", "add"]))
    if act == "replace":
        holder[at[-1]] = deepcopy(draw(values))
    elif act == "remove":
        del holder[at[-1]]
    elif isinstance(holder, list):
        holder.append(deepcopy(draw(values)))
    elif act == "rename":
        holder[draw(st.sampled_from(_TEXTS))] = holder.pop(at[-1])
    else:
        holder[draw(st.sampled_from([*_TEXTS, "limit", "lr", "system", "prompt", "torchtune", "args"]))] = deepcopy(
            draw(values)
        )


def tuneloop(*arguments: str | Path) -> Answer:
    """Run one command in this process, as `main` would."""
    out, before = io.StringIO(), sys.argv
    sys.argv = ["tuneloop", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            code = _run()
    finally:
        sys.argv = before
    return Answer(code, out.getvalue())


def workers_in_process(patch: pytest.MonkeyPatch) -> None:
    """Let workers answer in this process; what goes to and fro is JSON all the same."""

    def ask(self: bridge.Remote, order: Any, *verbs: str) -> dict[str, Any]:
        request = json.dumps({"order": None if order is None else bridge.to_json(order, bridge.Order)})
        patch.setattr(sys, "stdin", io.StringIO(request))
        data = json.loads(json.dumps(bridge._answers(load_worker(self.name), verbs)))
        if "error" in data:
            raise bridge._revived(data["error"])
        return {verb: bridge.from_json(bridge._ANSWERS[verb], data["answers"][verb]) for verb in verbs}

    patch.setattr(bridge.Remote, "ask", ask)


def tree(folder: Path) -> dict[str, bytes | None]:
    """Return all files below with their bytes, folders with None; locks left out, which are no content."""
    return {
        os.fsencode(path.relative_to(folder)).decode(errors="replace"): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if path.suffix != ".lock"
    }


def script_faults(script: str) -> Iterator[str]:
    """Yield the lines of a job script in which a value of the design is not one quoted word.

    A canary may stand in comments and inside single quotes, nowhere else: there it is text, whatever it holds.
    """
    for line in script.splitlines():
        if line.startswith("#") or CANARY not in line:
            continue
        try:
            words = shlex.split(line.removesuffix("\\"))
        except ValueError:
            yield f"cannot be split: {line}"
            continue
        outside = "".join(part for index, part in enumerate(line.split("'")) if index % 2 == 0)
        if CANARY in outside or not any(CANARY in word for word in words):
            yield f"not quoted: {line}"
