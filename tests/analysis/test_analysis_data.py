"""The analysis as data: the numbers of the report, before they are rounded, and no others."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from conftest import CHANCES, rows_of
from tuneloop.analysis import analyze, as_data
from tuneloop.analysis.view import runs_table
from tuneloop.analysis.wording import answer, number, primary_decimals, signed
from tuneloop.cli.output import MOST_JSON, write_json
from tuneloop.experiment.read import Experiment
from tuneloop.experiment.work import Row


def column(analysis: Any, name: str) -> list[str]:
    table = runs_table(analysis)
    return [line[table.columns.index(name)].text for line in table.lines]


def text(value: float | None, interval: list[float] | None, show: Callable[[float, int], str], decimals: int) -> str:
    """Return a number as the report writes it."""
    if value is None:
        return "\N{EN DASH}"
    ends = "" if interval is None else " [" + ", ".join(number(end, decimals) for end in interval) + "]"
    return show(value, decimals) + ends


def test_each_number_rounds_to_what_the_report_says(experiment: Experiment, rows: Sequence[Row]) -> None:
    analysis = analyze(experiment, rows)
    told, decimals = as_data(analysis), primary_decimals(analysis)
    assert len(told["results"]) == len(CHANCES)
    for name, shown in {
        "run": [item["run"] for item in told["results"]],
        "n": [f"{item['n']:,}" for item in told["results"]],
        "mean [95 %]": [text(item["mean"], item["interval"], number, decimals) for item in told["results"]],
        "difference [95 %]": [
            text(found.get("estimate"), found.get("interval"), signed, decimals)
            for found in (item["difference"] or {} for item in told["results"])
        ],
        "verdict": [item["verdict"] or "\N{EN DASH}" for item in told["results"]],
    }.items():
        assert shown == column(analysis, name), name
    assert told["answer"] == answer(analysis)
    assert told["primary"] == {
        "evaluation": "capitalization",
        "scorer": "match",
        "direction": "maximize",
        "smallest_effect": 0.05,
        "exploratory": False,
    }


def test_guardrails_and_other_scorers_are_told_for_each_run(experiment: Experiment, rows: Sequence[Row]) -> None:
    told = as_data(analyze(experiment, rows))
    held = dict.fromkeys([name for name in CHANCES if name != "control"], "held")
    held["rank4_lr3e-4"] = "inconclusive"
    assert {item["run"]: item["held"] for item in told["guardrails"]} == held
    assert {(item["evaluation"], item["scorer"]) for item in told["others"]} == {
        ("capitalization", "similarity"),
        ("longer", "match"),
        ("longer", "similarity"),
    }
    assert len(told["others"]) == 3 * len(CHANCES)
    assert not any("verdict" in item for item in told["others"])


def test_a_run_without_scores_has_nulls_and_its_state(experiment: Experiment, rows: Sequence[Row]) -> None:
    kept = [row for row in rows if row.run != "rank4_lr3e-4"]
    told = as_data(analyze(experiment, kept, states={"train/rank4_lr3e-4": "failed (out of memory)"}))
    (missing,) = (item for item in told["results"] if item["run"] == "rank4_lr3e-4")
    assert missing["state"] == "failed (out of memory)"
    assert (missing["n"], missing["mean"], missing["difference"], missing["verdict"]) == (0, None, None, None)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_items_are_still_json(experiment: Experiment, count: int) -> None:
    """Without items nothing is measured; with one there is no interval, and no NaN stands in for it."""
    told = as_data(analyze(experiment, rows_of(CHANCES, n=count) if count else []))
    json.dumps(told, allow_nan=False)
    assert (told["primary"] is None) == (count == 0)
    assert all((item["interval"] is None) == (item["n"] < 2) for item in told["results"])


def test_a_design_without_metrics_explores(make: Callable[..., Experiment], rows: Sequence[Row]) -> None:
    metrics = "metrics:\n  primary: {evaluation: capitalization, smallest_effect: 0.05}\n  guardrails:\n"
    rail = "    - {evaluation: longer, scorer: similarity, tolerance: 0.05}\n"
    told = as_data(analyze(make((metrics + rail, "")), rows))
    assert told["primary"]["exploratory"]
    assert told["guardrails"] == []


def test_many_runs_are_cut_and_it_says_so(make: Callable[..., Experiment], capsys: pytest.CaptureFixture[str]) -> None:
    experiment = make(("lora_rank: [4, 32], lr: [3e-4, 3e-3]", "lora_rank: [1, 2, 3, 4, 5, 6], lr: [1, 2, 3, 4, 5]"))
    runs = [run.name for run in experiment.runs if run.kind == "train"]
    told = as_data(analyze(experiment, rows_of({"control": (0.3,)} | dict.fromkeys(runs, (0.4, 0.5)), n=20)))
    write_json(told)
    short = capsys.readouterr().out
    assert len(short) < MOST_JSON
    assert "of 93 others" in json.loads(short)["truncated"]
    write_json(told, whole=True)
    assert json.loads(capsys.readouterr().out) == told
