"""The cases as a suite for `claude plugin eval`: one request for each skill, and one that none should answer.

Pure: it returns the files' texts; `scripts/make-evals` writes them.
"""

from collections.abc import Iterable

from tuneloop.documents.yamltext import dump_yaml
from tuneloop.librarian.cases import Case

RUNS = 3  # of each case: a model does not decide alike each time
_TURNS = 3  # the skill comes first or not at all


def suite(cases: Iterable[Case]) -> dict[str, str]:
    """Return the files of the suite, by their path below `evals/`, from the first case of each skill and of none."""
    found: dict[str, str] = {}
    for case in cases:
        name = case.expect or "nothing"
        if case.expect in (case.about, None) and f"{name}/prompt.md" not in found:
            found[f"{name}/prompt.md"] = _prompt(case)
            found[f"{name}/graders/skill.md"] = _head(_grader(case.expect))
    return dict(sorted(found.items()))


def _prompt(case: Case) -> str:
    head = {
        "schema_version": "1.1",
        "description": f"A request for {case.expect}" if case.expect else "A request that is for no skill",
        "tags": ["triggering"],
        "runs": RUNS,
        "max_turns": _TURNS,
        "allowed_tools": ["Skill"],
    }
    return f"{_head(head)}\n{case.request}\n"


def _grader(expect: str | None) -> dict[str, object]:
    """The client matches the pattern with the tool's input as JSON, where a plugin's skill may carry its prefix."""
    if expect is None:
        return {"type": "tool_used", "tool": "Skill", "min": 0, "max": 0}
    return {"type": "tool_used", "tool": "Skill", "input_match": f'"(tuneloop:)?{expect}"'}


def _head(value: object) -> str:
    return f"---\n{dump_yaml(value)}---\n"
