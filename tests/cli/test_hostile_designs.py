"""Whatever a design holds: never a traceback, a half-written folder, or an unquoted word in a script."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hostile
import pytest
import yaml
from cli_support import DESIGN, prepare
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ECHO: dict[str, Any] = yaml.safe_load(DESIGN) | {
    "hypothesis": "It does.",
    "seeds": [1],
    "budget": {"hours": 1},
    "policy": {"retries": 1},
}
ECHO["evaluations"][0] |= {"args": {"note": "a"}, "generation": {"max_tokens": 4}, "epochs": "last"}
ECHO["data"][0] |= {"prompt": "say: {input}", "system": "Be brief."}
REAL: dict[str, Any] = {
    "schema": "tuneloop.experiment/1",
    "name": "probe",
    "question": "Does it hold?",
    "method": {"objective": "sft", "update": "lora"},
    "model": str(ROOT / "examples" / "tiny-base"),
    "data": [
        {
            "split": "train",
            "path": "data.jsonl",
            "format": "instruct",
            "columns": {"input": "word", "output": "answer"},
            "prompt": "say: {input}",
            "system": "Be brief.",
        },
        {"split": "test", "path": "data.jsonl"},
    ],
    "variables": {"lora_rank": [4, 8]},
    "controls": {"epochs": 1, "batch_size": 2, "lr": 1e-3, "torchtune": {"log_every_n_steps": 1}},
    "evaluations": [
        {"name": "cap", "task": "task.py", "split": "test", "generation": {"max_tokens": 4}, "args": {"limit": 2}}
    ],
    "metrics": {"primary": {"evaluation": "cap", "smallest_effect": 0.05}},
    "runs": [{"name": "control", "kind": "control"}],
}
_SETTINGS: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
    "print_blob": True,
}
FAST = settings(max_examples=50, derandomize=True, phases=[Phase.explicit, Phase.generate], **_SETTINGS)
FEW = settings(max_examples=15, derandomize=True, phases=[Phase.explicit, Phase.generate], **_SETTINGS)
LONG = settings(max_examples=1000, **_SETTINGS)


@pytest.fixture(autouse=True)
def _in_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    hostile.workers_in_process(monkeypatch)
    with tempfile.TemporaryDirectory() as place:
        monkeypatch.chdir(place)  # where a canary would land
        yield
        assert not (Path(place) / hostile.CANARY).exists()


def loop(text: str) -> int:
    """Take a design through design, check, scaffold and explain; return how many scripts were written."""
    with tempfile.TemporaryDirectory() as place:
        written = _from_file(prepare(Path(place) / "from"), text)
        return written + _from_summary(prepare(Path(place) / "by hand"), text)


def _from_file(folder: Path, text: str) -> int:
    _task(folder)
    (folder / "design.yaml").write_bytes(text.encode(errors="surrogateescape"))
    return _scaffolded(folder) if _step(folder, "design-experiment", "--from", folder / "design.yaml") == 0 else 0


def _from_summary(folder: Path, text: str) -> int:
    _task(folder)
    (folder / "experiment_summary.md").write_bytes(f"---\n{text}---\n".encode(errors="surrogateescape"))
    return _scaffolded(folder)


def _task(folder: Path) -> None:
    shutil.copy(ROOT / "examples" / "capitalization" / "capitalization.py", folder / "task.py")


def _scaffolded(folder: Path) -> int:
    checked = _step(folder, "check-experiment", "--only", "design")
    code = _step(folder, "scaffold-experiment")
    assert code == checked, "the check and the scaffold disagree"
    if code != 0:
        return 0
    assert _step(folder, "explain") == 0
    assert _step(folder, "status") == 0
    scripts = [*folder.rglob("*.slurm")]
    jobs = [job for path in folder.glob(".tuneloop/jobs/*.json") for job in json.loads(path.read_text())["jobs"]]
    assert sorted(job["script"] for job in jobs) == sorted(str(path.relative_to(folder)) for path in scripts)
    _check_scripts(scripts)
    return len(scripts)


def _step(folder: Path, verb: str, *options: str | Path) -> int:
    """Run one command over the folder: a known exit code, no traceback, and on failure nothing written."""
    before = hostile.tree(folder)
    answer = hostile.tuneloop(verb, folder, *options)
    assert answer.code in range(6), answer
    assert "Traceback" not in answer.out
    if answer.code != 0:
        assert answer.out.strip(), "a failure says why"
        assert hostile.tree(folder) == before, "a failure left something behind"
    return answer.code


def _check_scripts(scripts: list[Path]) -> None:
    for script in scripts:
        faults = list(hostile.script_faults(script.read_text()))
        assert faults == [], script
    if scripts:
        # One shell reads them all; `-n` runs nothing.
        done = subprocess.run(
            ["bash", "-c", 'for script; do bash -n "$script" || exit 1; done', "-", *scripts],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def test_the_good_designs_are_good() -> None:
    assert loop(yaml.safe_dump(ECHO)) == 2 * 6


@pytest.mark.slow
def test_the_good_real_design_is_good() -> None:
    assert loop(yaml.safe_dump(REAL)) == 2 * 6


@pytest.mark.slow
@FAST
@given(text=hostile.designs(ECHO))
def test_hostile_designs(text: str) -> None:
    loop(text)


@pytest.mark.slow
@FEW
@given(text=hostile.designs(REAL))
def test_hostile_designs_for_the_real_tools(text: str) -> None:
    loop(text)


@pytest.mark.parametrize("value", hostile._SHELL)
def test_shell_words_stay_text(value: str) -> None:
    head: Any = yaml.safe_load(yaml.safe_dump(ECHO))
    head["data"][0]["prompt"] = f"{value} {{input}}"
    head["evaluations"][0]["args"]["note"] = value
    head["controls"]["note"] = value
    assert loop(yaml.safe_dump(head)) == 2 * 6


def test_an_unquoted_word_is_found() -> None:
    """The check itself: it lets quoted values pass and nothing else."""
    for value in hostile._SHELL:
        bare = value.replace("'", "")
        for line in (f"export NAME={bare}", f'python -m x "{bare}"', f"x '{bare}' {bare}"):
            assert list(hostile.script_faults(line)), line
    assert list(hostile.script_faults(f"python '$(touch {hostile.CANARY})' \\")) == []


@pytest.mark.soak
@LONG
@given(text=hostile.designs(ECHO))
def test_a_thousand_hostile_designs(text: str) -> None:
    loop(text)


@pytest.mark.soak
@settings(LONG, max_examples=200)
@given(text=hostile.designs(REAL))
def test_two_hundred_hostile_designs_for_the_real_tools(text: str) -> None:
    loop(text)


@pytest.mark.soak
@LONG
@given(words=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), max_size=4))
def test_a_thousand_hostile_arguments(words: list[str]) -> None:
    for verb in ("design-experiment", "scaffold-experiment", "status", "explain", "retry"):
        answer = hostile.tuneloop(verb, "nowhere", *[word for word in words if word not in ("--help", "-h")])
        assert answer.code in range(6)
        assert "Traceback" not in answer.out
