"""What a pack may not hold, whoever wrote it: hidden characters, secrets, unbounded grants, fetched scripts that run.

Reads every file of the pack that a client loads or runs, and for fetched scripts also what a person is told to type or
a machine runs: README, documentation, examples and the like. Returns what it finds. The patterns are wide on purpose:
a finding costs a rewording, a miss costs whoever installs the pack.
"""

import ast
import itertools
import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tuneloop.documents.errors import Problem
from tuneloop.documents.files import read_bytes
from tuneloop.librarian.pack import PLUGIN

FOLDERS = ("skills", "commands", "agents", "hooks", "bin", "scripts", ".claude", str(PLUGIN.parent))
# Where nothing may be fetched and run either, though no client reads it.
ALSO_RUN = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "Makefile",
    "docs",
    "evals",
    "examples",
    "benchmarks",
    ".ci",
)
_SKIPPED = {"__pycache__", ".DS_Store"}

# Format, control, private and unassigned characters, separators that are no line ends, and letters without ink.
_HIDDEN = {"Cf", "Cc", "Co", "Cn", "Zl", "Zp"}
_BLANK = {"\u115f", "\u1160", "\u2800", "\u3164", "\uffa0"}
_VARIANTS = ("\ufe00", "\ufe0f"), ("\U000e0100", "\U000e01ef")  # selectors: any bytes can be written in them

_SECRETS = {
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY",
    "a key of a cloud": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bAIza[\w-]{35}",
    "a token of a code host": r"\b(?:gh[pousr]_|github_pat_|glpat-)\w{20,}",
    "a token of a model host": r"\b(?:hf_[A-Za-z0-9]{30,}|sk-(?:ant-|proj-)?[\w-]{20,})",
    "a token of a registry": r"\b(?:npm_[A-Za-z0-9]{36}|pypi-[\w-]{30,})",
    "a token of a messenger": r"\bxox[abeoprs]-[\w-]{10,}|hooks\.slack\.com/services/\w",
    "a signed token": r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]*",
    "a password in an address": r"\b[a-z][a-z+]*://[^\s/:@'\"]+:[^\s/:@'\"$<{]{4,}@",
    "a secret": r"(?i)(?:api[_-]?key|secret|token|passw(?:or)?d)[\"']?\s*[:=]\s*[\"']?(?=[^\s\"']*\d)[\w+/=-]{16,}",
}

_FETCHERS = r"(?:\S*/)?(?:curl|wget|aria2c|axel|lynx|https?(?!:)|xh|iwr|irm|invoke-webrequest|invoke-restmethod)\b"
_SHELLS = r"(?:\S*/)?(?:\w{0,4}sh|python[\d.]*|perl|ruby|node|php|powershell|iex|invoke-expression)\b"
_BEFORE = r"(?:(?:sudo|env|exec|command|nice|nohup|xargs|busybox|time)\s+(?:-\S+\s+|\w+=\S*\s+)*)*"
_FETCHED = [
    rf"(?<![\w/.-]){_FETCHERS}.*\|&?\s*{_BEFORE}{_SHELLS}",  # a pipe, whatever stands between
    rf"(?:{_SHELLS}|\bsource|(?:^|[\s;&])\.)\s[^;|]*<\(\s*{_BEFORE}{_FETCHERS}",  # bash <(curl …)
    rf"(?:{_SHELLS}\s[^;|]*(?:-\w*c\b|<<<)|\beval\b)[^;|]*(?:\$\(|`)\s*{_BEFORE}{_FETCHERS}",  # sh -c "$(curl …)"
    rf"(?:^|[;&|])\s*\$\(\s*{_BEFORE}{_FETCHERS}",  # $(curl …), whose output is run
    r"\b(?:exec|eval)\(.*(?:urlopen|requests\.get|httpx\.get|fetch)\(",
]

# curl -o x … or curl … > x, and sh x or ./x behind it or in one of the next lines
_SAVED = re.compile(r"\b(?:curl|wget)\b[^;&|]*?(?:\s-(?:-output|-output-document|o|O)[ =]?|>\s*)([^\s;&|`]+)([^\n]*)")
_LINES_AFTER = 10  # in which a file that was saved is looked for

# Programs that run what they are told: a grant of one is a grant of everything.
_INTERPRETERS = {"sh", "bash", "zsh", "dash", "fish", "eval", "env", "exec", "sudo", "xargs", "command", "nohup"}
_INTERPRETERS |= {"python", "python3", "perl", "node", "ruby", "npx", "uvx", "ssh", "find", "awk", "sed", "make"}
_CHANGING = {"*", "Bash", "Write", "Edit", "MultiEdit", "NotebookEdit", "WebFetch", "PowerShell"}
_TOOLS = re.compile(r"[\"']?(?:allowed-tools|allowedTools|tools)[\"']?\s*:\s*(.*)")
_BYPASS = r"bypassPermissions|dangerously-skip-permissions|dangerouslyDisableSandbox"

# Modules that reach a network, by the first part of their name; hooks import none.
NETWORK = {"aiohttp", "asyncio", "ftplib", "http", "httpx", "huggingface_hub", "imaplib", "paramiko", "poplib"}
NETWORK |= {"requests", "smtplib", "socket", "socketserver", "ssl", "telnetlib", "urllib", "urllib3", "webbrowser"}
NETWORK |= {"websocket", "websockets", "xmlrpc"}
_HERE = "hooks answer from this machine"
_PROGRAMS = r"nc|ncat|netcat|socat|telnet|ssh|scp|sftp|rsync|ftp|pip|npm|npx|uvx?|git\s+(?:clone|fetch|pull|push)"
_REACHING = rf"(?<![\w./-])(?:{_FETCHERS}|{_PROGRAMS})[\s\"']|/dev/(?:tcp|udp)/"


def faults(root: Path, hooks: Path | None = None) -> list[Problem]:
    """Return what the pack in `root` may not hold; `hooks` is the Python code that its hooks run."""
    found = []
    for path in _below(root, ALSO_RUN):
        found += fetched_faults(path)
    for path in files(root):
        found += file_faults(path, network=path.is_relative_to(root / "hooks"))
    for path in sorted(hooks.rglob("*.py")) if hooks is not None else []:
        found += file_faults(path, network=True)
    return found


def files(root: Path) -> list[Path]:
    """Return the files that a client loads or runs, in order; links are looked at where they lead, if that is here."""
    return _below(root, FOLDERS)


def _below(root: Path, names: Sequence[str]) -> list[Path]:
    found = [path for name in names for path in (root / name, *sorted((root / name).rglob("*")))]
    return [path for path in found if path.is_file() and not path.is_symlink() and not _SKIPPED & set(path.parts)]


def file_faults(path: Path, *, network: bool = False) -> list[Problem]:
    """Return what is wrong with one file; with `network`, reaching a network is wrong, too."""
    try:
        text = read_bytes(path).decode()
    except UnicodeDecodeError:
        return [Problem("not UTF-8 text, so nobody can read what it says", path, hint="take it out of the pack")]
    found = [*_hidden(text), *_secrets(text), *_fetched(text), *_grants(text)]
    if path.suffix == ".json":
        found += _settings(text)
    if network:
        python = path.suffix == ".py"
        found += [*_reaching(text, python=python), *(_imports(text) if python else [])]
    return [Problem(fault.message, path, fault.line, hint=fault.hint) for fault in found]


def fetched_faults(path: Path) -> list[Problem]:
    """Return where one file, if it is text, runs what it fetches."""
    try:
        text = read_bytes(path).decode()
    except UnicodeDecodeError:
        return []
    return [Problem(fault.message, path, fault.line, hint=fault.hint) for fault in _fetched(text)]


def _hidden(text: str) -> Iterator[Problem]:
    for number, line in enumerate(text.split("\n"), 1):
        for letter in sorted(set(line)):
            if _is_hidden(letter):
                name = unicodedata.name(letter, "without a name").lower()
                yield Problem(f"the hidden character U+{ord(letter):04X} ({name})", line=number, hint="take it out")


def _is_hidden(letter: str) -> bool:
    if letter == "\t":
        return False
    variant = any(first <= letter <= last for first, last in _VARIANTS)
    return variant or letter in _BLANK or unicodedata.category(letter) in _HIDDEN


def _secrets(text: str) -> Iterator[Problem]:
    for number, line in enumerate(text.splitlines(), 1):
        for what, pattern in _SECRETS.items():
            if re.search(pattern, line):
                hint = "take it out, and make it invalid where it came from"
                yield Problem(f"{what}, by its look", line=number, hint=hint)


def _fetched(text: str) -> Iterator[Problem]:
    lines = [(number, re.sub(r"[\"'\\]", " ", line)) for number, line in _shell_lines(text)]
    for place, (number, line) in enumerate(lines):
        after = [line for _, line in lines[place + 1 : place + 1 + _LINES_AFTER]]
        if any(re.search(pattern, line, re.IGNORECASE) for pattern in _FETCHED) or _runs_what_it_saves(line, after):
            yield Problem("runs what it fetches", line=number, hint="name a package and its version instead")


def _runs_what_it_saves(line: str, after: Sequence[str]) -> bool:
    """Tell whether a file that a line fetches is run behind it, or by a line after it."""
    for found in _SAVED.finditer(line):
        name = re.escape(found[1].removeprefix("./"))
        runs = rf"(?:^|[;&|`$])\s*{_BEFORE}(?:(?:{_SHELLS}|source|\.)\s+(?:-\S+\s+)*\S*{name}|\S*/{name})(?![\w.])"
        if any(re.search(runs, text) for text in (found[2], *after)):
            return True
    return False


def _shell_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield lines as a shell reads them: a pipe or a backslash goes on in the next one; rows of a table do not."""
    first, whole = 1, ""
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        whole += " " + line
        row = line.lstrip().startswith("|") and line.rstrip().endswith("|")
        following = lines[number].strip() if number < len(lines) else ""
        piped = following.startswith("|") and not following.endswith("|")
        if not row and (line.rstrip().endswith(("\\", "|", "|&")) or piped):
            continue
        yield first, whole.strip()
        first, whole = number + 1, ""
    yield first, whole.strip()


def _grants(text: str) -> Iterator[Problem]:
    for number, line in _with_lists(text):
        for found in re.finditer(r"\b(?:Bash|PowerShell)\(([^)\n]*)\)?", line):
            if not _is_bounded(found[1]):
                hint = "name a program and its command, such as Bash(tuneloop status:*)"
                yield Problem(f"the unbounded grant `{found[0]}`", line=number, hint=hint)
        if re.search(_BYPASS, line):
            yield Problem("turns permissions off", line=number, hint="take it out")
        head = _TOOLS.match(line.strip())
        if head and _CHANGING & set(re.split(r"[\s,\"'\[\]]+", re.sub(r"\([^)]*\)", "(", head[1]))):
            yield Problem("grants a tool without bounds", line=number, hint="name what it may be used for")


def _with_lists(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines, each key of tools together with the list that stands below it, one tool a line."""
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        whole = line
        if (head := _TOOLS.match(line.strip())) and not head[1]:
            below = itertools.takewhile(lambda item: re.match(r"\s*(?:-\s|#|$)", item), lines[number:])
            whole += " " + ", ".join(item.strip().removeprefix("-").strip() for item in below)
        yield number, whole


def _is_bounded(grant: str) -> bool:
    """Tell whether a grant names a program that is no interpreter, and a word after it."""
    words = grant.strip().removesuffix(":*").split()
    while words and re.match(r"\w+=", words[0]):
        del words[0]
    if len(words) < 2 or any("*" in word for word in words[:2]):
        return False
    return words[0].rpartition("/")[2] not in _INTERPRETERS


def _settings(text: str) -> Iterator[Problem]:
    """Yield tools that settings allow as a whole."""
    try:
        value = json.loads(text)
    except ValueError as error:
        yield Problem(f"not JSON: {error}", hint="mend it: a client ignores the whole file")
        return
    permissions = value.get("permissions", {}) if isinstance(value, dict) else {}
    for rule in permissions.get("allow", []) if isinstance(permissions, dict) else []:
        tool, _, bounds = str(rule).partition("(")
        if (tool in _CHANGING and bounds.strip("*) ") == "") or tool.startswith("mcp__*"):
            yield Problem(f"the unbounded grant `{rule}`", hint="name what it may be used for")


def _reaching(text: str, *, python: bool) -> Iterator[Problem]:
    """Yield calls of programs that reach a network: lines of a script, or the texts that Python code holds."""
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if not line.lstrip().startswith("#")]
    if python:
        nodes = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant))
        lines = [(node.lineno, node.value) for node in nodes if isinstance(node.value, str)]
    inline = (
        rf"\b(?:import|from)\s+(?:\w[\w.]*\s*,\s*)*(?:{'|'.join(sorted(NETWORK))})\b"  # in a script of another language
    )
    for number, line in lines:
        if re.search(_REACHING, f"{line} ") or (not python and re.search(inline, line)):
            yield Problem("a hook that calls a program of the network", line=number, hint=_HERE)


def _imports(text: str) -> Iterator[Problem]:
    for node in ast.walk(ast.parse(text)):
        for name in _imported(node):
            if name.partition(".")[0] in NETWORK:
                yield Problem(f"a hook that imports `{name}`", line=getattr(node, "lineno", None), hint=_HERE)


def _imported(node: ast.AST) -> list[str]:
    """Return the modules that a statement imports, by name or through a call such as `__import__("socket")`."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    if isinstance(node, ast.Call):
        called: Any = node.func
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        if name in ("__import__", "import_module"):
            return [str(item.value) for item in node.args if isinstance(item, ast.Constant)]
    return []
