"""Created tasks at work: each kind evaluated, its scores against values computed by hand or by another way.

One process makes all logs: an evaluation leaves streams open, and here warnings are errors. It runs in another folder
than the tasks, which find the data beside them.
"""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from inspect_support import BASE

from tuneloop.workers.inspect.columns import read_rows
from tuneloop.workers.inspect.create import Wish, render, resolve

pytestmark = pytest.mark.train

EXACT = [("a", "yes!"), ("b", "yes?"), ("c", "Yes"), ("d", " no ")]
NUMBERS: list[tuple[str, Any]] = [("1", 100), ("2", "1,000"), ("3", -0.5), ("4", 7)]
PATTERNS = [("a", "x"), ("b", "y")]
QUIZ = [
    ("copy: B", "beta", ["alpha", "beta", "gamma"]),
    ("copy: A", "beta", ["alpha", "beta"]),
    ("capitalize: c", "gamma", ["alpha", "beta", "gamma"]),
]
# What the model that needs no weights says to each of them.
SAID = {
    "exact": {"a": "yes!", "b": "yes!", "c": "yes", "d": "no\n"},
    "numeric": {"1": "about 101 of them", "2": "1000.5", "3": "-0.5", "4": "seven"},
    "pattern": {"a": "I say: x.", "b": "y"},
}
LOGPROBS = {
    # Letter to probability; the rest of the mass is on other words.
    "copy: B": {"B": 0.5, "\u0120B": 0.2, "A": 0.1, "the": 0.2},
    "copy: A": {"A": 0.9, "b": 0.1},
    "capitalize: c": {"hello": 1.0},
}

EVALUATE = '''\
"""Evaluates every task of a folder and prints what the logs say. Arguments: the folder, the model, a JSON file."""
import importlib.util, json, math, sys
from pathlib import Path
from inspect_ai import eval as evaluate
from inspect_ai.model import Logprob, Logprobs
from inspect_ai.model import ModelOutput, ModelUsage, TopLogprob, get_model

folder, base = Path(sys.argv[1]), sys.argv[2]
told = json.loads(Path(sys.argv[3]).read_text())


def said(text):
    output = ModelOutput.from_content("mockllm", text)
    output.usage = ModelUsage()  # or inspect would fetch a tokenizer to count with
    return output


def scripted(texts):
    def answer(input, tools, tool_choice, config):
        return said(texts[input[-1].text])
    return get_model("mockllm/model", custom_outputs=answer, memoize=False)


def likely(input, tools, tool_choice, config):
    given = told["logprobs"][input[-1].text.split("\\n")[0]]
    top = [TopLogprob(token=token, logprob=math.log(p)) for token, p in given.items()]
    first = Logprob(token=top[0].token, logprob=top[0].logprob, top_logprobs=top)
    output = said(top[0].token)
    output.choices[0].logprobs = Logprobs(content=[first])
    return output


def judged(input, tools, tool_choice, config):
    right = "[Submission]: yes!" in input[-1].text
    return said("Looks plausible. GRADE: " + ("C" if right else "I"))


def loaded(name):
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def report(task, model, **options):
    [log] = evaluate(task, model=model, log_dir=str(folder / "logs"), display="none", max_connections=8, **options)
    return {
        "status": log.status,
        "error": log.error.message if log.error else "",
        "scores": [{name: [str(score.value), score.answer, score.metadata] for name, score in sample.scores.items()}
                   for sample in sorted(log.samples, key=lambda sample: sample.id)] if log.status == "success" else [],
        "metrics": {f"{score.name}/{name}": metric.value for score in (log.results.scores if log.results else [])
                    for name, metric in score.metrics.items()},
        "scorers": {item.name: item.options for item in log.eval.scorers or []},
        "config": log.plan.config.model_dump(exclude_none=True),
    }


def by_hand(prompts):
    """The probability of each letter as the next token, straight from the logits."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    tokenizer, model = AutoTokenizer.from_pretrained(base), AutoModelForCausalLM.from_pretrained(base)
    found = []
    for prompt in prompts:
        text = tokenizer.apply_chat_template([{"role": "user", "content": prompt}], tokenize=False,
                                             add_generation_prompt=True)
        with torch.inference_mode():
            logits = model(**tokenizer(text, return_tensors="pt")).logits[0, -1]
        top = dict(zip(*[part.tolist() for part in reversed(torch.softmax(logits, -1).topk(20))]))
        found.append({letter: top.get(tokenizer.convert_tokens_to_ids(letter)) for letter in "ABC"})
    return found


local = get_model("hf/local", model_path=base, device="cpu", do_sample=False)
graded = loaded("graded")
graded.JUDGE_ARGUMENTS["custom_outputs"] = judged
tiny = loaded("graded_by_tiny")
tiny.JUDGE_SETTINGS["max_tokens"] = 2
tasks = {name: f"{folder.name}/{name}.py" for name in ("exact", "numeric", "pattern", "choice")}
made = {name: report(tasks[name], scripted(told["said"][name])) for name in told["said"]}
made["choice"] = report(tasks["choice"], get_model("mockllm/model", custom_outputs=likely, memoize=False))
made["choice repeated"] = report(tasks["choice"], get_model("mockllm/model", custom_outputs=likely, memoize=False), epochs=2)
made["no logprobs"] = report(tasks["choice"], get_model("mockllm/model", custom_outputs=lambda *given: said("B"), memoize=False))
made["choice of tiny"] = report(tasks["choice"], local)
made["exact of tiny"] = report(tasks["exact"], local)
made["graded"] = report(graded.task_graded(str(folder / "graded.jsonl")), scripted(told["said"]["exact"]))
made["graded by tiny"] = report(tiny.graded_by_tiny(str(folder / "graded_by_tiny.jsonl")), scripted(told["said"]["exact"]))
made["by hand"] = by_hand(told["prompts"])
Path(sys.argv[3]).write_text(json.dumps(made))
'''


def write_task(folder: Path, kind: Any, rows: list[dict[str, Any]], name: str = "", **options: Any) -> None:
    data = folder / f"{name or kind}.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = resolve(read_rows(data), Wish(kind, name or kind, data.name, **options))
    (folder / f"{name or kind}.py").write_text(render(spec))


def pairs(rows: list[tuple[str, Any]]) -> list[dict[str, Any]]:
    return [{"input": asked, "output": target} for asked, target in rows]


def prompt_of(question: str, choices: list[str]) -> str:
    listed = "\n".join(f"{letter}) {text}" for letter, text in zip("ABC", choices, strict=False))
    letters = ",".join("ABC"[: len(choices)])
    return f"{question}\n\n{listed}\n\nAnswer with one letter of {letters}."


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Evaluate everything once."""
    folder = tmp_path_factory.mktemp("created")
    write_task(folder, "exact", pairs(EXACT))
    write_task(folder, "numeric", pairs(NUMBERS), tolerance=0.5, relative_tolerance=0.01)
    write_task(folder, "pattern", pairs(PATTERNS), pattern=r"say: (\w)")
    write_task(folder, "choice", [dict(zip(("input", "output", "choices"), row, strict=True)) for row in QUIZ])
    write_task(folder, "graded", pairs(EXACT), judge="mockllm/judge")
    arguments = {"model_path": str(BASE)}
    write_task(folder, "graded", pairs(EXACT[:2]), "graded_by_tiny", judge="hf/tiny", judge_arg=arguments)
    answer = folder / "answer.json"
    prompts = [prompt_of(question, choices) for question, _, choices in QUIZ]
    answer.write_text(json.dumps({"said": SAID, "logprobs": LOGPROBS, "prompts": prompts}))
    script = folder / "evaluate.py"
    script.write_text(EVALUATE)
    environment = os.environ | {"XDG_DATA_HOME": str(folder), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    argv = [sys.executable, str(script), str(folder), str(BASE), str(answer)]
    done = subprocess.run(argv, env=environment, cwd=folder.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(answer.read_text())
    return found


def values(report: dict[str, Any], scorer: str) -> list[str]:
    assert report["status"] == "success", report["error"]
    return [scores[scorer][0] for scores in report["scores"]]


def test_exact_is_exact(made: dict[str, Any]) -> None:
    # Neither another mark nor another case passes; white space around does.
    assert values(made["exact"], "verbatim") == ["C", "I", "I", "C"]
    assert made["exact"]["metrics"]["verbatim/accuracy"] == 0.5


def test_numbers_have_a_tolerance(made: dict[str, Any]) -> None:
    assert values(made["numeric"], "numeric") == ["C", "C", "C", "I"]
    assert [scores["numeric"][1] for scores in made["numeric"]["scores"]] == ["101", "1000.5", "-0.5", None]
    assert made["numeric"]["scorers"] == {"numeric": {"absolute": 0.5, "relative": 0.01}}


def test_patterns_are_found(made: dict[str, Any]) -> None:
    assert values(made["pattern"], "pattern") == ["C", "I"]


@pytest.mark.parametrize("log", ["choice", "choice repeated"])
def test_choices_are_compared_by_their_probability(made: dict[str, Any], log: str) -> None:
    report = made[log]
    assert values(report, "most_likely")[:: 2 if log != "choice" else 1] == ["C", "I", "I"]
    first, second, third = [scores["most_likely"][2] for scores in report["scores"][:: 2 if log != "choice" else 1]]
    # A letter with a space before it is the same letter; C was not among the tokens.
    assert first["probabilities"] == pytest.approx({"A": 0.1 / 0.8, "B": 0.7 / 0.8, "C": 0})
    assert second["probabilities"] == pytest.approx({"A": 1, "B": 0})  # a small b is no letter
    assert third["probabilities"] == pytest.approx({"A": 1 / 3, "B": 1 / 3, "C": 1 / 3})
    metrics = report["metrics"]
    assert metrics["most_likely/accuracy"] == pytest.approx(1 / 3)
    assert metrics["most_likely/mass_on_choices"] == pytest.approx((0.8 + 0.9 + 0) / 3)
    assert metrics["most_likely/expected_calibration_error"] == pytest.approx((0.125 + 1 + 1 / 3) / 3)
    brier = [2 * 0.125**2, 2, 4 / 9 + 2 / 9]
    assert metrics["brier_score/mean"] == pytest.approx(sum(brier) / 3)


def test_no_log_probabilities_are_an_error(made: dict[str, Any]) -> None:
    assert made["no logprobs"]["status"] == "error"
    assert "the model returned no log-probabilities" in made["no logprobs"]["error"]


def test_the_tiny_models_probabilities_are_its_logits(made: dict[str, Any]) -> None:
    report = made["choice of tiny"]
    assert values(report, "most_likely")[:2] == ["C", "I"]
    for scores, hand, (_, _, choices) in zip(report["scores"], made["by hand"], QUIZ, strict=True):
        noted = scores["most_likely"][2]
        known = {letter: hand[letter] or 0 for letter in "ABC"[: len(choices)]}
        mass = sum(known.values())
        assert noted["mass"] == pytest.approx(mass, rel=1e-3)
        if mass:
            shares = {letter: value / mass for letter, value in known.items()}
            assert noted["probabilities"] == pytest.approx(shares, rel=1e-3, abs=1e-9)
    assert any(hand[letter] for hand in made["by hand"] for letter in "ABC"), "no letter was among the likeliest"


def test_generation_settings_are_the_tasks(made: dict[str, Any]) -> None:
    config = made["choice of tiny"]["config"]
    assert {name: config[name] for name in ("max_tokens", "top_k", "logprobs", "top_logprobs")} == {
        "max_tokens": 1,
        "top_k": 1,
        "logprobs": True,
        "top_logprobs": 20,
    }
    assert made["exact of tiny"]["config"]["max_tokens"] == 16


def test_the_judge_decides_and_stands_in_the_log(made: dict[str, Any]) -> None:
    report = made["graded"]
    assert values(report, "graded") == ["C", "C", "I", "I"]
    options = report["scorers"]["graded"]
    assert options["judge"] == "mockllm/judge"
    assert options["settings"] == {"seed": 1, "max_tokens": 1024, "temperature": 0.0}


def test_an_answer_without_a_grade_is_unscored(made: dict[str, Any]) -> None:
    report = made["graded by tiny"]
    assert all(math.isnan(float(value)) for value in values(report, "graded"))
    options = report["scorers"]["graded"]
    assert options["arguments"] == {"do_sample": False, "model_path": str(BASE)}
