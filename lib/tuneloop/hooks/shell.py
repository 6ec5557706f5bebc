"""Which `tuneloop` commands a line of shell would run, as far as that can be told without running it.

A reader, not a shell: where it cannot be certain it says so, and the guard asks.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

from tuneloop.hooks import commands
from tuneloop.hooks.lexer import Lexer, OpenQuoteError, Word

# The program, the module behind `python -m`, its file, or the package that a runner of packages is given.
_TOOL = re.compile(r"(?:.*/|-[A-Za-z]*m)?tuneloop(?:\.[\w.]+|/__main__\.py|/cli/main\.py|[@=<>~!\[].*)?\Z", re.DOTALL)
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_SUBSTITUTION = re.compile(r"\$\(|`")
_QUOTING = re.compile(r"\\\n|[\"'\\]")
_SCRIPT = re.compile(r"[\s;&|()<>`'\",\[]")  # in a word that could be a script itself
_REDIRECTION = re.compile(r"&?[<>]")
_QUIET = "2>"
# A command of these takes further words, or a name for another, from where this reader does not look.
_INDIRECT = frozenset({"alias", "parallel", "xargs"})
# To these a word that reads like the tool is a name or a text; none of them runs what it is given.
_NAMING = frozenset({"cp", "diff", "git commit", "git log", "grep", "ls", "mkdir", "mv", "rg", "rm", "which"})
_DEEPEST = 4  # `bash -c` inside `bash -c`
_MOST_TOOLS = 50  # in one command


class Call:
    """One command of the tool: what it is, and the words after it. `readable` is false for a command in doubt."""

    def __init__(self, command: str, words: list[str], *, readable: bool = True) -> None:
        self.command, self.words, self.readable = command, words, readable
        self.folders: tuple[str, ...] = ()  # those that `cd` went to before it
        self._alone = list(_alone(words))

    @property
    def kind(self) -> str | None:
        """As in `commands.kind_of`; a command that replaces results counts as a deleting one."""
        kind = commands.kind_of(self.command)
        if commands.HELP & set(self._alone):
            return "reading"
        if commands.DRY_RUN in self._alone:
            return kind if kind is None or commands.builds(self.command) else "reading"
        replaces = any(word.split("=")[0] == commands.REPLACE for word in self.words)
        return "deleting" if kind == "writing" and replaces else kind

    @property
    def reads_by_itself(self) -> bool:
        """Whether it reads whatever words come after it."""
        return commands.kind_of(self.command) == "reading"

    def option(self, name: str) -> str | None:
        """Return the value of an option, None without it."""
        return next(iter(self.options(name)), None)

    def options(self, name: str) -> list[str]:
        """Return the values of an option that may be given several times."""
        found = []
        for word, following in itertools.zip_longest(self.words, self.words[1:]):
            if word == name and following is not None:
                found.append(following)
            elif word.startswith(f"{name}="):
                found.append(word.partition("=")[2])
        return found

    @property
    def arguments(self) -> list[str]:
        """The words that are neither options nor an option's value."""
        return [word for word in self._alone if word and not word.startswith("-")]


class Line:
    """What was found in one command line."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.folders: tuple[str, ...] = ()  # those that `cd` has gone to so far
        self.certain = True  # no call was missed
        self.in_doubt = False  # a command of the tool stands there and cannot be read, or a script holds one


def read_line(text: str) -> Line:
    """Return every call that the line, or a script inside it, would make."""
    line = Line()
    _read(text, line, _DEEPEST)
    return line


def names_the_tool(text: str) -> bool:
    """Tell whether the tool's name stands anywhere, also with quotes inside of it."""
    return "tuneloop" in _QUOTING.sub("", text)


def mentions_an_act(text: str) -> bool:
    """Tell whether a command that submits, cancels or deletes stands anywhere as a word of its own."""
    return _ACT.search(text) is not None


def call_of(words: Sequence[Word]) -> Call | None:
    """Return the call that the words after the tool's name make, None where there are none."""
    texts = [word.text for word in words]
    verbs = [place for place, text in enumerate(texts) if not text.startswith("-")]
    if not verbs:
        return Call("", texts, readable=all(word.fixed for word in words)) if words else None
    first = verbs[0]
    length = 2 if texts[first] in commands.GROUPS and len(verbs) > 1 else 1
    taken = verbs[:length]
    readable = all(word.fixed for word in words[: taken[-1] + 1])
    command = " ".join(texts[place] for place in taken)
    return Call(command, texts[:first] + texts[taken[-1] + 1 :], readable=readable)


def _read(text: str, line: Line, deeper: int) -> None:
    # Backquotes may make up the name of a command, and divide what belongs together.
    line.certain = line.certain and deeper > 0 and "`" not in text
    try:
        lexer = Lexer(text if deeper else "")
    except OpenQuoteError:
        line.certain = False
        return
    outside = []  # where the shells around this one are: `cd` in parentheses ends with them
    for words in _segments(lexer):
        if not isinstance(words, str):
            _read_segment(words, line, deeper)
        elif words == "(":
            outside.append(line.folders)
        elif outside:
            line.folders = outside.pop()
    for document in lexer.documents:
        _read_script(document, line, deeper)


def _segments(lexer: Lexer) -> Iterator[list[Word] | str]:
    """Yield the words of each simple command, without the files that it reads and writes, and parentheses."""
    words: list[Word] = []
    elsewhere = False  # whether the next word is such a file
    for item in lexer.tokens:
        if isinstance(item, str):
            if item == _QUIET:
                continue
            elsewhere = _REDIRECTION.match(item) is not None and item != "<<<"  # whose word is a text
            if _REDIRECTION.match(item) is None and words:
                yield words
                words = []
            if item in ("(", ")"):
                yield item
        elif elsewhere:
            elsewhere = False
        else:
            words.append(item)
    if words:
        yield words


def _read_segment(words: list[Word], line: Line, deeper: int) -> None:
    given = words
    while words and _ASSIGNMENT.match(words[0].text):
        words = words[1:]
    names = {" ".join(word.text for word in words[:length]) for length in (1, 2)}
    set_for_it = given[: len(given) - len(words)]  # such as an editor
    if (
        names & _NAMING
        and all(word.certain for word in given)
        and not any(names_the_tool(word.text) for word in set_for_it)
    ):
        return
    first = bool(words) and _TOOL.match(words[0].text) is not None
    if words:
        _read_command(words, line, first=first)
    for word in given:
        # A text for the tool is a text; elsewhere it may be a script for another program.
        if names_the_tool(word.text) and (_SUBSTITUTION if first else _SCRIPT).search(word.text):
            _read_script(word.text, line, deeper)


def _read_command(words: list[Word], line: Line, *, first: bool) -> None:
    texts = [word.text for word in words]
    if texts[0] == "cd" and len(words) == 2:
        line.folders = (*line.folders, texts[1])
    indirect = bool(_INDIRECT & set(texts))
    if "$" in texts[0] or indirect:
        line.certain = False
    # In the first place it can only be a call, and what follows are its arguments; elsewhere any may be one.
    tools = [0] if first else [place for place, text in enumerate(texts) if _TOOL.match(text)]
    line.in_doubt = line.in_doubt or len(tools) > _MOST_TOOLS
    for place in tools[:_MOST_TOOLS]:
        _add(call_of(words[place + 1 :]), line, indirect=indirect)


def _read_script(text: str, line: Line, deeper: int) -> None:
    """Read a text as shell; one in another language is in doubt when it names the tool and an act."""
    if not names_the_tool(text):
        return
    line.in_doubt = line.in_doubt or mentions_an_act(text)
    here = line.folders
    _read(text, line, deeper - 1)
    line.folders = here


def _add(call: Call | None, line: Line, *, indirect: bool) -> None:
    if call is None or not call.readable:
        line.in_doubt = line.in_doubt or call is not None or indirect
    else:
        call.folders = line.folders
        line.calls.append(call)
        line.in_doubt = line.in_doubt or (indirect and call.kind is None)


def _alone(words: list[str]) -> Iterator[str]:
    """Yield each word; nothing for one that may be the value of the option before it, or looks like one after `--`."""
    before, ended = "", False
    for word in words:
        takes = before.startswith("-") and "=" not in before and before not in commands.FLAGS | commands.HARMLESS
        if ended:
            yield "" if word.startswith("-") else word
        else:
            yield "" if takes else word
        ended = ended or word == "--"
        before = word


_ACTS = [*commands.SUBMITTING, *commands.CANCELLING, *commands.DELETING, commands.REPLACE]
_ACT = re.compile(rf"(?<![\w./-])(?:{'|'.join(map(re.escape, _ACTS))}|run-[a-z]\w*)(?![\w./-])")
