"""What each command does: the one table for the hooks, for the permissions of a project and for this repository's own.

A command is a word, or two for a command of a group. Workers bring `scaffold-<tool>` and `run-<tool>` of their own.
"""

from __future__ import annotations

READING = (
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
SUBMITTING = ("retry", "run-experiment", "run-inspect", "run-torchtune")
CANCELLING = ("cancel",)
DELETING = ("clean",)
WRITING = (
    "analyze-experiment",
    "archive",
    "check-experiment",
    "create-inspect-task",
    "design-experiment",
    "export",
    "restore",
    "scaffold-experiment",
    "scaffold-inspect",
    "scaffold-torchtune",
    "skills link",
    "skills unlink",
    "split",
)
GROUPS = frozenset({"skills"})  # whose second word is the command

REPLACE = "--replace"  # makes a writing command set aside or write over what was there
# What makes any command a reading one, unless it is the value of the option before it.
HARMLESS = frozenset({"--dry-run", "--help", "--version", "-h"})
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
