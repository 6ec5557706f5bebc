"""What the pack costs its reader, in characters: the listing that is always there, and the Markdown of a whole pass.

Only reads. A client pays the listing in every session, and cuts it off where it becomes too long.
"""

from tuneloop.documents.files import read_text
from tuneloop.librarian.pack import Agent, Command, Pack, Skill

LISTING = 4000  # half of the 8,000 that Claude Code gives all listings together with a context of 200,000 tokens
LISTING_NOW = LISTING * 2 // 3  # a third is left for the skills still to come
PASS = 24_000  # the Markdown from the design to the report
SESSION_START = 400  # what the hook tells when a session begins
STAGES = ("design-experiment", "scaffold-experiment", "run-experiment", "analyze-experiment")
DETOURS = {"create-inspect-task"}  # required, and read only where nothing measures the data yet
COMMANDS = ("speckit-specify", "speckit-plan", "speckit-tasks", "speckit-implement")  # from a sentence to a report


def listing(pack: Pack) -> str:
    """Return what the client prints of the default skills, of the commands a model may call, and of the agents."""
    lines = [f"- {skill.name}: {skill.head.description}" for skill in pack.chosen()]
    lines += [f"- {item.name}: {item.head.description}" for item in pack.commands if _is_listed(item)]
    lines += [_agent_line(agent) for agent in pack.agents]
    return "\n".join(lines)


def size(skill: Skill) -> int:
    """Return the characters of Markdown that a reader of the skill may load: its body, and what lies beside it."""
    beside = (path for path in skill.folder.rglob("*.md") if path.name != "SKILL.md")
    return len(skill.body) + sum(len(read_text(path)) for path in beside)


def on_the_way(pack: Pack) -> tuple[Skill, ...]:
    """Return what is read from a design to its report: the stages and all that they send their reader to.

    A detour is left out: most designs have a task.
    """
    return tuple(skill for skill in pack.chosen(STAGES) if skill.name not in DETOURS)


def pass_size(pack: Pack) -> int:
    """Return the characters of Markdown of a whole pass, which the promise is about."""
    return sum(size(skill) for skill in on_the_way(pack))


def longest_pass_size(pack: Pack) -> int:
    """Return the characters of a pass with its detours, every template that a skill brings among them."""
    skills = pack.chosen(STAGES)
    templates = (path for skill in skills for path in skill.folder.glob("assets/*.yaml"))
    return sum(size(skill) for skill in skills) + sum(len(read_text(path)) for path in templates)


def commands_pass_size(pack: Pack) -> int:
    """Return the characters of a pass by slash commands, which send their reader to the same skills."""
    return pass_size(pack) + sum(len(command.body) for command in pack.commands if command.name in COMMANDS)


def _is_listed(command: Command) -> bool:
    return not command.head.disable_model_invocation


def _agent_line(agent: Agent) -> str:
    return f"- {agent.name}: {agent.head.description} (Tools: {agent.head.tools})"
