"""Does a model read the right skill first? The pack's own skills as an inspect-ai evaluation.

    inspect eval evals/skills.py --model PROVIDER/MODEL

The requests are the cases in tests/triggering/cases, the tool is inspect-ai's own `skill()`. Nothing but skills can be
called, so no command of a model is ever run.
"""

from pathlib import Path

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageAssistant, ChatMessageTool
from inspect_ai.scorer import Score, Scorer, Target, accuracy, grouped, scorer, stderr
from inspect_ai.solver import TaskState, generate, use_tools
from inspect_ai.tool import skill

from tuneloop.librarian.cases import Case, read_cases
from tuneloop.librarian.confusion import NOTHING
from tuneloop.librarian.pack import read_pack

ROOT = Path(__file__).resolve().parent.parent


@task
def skills(cases: str = str(ROOT / "tests" / "triggering" / "cases")) -> Task:
    folders = [item.folder for item in read_pack(ROOT).chosen()]
    return Task(
        dataset=MemoryDataset([_sample(case) for case in read_cases(Path(cases))]),
        solver=[use_tools(skill(folders)), generate(tool_calls="single")],
        scorer=right_skill_first(),
        sandbox="local",  # the tool copies a skill there when it is read; no other tool uses it
    )


def _sample(case: Case) -> Sample:
    return Sample(input=case.request, target=case.expect or NOTHING, metadata={"author": case.author})


@scorer(metrics=[grouped(accuracy(), "author"), stderr()])
def right_skill_first() -> Scorer:
    async def score(state: TaskState, target: Target) -> Score:
        found = first_read(state)
        return Score(value=float(found == target.text), answer=found)

    return score


def first_read(state: TaskState) -> str:
    """Return the first skill that the model asked for and was given."""
    failed = {item.tool_call_id for item in state.messages if isinstance(item, ChatMessageTool) and item.error}
    for message in state.messages:
        if isinstance(message, ChatMessageAssistant):
            for call in message.tool_calls or []:
                if call.function == "skill" and call.id not in failed:
                    return str(call.arguments["command"])
    return NOTHING
