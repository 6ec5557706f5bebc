"""What each command does: the one table for the hooks, for the permissions of a project and for this repository's own.

A command is a word, or two for a command of a group. Workers bring `scaffold-<tool>` and `run-<tool>` of their own.

`explain`, `doctor` and `sample` are reading commands although they start something of the project: the interpreter that
its configuration names, as jobs do, and with it `explain` loads the project's own evaluation tasks, and `sample` a
model, in formats that hold no code. They write nothing, and spend no budget. Who wants to be asked, as in a project
that is not trusted, denies them in the client's own permissions.
"""

from __future__ import annotations

READING = (
    "cluster list",
    "config",
    "doctor",
    "explain",
    "logs",
    "sample",
    "skills doctor",
    "skills status",
    "status",
    "wait",
)
SUBMITTING = ("cluster check", "retry", "run-experiment", "run-inspect", "run-torchtune")
CANCELLING = ("cancel",)
DELETING = ("clean",)
WRITING = (
    "analyze-experiment",
    "archive",
    "check-experiment",
    "cluster add",
    "create-inspect-task",
    "design-experiment",
    "export",
    "fetch",
    "restore",
    "scaffold-experiment",
    "scaffold-inspect",
    "scaffold-torchtune",
    "skills link",
    "skills unlink",
    "split",
)
GROUPS = frozenset({"cluster", "skills"})  # whose second word is the command

REPLACE = "--replace"  # makes a writing command set aside or write over what was there
# What makes a command a reading one, unless it is the value of the option before it.
DRY_RUN = "--dry-run"
HELP = frozenset({"--help", "--version", "-h"})
HARMLESS = frozenset({DRY_RUN, *HELP})
# Their dry runs build the project's own tasks and components: they write nothing, and run what the project holds.
BUILDING = frozenset(
    {
        "check-experiment",
        "create-inspect-task",
        "design-experiment",
        "scaffold-experiment",
        "scaffold-inspect",
        "scaffold-torchtune",
    }
)
# Options without a value: the word after one of them stands for itself.
FLAGS = frozenset({"--all", "--by-policy", "--detach", "--failed", "--follow", "--json", "--without-weights"})


def kind_of(command: str) -> str | None:
    """Return `reading`, `submitting`, `cancelling`, `deleting` or `writing`; None for a word that is no command."""
    for kind, names in _KINDS.items():
        if command in names:
            return kind
    if command.startswith("run-"):
        return "submitting"
    return "writing" if command.startswith("scaffold-") else None


def builds(command: str) -> bool:
    """Tell whether a dry run of the command runs code of the project."""
    return command in BUILDING or command.startswith("scaffold-")


def allow_rules(tool: str = "tuneloop") -> list[str]:
    """Return the entries of `permissions.allow` with which reading commands pass without a question."""
    asking_for_help = [f"Bash({tool} {flag})" for flag in ("--help", "--version")]
    return asking_for_help + [f"Bash({tool} {command}:*)" for command in READING]


_KINDS = {
    "reading": READING,
    "submitting": SUBMITTING,
    "cancelling": CANCELLING,
    "deleting": DELETING,
    "writing": WRITING,
}
