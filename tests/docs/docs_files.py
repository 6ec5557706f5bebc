"""Files and links of a document against the tree, in the order in which a reader makes what does not exist yet."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from docs_commands import USAGE_ERROR, resolve
from docs_reading import ROOT, Block, Command, Inline, anchors, commands_of, links, pieces, shell_lines

LIB = ROOT / "lib" / "tuneloop"
MADE_BEFORE = {"runs/demo", "runs/cap"}  # by `make demo` and by the README's walk, which all documents build on
# The argument that says where a command writes, as its function in cli/ calls it.
_MAKES = {
    "design-experiment": "folder",
    "split": "folder",
    "create-inspect-task": "file",
    "export": "target",
    "archive": "target",
    "restore": "target",
}
# Files of others that the pack works on, and who makes them.
OUTSIDE = {
    ".specify/": "spec-kit",
    "specs/": "spec-kit's commands",
    "spec.md": "spec-kit's /speckit-specify",
    "plan.md": "spec-kit's /speckit-plan",
    "tasks.md": "spec-kit's /speckit-tasks",
    "research.md": "spec-kit's /speckit-plan",
    "quickstart.md": "spec-kit's /speckit-plan",
    "data-model.md": "spec-kit's /speckit-plan",
    "contracts/": "spec-kit's /speckit-plan",
    "constitution.md": "spec-kit's /speckit-constitution",
    "requirements.md": "spec-kit's /speckit-specify",
    "feature.json": "spec-kit's /speckit-specify",
}
_SUFFIX = re.compile(r"\.(csv|eval|html|jinja|jsonl?|log|md|out|parquet|py|safetensors|sh|slurm|toml|txt|ya?ml)$")
# EXP, NNN-name, <N>, RUN@EPOCH: to be filled in. A few files have names in capitals all the same.
_PLACEHOLDER = re.compile(r"(?!README|SKILL|CHANGELOG|CONTRIBUTING|LICENSE)[A-Z]{2,}[\w-]*|.*[<>{}\[\]*…@].*")


def faults(text: str, source: Path) -> list[str]:
    return [*path_faults(text, source), *link_faults(text, source)]


def path_faults(text: str, source: Path) -> Iterator[str]:
    """Yield the paths that are neither in the tree, nor made by an earlier command, nor files that the library makes."""
    made = set(MADE_BEFORE)
    for piece in pieces(text):
        for command in _acts(piece):
            target = target_of(command)
            words = [word.partition("@")[0].removeprefix("$PWD/") for word in command.words[1:]]
            shown = [word for word in words if "/" in word and " " not in word and not word.startswith("-")]
            yield from (
                f"no such path: {word} in {command.shown}"
                for word in shown
                if word != target and not _known(word, source, made)
            )
            if target and "--dry-run" not in command.words:
                made.add(target)
        named = piece.text if isinstance(piece, Inline) and _is_path(piece.text) else ""
        if named and not _known(named, source, made) and not _is_product(named):
            yield f"no such file: {named}"


def _acts(piece: Block | Inline) -> Iterator[Command]:
    """Yield the commands of a piece that read or make files of the tree: ours and `cp`."""
    if isinstance(piece, Block) and piece.kind != "markdown":
        yield from (Command(words, whole=True) for words in shell_lines(piece.text) if words[0] in ("tuneloop", "cp"))
    else:
        yield from commands_of(piece)


def target_of(command: Command) -> str | None:
    """Return the path that a command makes, None when it makes none."""
    name = command.words[1] if len(command.words) > 1 else ""
    if command.words[0] == "cp":
        return command.words[-1]
    if name not in _MAKES or {"--help", "-h", "[OPTIONS]"} & set(command.words):
        return None
    known, rest = resolve(command.words)
    try:
        value = known.make_context(name, list(rest)).params[_MAKES[name]]
    except USAGE_ERROR:
        return None
    return None if value is None else str(value)


def _is_path(text: str) -> bool:
    if " " in text or text.startswith(("-", "/", "[", "^", "<")) or "://" in text:
        return False
    return bool(_SUFFIX.search(text)) or text.endswith("/") or text.startswith(("runs/", "lib/", "tests/", "examples/"))


def _known(path: str, source: Path, made: set[str]) -> bool:
    """Tell whether a path exists, as far as it is not to be filled in, seen from the tree, the document or the library."""
    fixed = _fixed(path)
    if not fixed or any((place / fixed).exists() for place in (ROOT, source.parent, LIB)):
        return True
    return any(fixed == item or fixed.startswith(f"{item}/") for item in made)


def _fixed(path: str) -> str:
    """Return the part of a path before the first word that a reader fills in."""
    parts = path.strip("/").split("/")
    stems = [part.partition(".")[0] or part for part in parts]
    return "/".join(parts[: next((i for i, stem in enumerate(stems) if _PLACEHOLDER.fullmatch(stem)), len(parts))])


def _is_product(path: str) -> bool:
    """Tell whether a file without a fixed place is one that the library or somebody else makes, or lies in the tree."""
    if any(path.startswith(name) or path.endswith(f"/{name}") for name in OUTSIDE):
        return True
    parts = [part for part in path.strip("/").split("/") if part not in ("~", ".", "..")]
    return all(_PLACEHOLDER.fullmatch(part.partition(".")[0] or part) or part in _names() for part in parts)


@cache
def _names() -> frozenset[str]:
    """Return the names of files and folders that stand in the library's source, and those in the tree itself."""
    found = set()
    for path in LIB.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 80:
                found |= set(node.value.split("/"))
    for folder in ("lib", "examples", "tests", "docs", "skills", "scripts", "commands", "agents", "hooks", "bin"):
        found |= {path.name for path in (ROOT / folder).rglob("*")}
    return frozenset(found)


def link_faults(text: str, source: Path) -> Iterator[str]:
    for link in links(text):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (source.parent / path).resolve() if path else source
        if not target.exists():
            yield f"no such path: {link}"
        elif anchor and anchor not in anchors(target.read_text() if path else text):
            yield f"no such heading: {link}"
