"""What the pack holds: skills by category, slash commands and agents, read from its folder.

The pack's folder is the checkout that this library lies in, or the copy that a wheel carries. Pure reading:
`links.py` makes a pack active in a project.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from packaging.requirements import InvalidRequirement, Requirement
from pydantic import Field

import tuneloop
from tuneloop.documents.errors import InputError, MissingError, Problem, did_you_mean
from tuneloop.documents.files import read_text
from tuneloop.documents.frontmatter import parse
from tuneloop.documents.schema import Schema

H = TypeVar("H", bound=Schema)

PLUGIN = Path(".claude-plugin", "plugin.json")  # its presence marks a pack's folder
DEFAULT_CATEGORIES = ("experiment", "lifecycle")  # what is linked when nothing is named


class SkillHead(Schema):
    """The six fields of the Agent Skills specification, and no others: other clients refuse a skill with more."""

    name: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)
    description: str = Field(min_length=1, max_length=1024)
    license: str | None = None
    compatibility: str | None = Field(default=None, max_length=500)
    metadata: dict[str, str] = {}
    allowed_tools: str | None = Field(default=None, alias="allowed-tools")


class CommandHead(Schema):
    """The head of a slash command, in Claude Code's words."""

    description: str = Field(min_length=1, max_length=1024)
    argument_hint: str | None = Field(default=None, alias="argument-hint")
    disable_model_invocation: bool = Field(default=False, alias="disable-model-invocation")


class AgentHead(Schema):
    """The head of a subagent, in Claude Code's words; without name and description the client drops it silently."""

    name: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)
    description: str = Field(min_length=1, max_length=1024)
    tools: str


@dataclass(frozen=True)
class Skill:
    folder: Path
    head: SkillHead
    body: str

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def category(self) -> str:
        return self.folder.parent.name

    @property
    def requires(self) -> tuple[Requirement, ...]:
        """The skills that this one sends its reader to, with their versions. Raises InputError for what names none."""
        return tuple(_requirement(item, self) for item in self.requires_as_written)

    @property
    def requires_as_written(self) -> tuple[str, ...]:
        items = self.head.metadata.get("requires", "").split(";")
        return tuple(item.strip() for item in items if item.strip())


@dataclass(frozen=True)
class Text(Generic[H]):
    """A file of the pack that is known by its own name: a slash command or an agent."""

    path: Path
    head: H
    body: str

    @property
    def name(self) -> str:
        return self.path.stem


Command = Text[CommandHead]
Agent = Text[AgentHead]


@dataclass(frozen=True)
class Pack:
    root: Path
    skills: tuple[Skill, ...]
    commands: tuple[Command, ...]
    agents: tuple[Agent, ...]

    def skill(self, name: str) -> Skill:
        """Return one skill. Raises MissingError with the nearest names."""
        for skill in self.skills:
            if skill.name == name:
                return skill
        raise MissingError(f"no skill `{name}`", hint=did_you_mean(name, [skill.name for skill in self.skills]))

    def chosen(self, words: Iterable[str] = ()) -> tuple[Skill, ...]:
        """Return the skills of these names and categories (the default ones without any) and all they require.

        Raises MissingError for a word that is neither.
        """
        categories = {skill.category for skill in self.skills}
        todo = list(words) or [name for name in DEFAULT_CATEGORIES if name in categories]
        found: set[str] = set()
        while todo:
            word = todo.pop()
            if word in categories:
                todo += [skill.name for skill in self.skills if skill.category == word]
            elif word not in found:
                found.add(word)
                todo += [need.name for need in self.skill(word).requires]
        return tuple(skill for skill in self.skills if skill.name in found)


def find_root() -> Path:
    """Return the folder of the pack that belongs to this library. Raises MissingError when it came without one."""
    package = Path(tuneloop.__file__).parent
    for folder in (package.parent.parent, package / "pack"):
        if (folder / PLUGIN).is_file():
            return folder
    raise MissingError("this installation carries no skills", hint="install the wheel, or work from a checkout")


def read_pack(root: Path | None = None) -> Pack:
    """Read the pack in `root`, or the library's own. Raises InputError with every fault of a head."""
    folder = root or find_root()
    skills = _texts(folder, "skills/*/*/SKILL.md", SkillHead)
    return Pack(
        folder,
        tuple(Skill(text.path.parent, text.head, text.body) for text in skills),
        tuple(_texts(folder, "commands/*.md", CommandHead)),
        tuple(_texts(folder, "agents/*.md", AgentHead)),
    )


def _requirement(text: str, skill: Skill) -> Requirement:
    try:
        return Requirement(text)
    except InvalidRequirement:
        hint = 'write it like "name>=0.2"'
        problem = Problem(f"`{text}` is no requirement", skill.folder / "SKILL.md", key="metadata.requires", hint=hint)
        raise InputError(problem) from None


def _texts(folder: Path, pattern: str, schema: type[H]) -> Iterator[Text[H]]:
    for path in sorted(folder.glob(pattern)):
        document = parse(read_text(path), schema, path)
        yield Text(path, document.data, document.body)
