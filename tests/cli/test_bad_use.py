"""Bad arguments, bad places, and work that is refused: the right exit code, the words, and nothing changed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_support import Told, designed, prepare, problems

from lab import make_echo
from places import content, fill, make_read_only
from typed import tuneloop

pytestmark = pytest.mark.slow

DESIGN = ("design-experiment", "exp", "--from", "exp/design.yaml")

USES: dict[str, tuple[tuple[str, ...], list[Told]]] = {
    "no command of this name": (
        ("statsu",),
        [Told("No such command 'statsu'. Did you mean 'status'?", hint="`tuneloop --help` shows the arguments")],
    ),
    "unknown option": (
        ("status", "--nope"),
        [Told("No such option: --nope", hint="`tuneloop status --help` shows the arguments")],
    ),
    "missing argument": (
        ("design-experiment",),
        [Told("Missing argument 'DIR'", hint="`tuneloop design-experiment --help` shows the arguments")],
    ),
    "no experiment": (
        ("status", "nowhere"),
        [Told("no experiment here", hint="`tuneloop design-experiment nowhere --help` makes one")],
    ),
    "no design file": ((*DESIGN[:2], "--from", "gone.yaml"), [Told("no such file")]),
    "flags without values": (
        (*DESIGN, "--vary", "lr", "--vary", "=3", "--vary", "rank="),
        [
            Told(f"`--vary {word}` is not NAME=VALUE,VALUE", hint="write it like `--vary lr=3e-4`")
            for word in ("lr", "=3", "rank=")
        ],
    ),
    "flag given twice": (
        (*DESIGN, "--vary", "lr=1", "--vary", "lr=2"),
        [Told("`--vary lr` is given twice", hint="give all its values at once, with commas")],
    ),
    "seeds that are no numbers": (
        (*DESIGN, "--seeds", "1,two"),
        [Told("`--seeds 1,two` is not whole numbers", hint="write it like `--seeds 1,2,3`")],
    ),
    "no training data": (
        (*DESIGN, "--train", "gone.jsonl"),
        [Told("no such file: gone.jsonl", hint="check `--train`")],
    ),
    "nothing but a question": (
        ("design-experiment", "exp", "--question", "Why?"),
        [
            Told("missing key `model`", 2, "model", "add `model:`"),
            Told("missing key `data`", 2, "data", "add `data:`"),
        ],
    ),
    "a name too long": (("status", "a" * 300), [Told("the name is too long", hint="choose a shorter name")]),
    "a file in the way": (
        ("design-experiment", "exp/data.jsonl", "--from", "exp/design.yaml"),
        [Told("a part of the path is a file", hint="choose another folder")],
    ),
    "an argument that is no text": (
        (*DESIGN, "--question", os.fsdecode(b"\xff")),
        [Told("'\\udcff' is not UTF-8 text")],
    ),
    "retry of nothing": (("retry", "a b"), [Told("say what to try again", hint="`tuneloop retry 'a b' --failed`")]),
}


@pytest.mark.parametrize(("arguments", "told"), USES.values(), ids=USES)
def test_bad_use_is_exit_2(tmp_path: Path, arguments: tuple[str, ...], told: list[Told]) -> None:
    prepare(tmp_path / "exp")
    before = content(tmp_path)
    done = tuneloop(tmp_path, *arguments, "--json")
    assert (done.returncode, problems(done)) == (2, told)
    assert content(tmp_path) == before


@pytest.fixture(scope="module")
def scaffolded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An echo experiment with a tiny budget, scaffolded and never run; shared read-only."""
    return make_echo(tmp_path_factory.mktemp("bad-use") / "echo", rest="budget: {hours: 1e-6}\n")


def plan(folder: Path) -> str:
    plan_id: str = json.loads(tuneloop(folder, "run-experiment", ".", "--dry-run", "--json").stdout)["plan"]
    return plan_id


def test_design_already_there_is_kept(scaffolded: Path) -> None:
    before = content(scaffolded)
    done = tuneloop(scaffolded, "design-experiment", ".", "--from", "design.yaml", "--json")
    hint = "edit its head and type `tuneloop check-experiment`, or choose another folder"
    assert (done.returncode, problems(done)) == (2, [Told("an experiment is here already", hint=hint)])
    assert content(scaffolded) == before


def test_spending_needs_the_plan_as_it_is(scaffolded: Path) -> None:
    before, now = content(scaffolded), plan(scaffolded)
    done = tuneloop(scaffolded, "run-experiment", ".", "--json")
    (told,) = problems(done)
    assert (done.returncode, told.hint) == (2, f"`tuneloop run-experiment . --yes {now}`")
    done = tuneloop(scaffolded, "run-experiment", ".", "--yes", "12345678", "--json")
    told = Told(f"the plan has changed: it is {now}, not 12345678", hint="look at the new plan with `--dry-run`")
    assert (done.returncode, problems(done)) == (2, [told])
    assert content(scaffolded) == before


def test_yes_never_skips_the_budget(scaffolded: Path) -> None:
    before = content(scaffolded)
    done = tuneloop(scaffolded, "run-experiment", ".", "--yes", plan(scaffolded), "--json")
    (told,) = problems(done)
    assert done.returncode == 2
    assert told.message.startswith(
        "the plan needs 0.00 h, 0.00 h are going and 0.00 h are spent; the budget is 1e-06 h"
    )
    assert (told.key, told.hint) == ("budget.hours", "raise `budget.hours` in the design, or run less")
    assert told.line is not None
    assert "budget:" in (scaffolded / "experiment_summary.md").read_text().splitlines()[told.line - 1]
    assert content(scaffolded) == before


@pytest.mark.parametrize("command", [("explain", ".", "lr1e-5"), ("scaffold-experiment", ".", "--replace", "lr1e-5")])
def test_unknown_run_names_the_nearest(scaffolded: Path, command: tuple[str, ...]) -> None:
    before = content(scaffolded)
    done = tuneloop(scaffolded, *command, "--json")
    assert (done.returncode, problems(done)) == (2, [Told("no run `lr1e-5`", hint="did you mean `lr1e-4`?")])
    assert content(scaffolded) == before


def test_nothing_scaffolded_says_what_to_type(tmp_path: Path) -> None:
    folder = designed(tmp_path / "exp")
    before = content(folder)
    done = tuneloop(folder, "run-experiment", ".", "--dry-run", "--json")
    assert done.returncode == 2
    assert problems(done) == [Told("nothing is scaffolded", hint=f"`tuneloop scaffold-experiment {folder}`")]
    assert content(folder) == before


NO_SPACE = ("no space left on the device", "free some space and run the same command again")
READ_ONLY = ("the file system is read-only", "choose a folder that can be written")


def refused(folder: Path, *arguments: str) -> tuple[int, list[tuple[str, str | None]]]:
    """Run a command; return its exit code and problems, having made sure that it left no trace."""
    before = content(folder)
    done = tuneloop(folder, *arguments, "--json")
    assert content(folder) == before
    return done.returncode, [(item.message, item.hint) for item in problems(done)]


def test_full_disk_is_told_and_nothing_written(tiny_disk: Path) -> None:
    prepare(tiny_disk / "exp")
    fill(tiny_disk)
    assert refused(tiny_disk, *DESIGN) == (2, [NO_SPACE])


def test_read_only_disk_is_told_and_nothing_written(read_only_disk: Path) -> None:
    designed(read_only_disk / "exp")
    make_read_only(read_only_disk)
    assert refused(read_only_disk, "design-experiment", "new/exp", "--from", "exp/design.yaml") == (2, [READ_ONLY])
    assert refused(read_only_disk, "scaffold-experiment", "exp") == (2, [READ_ONLY])
    assert tuneloop(read_only_disk, "status", "exp").returncode == 0, "reading needs no writing"


def test_hints_can_be_pasted_into_a_shell(tmp_path: Path) -> None:
    name = 'it\'s $(touch x); echo "foo"'
    prepare(tmp_path / name)
    done = tuneloop(tmp_path, "design-experiment", name, "--from", f"{name}/design.yaml")
    assert done.returncode == 0, done.stderr
    typed = done.stdout.splitlines()[-1].removeprefix("next: tuneloop ")
    words = subprocess.run(["bash", "-c", f"printf '%s\\n' {typed}"], capture_output=True, text=True, check=True)
    assert words.stdout.splitlines() == ["scaffold-experiment", name]
    assert not Path("x").exists()


def test_reader_that_leaves_sees_no_traceback(tmp_path: Path) -> None:
    command = f"{sys.executable} -m tuneloop --help | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""
