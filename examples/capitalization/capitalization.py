"""The capitalization task for inspect-ai: does the model's answer equal the target, letter for letter?

Knows how a JSONL file becomes samples and how an answer is scored. File, columns, prompt and system
message are arguments, so that training and evaluation are told the same ones from the same place.
"""

import json
from difflib import SequenceMatcher
from pathlib import Path

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import (
    ChatMessage,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
)
from inspect_ai.scorer import Score, Scorer, Target, match, mean, scorer, stderr
from inspect_ai.solver import TaskState, generate

# Greedy. Not `temperature=0`: the hf provider samples by default, and transformers refuses a zero there.
GREEDY = GenerateConfig(top_k=1, max_tokens=24)


@task  # type: ignore[untyped-decorator]
def capitalization(
    data: str,
    input: str = "input",  # noqa: A002  (the field's own word, and what users type after -T)
    target: str = "output",
    prompt: str = "{input}",
    system: str | None = None,
    limit: int | None = None,
) -> Task:
    """Ask for the target of every row and compare.

    Args:
        data: JSONL file, one object a line.
        input: Column whose value replaces `{input}` in the prompt.
        target: Column with the right answer.
        prompt: What the user says.
        system: What the system message says; none by default.
        limit: Use only the first rows.
    """
    path = Path(data)
    rows = read_rows(path, columns=[input, target])[:limit]
    return Task(
        dataset=MemoryDataset(
            [
                Sample(
                    id=number,
                    input=messages(fill(prompt, row[input]), system),
                    target=row[target],
                )
                for number, row in enumerate(rows, start=1)
            ],
            name=path.stem,
            location=str(path),
        ),
        solver=generate(),
        # Not `exact()`: it folds case, and case is what this task is about.
        scorer=[match(location="exact", ignore_case=False), similarity()],
        config=GREEDY,
    )


@scorer(metrics=[mean(), stderr()])  # type: ignore[untyped-decorator]
def similarity() -> Scorer:
    """Score from 0 to 1 how much of answer and target is the same characters in the same order."""

    async def score(state: TaskState, target: Target) -> Score:
        answer = state.output.completion.strip()
        ratio = SequenceMatcher(None, answer, target.text, autojunk=False).ratio()
        return Score(value=ratio, answer=answer)

    return score


def read_rows(path: Path, columns: list[str]) -> list[dict[str, str]]:
    """Return the rows of a JSONL file, or raise ValueError unless each has text in the columns asked for."""
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = [(number, json.loads(line)) for number, line in enumerate(lines, start=1) if line.strip()]
    if not rows:
        raise ValueError(f"{path}: the file is empty")
    for number, row in rows:
        for column in columns:
            if column not in row:
                raise ValueError(f"{path}:{number}: no column `{column}`; columns: {', '.join(row)}")
            if not isinstance(row[column], str):
                raise ValueError(  # noqa: TRY004  (a fault of the file, like the others)
                    f"{path}:{number}: column `{column}` is not text: {row[column]!r}"
                )
    return [row for _, row in rows]


def fill(prompt: str, value: str) -> str:
    """Return the prompt with `{input}` replaced; other braces in it are left alone."""
    # `-T` reads its value as YAML, which makes a mapping of an unquoted `capitalize: {input}`.
    if not isinstance(prompt, str) or "{input}" not in prompt:
        raise ValueError(f"the prompt is no text with `{{input}}` in it: {prompt!r}")
    return prompt.replace("{input}", value)


def messages(prompt: str, system: str | None) -> list[ChatMessage]:
    user = ChatMessageUser(content=prompt)
    return [user] if system is None else [ChatMessageSystem(content=system), user]
