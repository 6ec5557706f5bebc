"""The form of a pack: what no schema can say of one head, and how skills name each other.

Reads the folders of the pack and returns every fault; writes nothing. What other readers of skills are known to
refuse is a fault here too: the open specification's reference library takes only YAML in block style.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import yaml
from packaging.requirements import InvalidRequirement, Requirement

from tuneloop.documents.errors import Problem, did_you_mean
from tuneloop.documents.files import read_text
from tuneloop.documents.frontmatter import StrictYAMLHandler
from tuneloop.librarian.pack import Pack, Skill

MOST_DESCRIBED = 300  # characters: clients cut the listing of all skills, and a long one costs its neighbours theirs
METADATA = ("version", "category", "requires", "tags", "changelog")
_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
_FENCE = re.compile(r"^( *)```.*?^\1``` *$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^\]\n]*\]\(<?([^)>\s]+)[^)\n]*\)|^\[[^\]\n]+\]:\s*<?([^>\s]+)", re.MULTILINE)
_COMMAND = re.compile(r"Start with `(tuneloop [^`\n]+)`")
# What the reference library's YAML does not have: flow style, tags, anchors, aliases.
_FOREIGN = (
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
    yaml.TagToken,
    yaml.AnchorToken,
    yaml.AliasToken,
    yaml.DirectiveToken,
)


def faults(pack: Pack) -> list[Problem]:
    """Return every fault in the form of a pack; none is the fault of a head that its schema refuses."""
    found = [problem for skill in pack.skills for problem in _skill(skill, pack)]
    return [*found, *_names(pack)]


def first_command(skill: Skill) -> str | None:
    """Return the command that the skill's body tells to start with."""
    found = _COMMAND.search(skill.body)
    return found[1] if found else None


def _skill(skill: Skill, pack: Pack) -> Iterator[Problem]:
    source = skill.folder / "SKILL.md"
    for fault in (
        *_head(skill, read_text(source)),
        *_metadata(skill),
        *_requires(skill, pack),
        *_files(skill),
        *_siblings(skill, pack),
    ):
        yield Problem(fault.message, source, fault.line, fault.key, fault.hint)
    if first_command(skill) is None:
        yield Problem("the body has no first command", source, hint="write: Start with `tuneloop …`")


def _head(skill: Skill, text: str) -> Iterator[Problem]:
    description = skill.head.description
    if skill.head.name != skill.name:
        yield Problem(f"name `{skill.head.name}` in the folder `{skill.name}`", key="name", hint="give both one name")
    if not description.strip():
        yield Problem("the description is empty", key="description", hint="say when to use the skill")
    if len(description) > MOST_DESCRIBED:
        message = f"the description has {len(description)} characters, at most {MOST_DESCRIBED} are read by all"
        yield Problem(message, key="description", hint="leave out how it works: the body says that")
    if set(description) & set("<>"):
        message = "the description has an angle bracket, which some clients refuse"
        yield Problem(message, key="description", hint="write the word in capitals instead")
    if skill.head.allowed_tools is not None:
        yield Problem("`allowed-tools` makes the client ask", key="allowed-tools", hint="take it out")
    yield from _foreign_yaml(text)


def _foreign_yaml(text: str) -> Iterator[Problem]:
    """Yield what is YAML, yet not for the reference library."""
    head, _ = StrictYAMLHandler().split(text)
    if "---" in head:
        line = 2 + head[: head.index("---")].count("\n")
        yield Problem("three dashes, which other readers take for the head's end", line=line, hint="take one out")
    if "\r" in head:
        yield Problem("the head has carriage returns", line=1, hint="write lines that end as on Unix")
    hint = "write one key a line, and text in quotes"
    try:
        strange = [token.start_mark.line for token in yaml.scan(head) if isinstance(token, _FOREIGN)]
    except yaml.MarkedYAMLError as error:  # PyYAML's own scanner is stricter than the one in C that reads heads
        strange = [error.problem_mark.line if error.problem_mark else 0]
    yield from (Problem("YAML that other readers refuse", line=line + 2, hint=hint) for line in strange)


def _metadata(skill: Skill) -> Iterator[Problem]:
    known = skill.head.metadata
    yield from (Problem(f"missing key `metadata.{key}`", key="metadata") for key in METADATA if key not in known)
    for key in known:
        if key not in METADATA:
            hint = did_you_mean(key, METADATA)
            yield Problem(f"unknown key `metadata.{key}`", key=f"metadata.{key}", hint=hint)
    if known.get("category", skill.category) != skill.category:
        message = f"category `{known['category']}` in the folder `{skill.category}`"
        yield Problem(message, key="metadata.category", hint=f"write `category: {skill.category}`, or move the skill")
    tags = [tag.strip() for tag in known.get("tags", "any").split(",")]
    if "" in tags or len(set(tags)) < len(tags):
        yield Problem("an empty or a repeated tag", key="metadata.tags", hint="write words with commas between them")
    yield from _version(known)


def _version(metadata: dict[str, str]) -> Iterator[Problem]:
    version = metadata.get("version")
    if version is not None and not _VERSION.fullmatch(version):
        message = f"`{version}` is no version of three numbers"
        yield Problem(message, key="metadata.version", hint='write it like "0.2.0"')
    if "changelog" not in metadata:
        return
    told, _, words = metadata["changelog"].partition(";")[0].partition(":")
    if not words.strip() or (version is not None and told.strip() != version):
        hint = f"begin it with `{version}: ` and what changed"
        yield Problem("the changelog does not begin with the version", key="metadata.changelog", hint=hint)


def _requires(skill: Skill, pack: Pack) -> Iterator[Problem]:
    versions = {item.name: item.head.metadata.get("version", "") for item in pack.skills}
    for text, need in _needs(skill):
        if need is not None and need.name == skill.name:
            yield Problem("requires itself", key="metadata.requires", hint="take it out")
        if need is None:
            yield Problem(f"`{text}` is no requirement", key="metadata.requires", hint='write it like "name>=0.2"')
        elif need.name not in versions:
            hint = did_you_mean(need.name, list(versions))
            yield Problem(f"requires `{need.name}`, which the pack has not", key="metadata.requires", hint=hint)
        elif _VERSION.fullmatch(versions[need.name]) and not need.specifier.contains(versions[need.name]):
            message = f"requires `{need}`, and the pack has {versions[need.name]}"
            yield Problem(message, key="metadata.requires", hint="correct the range")


def _needs(skill: Skill) -> Iterator[tuple[str, Requirement | None]]:
    """Yield what a skill requires as it is written, with None where that cannot be read."""
    for item in skill.requires_as_written:
        try:
            yield item, Requirement(item)
        except InvalidRequirement:
            yield item, None


def _required(skill: Skill) -> set[str]:
    return {need.name for _, need in _needs(skill) if need is not None}


def _files(skill: Skill) -> Iterator[Problem]:
    """Yield links that leave the skill, lead nowhere or go on, and files that nothing leads to."""
    linked: set[Path] = set()
    for link in _links(skill.body):
        target = (skill.folder / link).resolve()
        if not target.is_relative_to(skill.folder.resolve()):
            hint = "name it in backticks: the skill may be installed alone"
            yield Problem(f"the link `{link}` leaves the skill's folder", hint=hint)
        elif not target.is_file():
            yield Problem(f"no such file: `{link}`", hint="correct the link")
        else:
            linked.add(target)
    for path in sorted(skill.folder.rglob("*")):
        if not path.is_file() or path == skill.folder / "SKILL.md" or "__pycache__" in path.parts:
            continue
        name = path.relative_to(skill.folder).as_posix()
        if path.resolve() not in linked:
            yield Problem(f"nothing leads to `{name}`", hint="link it from the body, or take it out")
        elif path.suffix == ".md" and any(True for _ in _links(read_text(path))):
            yield Problem(f"`{name}` links on to another file", hint="link that one from SKILL.md")


def _links(text: str) -> Iterator[str]:
    """Yield the paths that a text links to; other sites and its own headings are left out."""
    for found in _LINK.finditer(_FENCE.sub("", text)):
        path = (found[1] or found[2]).partition("#")[0]
        if path and not re.match(r"[a-z][a-z+.-]*:", path):
            yield path


def _siblings(skill: Skill, pack: Pack) -> Iterator[Problem]:
    """Yield the skills that the body sends to, and that may be missing when this one is linked with what it requires.

    Allowed are those that it requires, those that its description names under "Not for" and the one that comes next;
    of these two not what the body explains itself by, with `as in`. Skills may require each other.
    """
    text = re.sub(r"tuneloop [\w-]+|^Next:.*$", "", skill.body, flags=re.MULTILINE)
    allowed = {skill.name, *_closure(skill, pack)}
    refused = skill.head.description.partition("Not for")[2]
    for other in pack.skills:
        if other.name in allowed:
            continue
        name = rf"(?<![\w/-]){re.escape(other.name)}(?![\w-])"
        explains = re.search(rf"\bas in\W+{name}", text)
        if explains or (re.search(name, text) and not re.search(name, refused)):
            hint = "add it to `requires`" if explains else 'add it to `requires`, or to "Not for" in the description'
            yield Problem(f"sends to `{other.name}`, which it does not require", hint=hint)


def _closure(skill: Skill, pack: Pack) -> set[str]:
    needs = {item.name: _required(item) for item in pack.skills}
    found: set[str] = set()
    todo = _required(skill)
    while todo:
        found |= todo
        todo = {name for one in todo for name in needs.get(one, set())} - found
    return found


def _names(pack: Pack) -> Iterator[Problem]:
    """Yield names that hide each other: a client keeps one of two skills, and a skill before a command."""
    seen: dict[str, Path] = {}
    items = [(skill.name, skill.folder) for skill in pack.skills]
    items += [(command.name, command.path) for command in pack.commands]
    for name, path in items:
        if name in seen:
            yield Problem(f"`{name}` is the name of {seen[name]} too", path, hint="rename one of them")
        seen.setdefault(name, path)
    for agent in pack.agents:
        if agent.head.name != agent.name:
            message = f"name `{agent.head.name}` in the file `{agent.path.name}`"
            yield Problem(message, agent.path, key="name", hint="give both one name")
