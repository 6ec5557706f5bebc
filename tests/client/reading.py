"""What a request to the Messages API tells of the client: its texts, its listings, the results of tools. Pure."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

Body = Mapping[str, Any]

_SKILLS = "The following skills are available for use with the Skill tool"
_AGENTS = "Available agent types for the Agent tool"


class Result(NamedTuple):
    """What came back from a tool that the model used."""

    text: str
    is_error: bool


def flatten(content: Any) -> str:
    """Return the text of a system prompt, a message's content or a tool's result, whichever shape it has."""
    if isinstance(content, str):
        return content
    return "\n".join(block.get("text") or flatten(block.get("content")) for block in content or [])


def everything(body: Body) -> str:
    """Return all that the model would read, in order. Clients differ in where they put listings and hooks' texts."""
    return "\n".join([flatten(body.get("system")), *(flatten(message["content"]) for message in body["messages"])])


def results(body: Body) -> list[Result]:
    """Return the results of all tools that the conversation used so far, in order."""
    blocks = [
        block
        for message in body["messages"]
        if message["role"] == "user" and not isinstance(message["content"], str)
        for block in message["content"]
        if block["type"] == "tool_result"
    ]
    return [Result(flatten(block.get("content")), bool(block.get("is_error"))) for block in blocks]


def skills_offered(body: Body) -> list[tuple[str, str]]:
    """Return names and descriptions of the skills (and commands) that the model may load, as often as listed."""
    return _bullets(everything(body), _SKILLS)


def agents_offered(body: Body) -> list[tuple[str, str]]:
    return _bullets(everything(body), _AGENTS)


def tools_offered(body: Body) -> set[str]:
    return {tool["name"] for tool in body["tools"]}


def _bullets(text: str, heading: str) -> list[tuple[str, str]]:
    """Return what stands in the lines `- name: description` below each line with the heading, up to another line."""
    found = []
    for start in re.finditer(re.escape(heading) + r".*\n", text):
        lines = re.match(r"\n*((?:- .*\n?)*)", text[start.end() :])
        assert lines is not None
        found += [line[2:].partition(": ")[::2] for line in lines[1].splitlines()]
    return [(name, description) for name, description in found]
