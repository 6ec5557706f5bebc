"""The suites for users with a model: inspect-ai's own evaluation of the skills, and the one for `claude plugin eval`."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tuneloop.librarian.cases import Case, read_cases
from tuneloop.librarian.pack import read_pack
from tuneloop.librarian.ranking import first, index
from tuneloop.librarian.suite import suite

HERE = Path(__file__).parent
EVALS = HERE.parents[1] / "evals"
Results = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return read_cases(HERE / "cases")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, cases: list[Case]) -> Results:
    """What inspect-ai made of four models: one that knows, one with one idea, one that makes names up, the ranker."""
    folder = tmp_path_factory.mktemp("inspect")
    skills = index(read_pack().chosen())
    tables = {
        "knowing": {case.request: case.expect for case in cases},
        "single-minded": {case.request: "design-experiment" for case in cases},
        "inventive": {case.request: "no-such-skill" for case in cases},
        "lexical": {case.request: first(case.request, skills) for case in cases},
    }
    (folder / "tables.json").write_text(json.dumps(tables))
    program = [sys.executable, HERE / "scripted_evaluation.py", folder / "tables.json", folder / "results.json"]
    done = subprocess.run(program, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    found: Results = json.loads((folder / "results.json").read_text())
    return found


@pytest.mark.slow
def test_a_model_that_knows_the_answers_is_right_everywhere(results: Results) -> None:
    assert results["knowing"]["metrics"]["all"] == 1
    assert {"insider", "naive"} <= set(results["knowing"]["metrics"])


@pytest.mark.slow
def test_a_skill_that_is_called_for_is_read(results: Results) -> None:
    called = [sample for sample in results["knowing"]["samples"] if sample["target"] != "nothing"]
    assert len(called) > 6
    for sample in called:
        (text,) = sample["read"]
        assert read_pack().skill(sample["target"]).body.strip() in text


@pytest.mark.slow
def test_a_model_with_one_idea_is_right_only_there(results: Results) -> None:
    meant = [sample["target"] == "design-experiment" for sample in results["single-minded"]["samples"]]
    assert results["single-minded"]["metrics"]["all"] == pytest.approx(sum(meant) / len(meant))
    assert not all(meant)


@pytest.mark.slow
def test_an_unknown_skill_counts_as_none(results: Results) -> None:
    assert {sample["answer"] for sample in results["inventive"]["samples"]} == {"nothing"}


@pytest.mark.slow
def test_the_ranker_is_as_good_there_as_here(results: Results, cases: list[Case]) -> None:
    skills = index(read_pack().chosen())
    expected = {case.request: case.expect for case in cases}
    asked = [sample["request"] for sample in results["lexical"]["samples"]]
    right = sum(first(request, skills) == expected[request] for request in asked)
    assert results["lexical"]["metrics"]["all"] == pytest.approx(right / len(asked))


def test_the_suite_for_the_client_is_written_from_the_cases(cases: list[Case]) -> None:
    written = {path.relative_to(EVALS).as_posix(): path.read_text() for path in EVALS.glob("*/**/*.md")}
    assert written == suite(cases), "run scripts/make-evals"


def test_the_suite_has_a_case_for_each_skill_and_one_for_none(cases: list[Case]) -> None:
    prompts = {place.split("/")[0] for place in suite(cases) if place.endswith("prompt.md")}
    assert prompts == {skill.name for skill in read_pack().chosen()} | {"nothing"}
