"""Run evals/skills.py with models that call for a skill by a table, and write what inspect-ai made of it.

usage: scripted_evaluation.py TABLES.json RESULTS.json

A program of its own, as for a user: inside of pytest, inspect-ai's logging and its event loop get in the way.
"""

import json
import runpy
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inspect_ai import eval as inspect_eval
from inspect_ai.model import Model, ModelOutput, ModelUsage, get_model

ROOT = Path(__file__).resolve().parents[2]
STEP = 11  # a sample in so many: each copies the whole pack into its sandbox


def main(tables: Path, results: Path) -> None:
    made = {name: evaluate(table, results.parent) for name, table in json.loads(tables.read_text()).items()}
    results.write_text(json.dumps(made))


def evaluate(table: Mapping[str, str | None], folder: Path) -> dict[str, Any]:
    task = runpy.run_path(str(ROOT / "evals" / "skills.py"))["skills"]()
    task.dataset = task.dataset[::STEP]
    (log,) = inspect_eval(task, model=scripted(table), log_dir=str(folder / "logs"), display="none")
    assert log.status == "success", log.error
    (score,) = log.results.scores
    return {
        "metrics": {name: metric.value for name, metric in score.metrics.items()},
        "samples": [
            {
                "request": sample.input,
                "target": sample.target,
                "answer": sample.scores[score.name].answer,
                "read": [message.text for message in sample.messages if message.role == "tool"],
            }
            for sample in log.samples
        ],
    }


def scripted(table: Mapping[str, str | None]) -> Model:
    """Return a model that calls for what the table says of a request, and for nothing else."""

    def answer(messages: Any, tools: Any, *_: Any) -> ModelOutput:
        assert [tool.name for tool in tools] == ["skill"]
        name = table[messages[0].text] if messages[-1].role == "user" else None
        if name is None:
            output = ModelOutput.from_content("mockllm/model", "I can do that without a skill.")
        else:
            output = ModelOutput.for_tool_call("mockllm/model", "skill", {"command": name})
        output.usage = ModelUsage()  # without, the mock counts tokens with a tokenizer from the network
        return output

    return get_model("mockllm/model", custom_outputs=answer, memoize=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
