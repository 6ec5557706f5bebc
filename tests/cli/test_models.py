"""`sample` and `export` through the command line: which model, what is sent, what is written and what is refused."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cli_support import problems

from lab import make_echo, run
from places import content
from typed import as_json, tuneloop

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished experiment, `exp`."""
    folder = tmp_path_factory.mktemp("lab")
    run(make_echo(folder / "exp", controls="{epochs: 2, seconds: 0.1, steps: 2}"))
    return folder


@pytest.mark.parametrize("epoch", [0, 1])
def test_the_model_that_is_named_answers(lab: Path, epoch: int) -> None:
    quality = json.loads((lab / "exp" / "lr1e-3" / f"epoch_{epoch}" / "weights.json").read_text())["quality"]
    told = as_json(tuneloop(lab, "sample", f"exp/lr1e-3@{epoch}", "hello", "--json"))
    assert (told["prompt"], told["output"]) == (f"<{quality:.3f}>[user]hello", "HELLO")


def test_a_control_run_is_the_base_model(lab: Path) -> None:
    assert as_json(tuneloop(lab, "sample", "exp/control", "hello", "--json"))["prompt"] == "<base>[user]hello"


def test_a_cached_hub_id_is_a_base_model_too(tmp_path: Path) -> None:
    make_echo(tmp_path / "exp", scaffold=False)
    snapshot = tmp_path / "home" / "hub" / "models--org--tiny" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    summary = tmp_path / "exp" / "experiment_summary.md"
    summary.write_text(summary.read_text().replace("model: model", "model: org/tiny", 1))
    assert "the model `org/tiny` is not there" in tuneloop(tmp_path, "sample", "exp/control", "hello").stderr
    done = tuneloop(tmp_path, "sample", "exp/control", "hello", "--json", HF_HOME=str(tmp_path / "home"))
    assert as_json(done)["prompt"] == "<base>[user]hello"


def test_the_experiment_may_be_the_folder_itself(lab: Path) -> None:
    assert tuneloop(lab / "exp", "sample", "lr1e-3@1", "hello").stdout == "HELLO\n"


def test_the_system_turn_is_sent(lab: Path) -> None:
    told = as_json(tuneloop(lab, "sample", "exp/control", "hello", "--system", "Be brief.", "--json"))
    assert told["prompt"] == "<base>[system]Be brief.[user]hello"


def test_what_would_steer_a_terminal_is_not_printed(lab: Path) -> None:
    assert tuneloop(lab, "sample", "exp/control", "\x1b[31ARED\x07").stdout == "RED\n"


@pytest.mark.parametrize("verb", [("sample", "hello"), ("export", "out")])
@pytest.mark.parametrize(
    ("reference", "message", "hint"),
    [
        ("exp/lr1e-33@1", "no run `lr1e-33`", "did you mean `lr1e-3`?"),
        ("exp/lr1e-3@2", "`lr1e-3` has no epoch 2", "`lr1e-3@1` is the last one; they count from 0"),
        ("exp/lr1e-3@last", "`last` is not an epoch", "`lr1e-3@1` is the last one"),
        ("exp/lr1e-3", "`lr1e-3` has 2 epochs: say which", "`lr1e-3@1` is the last one"),
        ("exp/control@0", "the control run `control` has no epochs", "`control` alone names it"),
        ("nowhere/lr1e-3@1", "no experiment here", None),
    ],
)
def test_a_model_that_is_not_there_is_named(
    lab: Path, verb: tuple[str, str], reference: str, message: str, hint: str | None
) -> None:
    done = tuneloop(lab, verb[0], reference, verb[1], "--json")
    assert done.returncode == 2
    (told,) = problems(done)
    assert told.message == message
    assert hint is None or told.hint == hint
    assert not (lab / "out").exists()


def test_an_unverified_model_is_not_asked(tmp_path: Path) -> None:
    make_echo(tmp_path / "exp", variables="{fail: [3], lr: [1e-3]}", controls="{epochs: 1, seconds: 0.1, steps: 2}")
    (told,) = problems(tuneloop(tmp_path, "sample", "exp/fail3_lr1e-3@0", "x", "--json"))
    assert told.message == "`fail3_lr1e-3` is not trained and verified yet: its job is planned"
    assert "run-experiment" in str(told.hint)
    run(tmp_path / "exp", check=False)
    (told,) = problems(tuneloop(tmp_path, "sample", "exp/fail3_lr1e-3@0", "x", "--json"))
    assert told.message.endswith("its job is failed")
    assert "retry" in str(told.hint)


def test_a_stale_model_is_not_exported(tmp_path: Path) -> None:
    exp = make_echo(tmp_path / "exp", variables="{lr: [1e-3]}", controls="{epochs: 1, seconds: 0.1, steps: 2}")
    run(exp)
    summary = exp / "experiment_summary.md"
    summary.write_text(summary.read_text().replace("steps: 2", "steps: 3"))
    (told,) = problems(tuneloop(tmp_path, "export", "exp/lr1e-3@0", "out", "--json"))
    assert told.message == "`lr1e-3` is stale: the design has changed since"


def test_an_export_has_weights_and_a_card_from_the_records(lab: Path) -> None:
    before = content(lab / "exp")
    told = as_json(tuneloop(lab, "export", "exp/lr1e-3@1", "exported", "--json"))
    assert set(told["written"]) == {"README.md", "config.json", "tuneloop.json", "weights.json"}
    card = (lab / "exported" / "README.md").read_text()
    for said in ("base_model: model", "library_name: transformers", "Does the loop hold?", "lr1e-3@1", "cap (echo)"):
        assert said in card
    assert "[" in card.split("cap (echo)")[1].splitlines()[0], "a score has its interval"
    assert str(lab) not in card
    assert content(lab / "exp") == before


def test_a_dry_run_shows_the_card_and_writes_nothing(lab: Path) -> None:
    before = set(lab.iterdir())
    assert "# echo: lr1e-3@1" in tuneloop(lab, "export", "exp/lr1e-3@1", "other", "--dry-run").stdout
    assert set(lab.iterdir()) == before


def test_a_folder_of_others_is_never_replaced(lab: Path) -> None:
    (lab / "mine").mkdir()
    (lab / "mine" / "notes.txt").write_text("mine")
    for options in ([], ["--dry-run"]):
        done = tuneloop(lab, "export", "exp/lr1e-3@1", "mine", "--json", *options)
        assert [told.message for told in problems(done)] == ["something else is here already"]
    assert content(lab / "mine") == {"notes.txt": b"mine"}


def test_another_export_is_replaced_when_that_is_asked_for_alone(lab: Path) -> None:
    tuneloop(lab, "export", "exp/lr1e-3@1", "twice")
    before = content(lab / "twice")
    for options in ([], ["--dry-run"], ["--replace"]):
        assert "all is there already" in tuneloop(lab, "export", "exp/lr1e-3@1", "twice", *options).stdout
    for options in ([], ["--dry-run"]):
        (told,) = problems(tuneloop(lab, "export", "exp/lr1e-3@0", "twice", "--json", *options))
        assert told.message == "an export of something else is here already"
        assert "`--replace`" in str(told.hint)
    assert content(lab / "twice") == before
    assert as_json(tuneloop(lab, "export", "exp/lr1e-3@0", "twice", "--replace", "--json"))["written"]
    assert "lr1e-3@0" in (lab / "twice" / "README.md").read_text()


def test_a_persons_files_in_an_export_are_named_and_kept(lab: Path) -> None:
    tuneloop(lab, "export", "exp/lr1e-3@1", "touched")
    (lab / "touched" / "notes.txt").write_text("mine")
    (lab / "touched" / "README.md").write_text("mine")
    before = content(lab / "touched")
    for reference in ("exp/lr1e-3@0", "exp/lr1e-3@1"):
        (told,) = problems(tuneloop(lab, "export", reference, "touched", "--replace", "--json"))
        assert told.message.endswith("`notes.txt` was added, `README.md` was changed")
    assert content(lab / "touched") == before


def test_the_base_model_is_not_exported(lab: Path) -> None:
    (told,) = problems(tuneloop(lab, "export", "exp/control", "out", "--json"))
    assert told.message == "`control` is the base model as it is: nothing to export"


def test_a_worker_that_cannot_answer_says_so() -> None:
    argv = [sys.executable, "-m", "tuneloop_echo.evaluating", "sample"]
    done = subprocess.run(argv, input=json.dumps({"request": {}}), capture_output=True, text=True, check=True)
    (told,) = json.loads(done.stdout)["error"]["problems"]
    assert told["message"] == "the worker `echo-eval` does not know `sample`"
