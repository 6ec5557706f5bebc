"""`doctor`: everything is named, what is missing comes with the line that mends it, and nothing is fatal."""

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_support import designed, problems

from places import content
from typed import tuneloop

pytestmark = pytest.mark.slow


def told(folder: Path, *words: str, **environment: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """Return the exit code and the checks by section."""
    import json

    done = tuneloop(folder, "doctor", *words, "--json", **environment)
    value = json.loads(done.stdout)
    assert value["schema"] == "tuneloop.doctor/1"
    assert value["ok"] == (done.returncode == 0)
    found: dict[str, list[dict[str, Any]]] = {}
    for item in value["checks"]:
        found.setdefault(item["section"], []).append(item)
    return done.returncode, found


def test_here_all_is_well_and_nothing_is_written(tmp_path: Path) -> None:
    code, found = told(tmp_path, XDG_CONFIG_HOME=str(tmp_path / "none"))
    assert code == 0, [item for checks in found.values() for item in checks if not item["ok"]]
    assert {"tool", "configuration", "profile local", "worker torchtune", "worker inspect", "machine"} <= set(found)
    names = {item["name"] for item in found["worker torchtune"]}
    assert {"torch", "torchtune", "torchao", "tune"} <= names
    assert {item["name"] for item in found["machine"]} == {"processor", "memory", "gpu", "disk"}
    assert content(tmp_path) == {}


def test_a_work_environment_without_the_tools_is_named_with_its_pip_lines(tmp_path: Path) -> None:
    """A bare environment that has the light core alone, as on a machine where nothing was installed yet."""
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    site = next(bare.glob("lib/python*/site-packages"))
    wanted = (
        "pydantic*",
        "typing_*",
        "annotated_types*",
        "packaging*",
        "yaml",
        "_yaml",
        "frontmatter*",
        "filelock*",
        "jinja2*",
        "markupsafe*",
    )
    source = Path(next(path for path in sys.path if path.endswith("site-packages")))
    for pattern in wanted:
        for path in source.glob(pattern):
            (site / path.name).symlink_to(path)
    (site / "tuneloop.pth").write_text(f"{Path(__file__).parents[2] / 'lib'}\n")
    python = bare / "bin" / "python"
    (tmp_path / "tuneloop.yaml").write_text(f"clusters: {{lab: {{python: {{torchtune: {python}}}}}}}\n")
    code, found = told(tmp_path)
    assert code == 3
    checks = {item["name"]: item for item in found["worker torchtune on lab"]}
    assert checks["torchtune"]["message"] == "torchtune is not installed"
    assert checks["torchtune"]["hint"] == f'{shlex.quote(str(python))} -m pip install "torchtune==0.6.1"'
    assert all(item["ok"] for item in found["worker inspect on lab"])


def test_faults_of_files_and_environments_are_checks_not_the_end(tmp_path: Path) -> None:
    (tmp_path / "tuneloop.yaml").write_text("clusters: {lab: {python: /nowhere/python}}\n")
    code, found = told(tmp_path)
    assert code == 3
    (fault,) = found["worker torchtune on lab"]
    assert fault["message"].startswith("no work environment for `torchtune`: /nowhere/python")
    (tmp_path / "tuneloop.yaml").write_text("clusters: {lab: {exeutor: local}}\n")
    code, found = told(tmp_path)
    assert code == 3
    (fault,) = found["configuration"]
    assert "exeutor" in fault["message"]
    assert "tuneloop.yaml:1" in fault["message"]


def test_an_experiment_is_asked_for_what_it_needs_alone(tmp_path: Path) -> None:
    designed(tmp_path / "exp")
    code, found = told(tmp_path, "exp")
    assert code == 0
    assert {name for name in found if name.startswith("worker")} == {"worker echo", "worker echo-eval"}
    summary = tmp_path / "exp" / "experiment_summary.md"
    summary.write_text(
        summary.read_text()
        .replace("backend: echo\n", "backend: ecco\n")
        .replace("model: model", "model: model\ncluster: lab")
    )
    code, found = told(tmp_path, "exp")
    assert code == 3
    assert found["profile lab"][0]["message"] == "no cluster profile `lab`"


def test_no_experiment_is_bad_input(tmp_path: Path) -> None:
    done = tuneloop(tmp_path, "doctor", "nowhere", "--json")
    assert done.returncode == 2
    assert problems(done)[0].message == "no experiment here"


def test_people_read_words(tmp_path: Path) -> None:
    (tmp_path / "tuneloop.yaml").write_text("experiments: {root: gone}\n")
    done = tuneloop(tmp_path, "doctor")
    assert done.returncode == 3
    assert "fault  no folder" in done.stdout
    assert done.stdout.endswith("\n1 fault\n")
