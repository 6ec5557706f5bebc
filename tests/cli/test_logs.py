"""`logs`: the right log by a part of a name, readable whatever drew on it, and followed to the job's end."""

import subprocess
from pathlib import Path

import pytest
from cli_support import problems
from hypothesis import given
from hypothesis import strategies as st

from lab import command, make_echo, run
from places import content
from tuneloop.documents.plain import Screen, last_drawn, plain
from tuneloop.loop.logs import Tail
from typed import as_json, tuneloop

slow = pytest.mark.slow


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab")
    run(make_echo(folder / "exp", controls="{epochs: 2, seconds: 0.1, steps: 2}"))
    return folder


@slow
def test_a_job_is_found_by_a_part_of_its_key(lab: Path) -> None:
    before = content(lab / "exp")
    told = as_json(tuneloop(lab, "logs", "exp", "train/lr1e-3", "--json"))
    assert (told["key"], told["state"]) == ("train/lr1e-3", "done")
    assert told["lines"] == ["epoch 0 of 2 done", "epoch 1 of 2 done", "verified: 2 checkpoints"]
    assert tuneloop(lab, "logs", "exp", "lr1e-4/e1").stdout == "verified: 6 samples, all scored\n"
    assert tuneloop(lab, "logs", "exp", "train/lr1e-3", "--lines", "1").stdout == "verified: 2 checkpoints\n"
    assert content(lab / "exp") == before


@slow
def test_without_a_job_the_logs_are_listed(lab: Path) -> None:
    told = as_json(tuneloop(lab, "logs", "exp", "--json"))
    assert len(told["jobs"]) == 8
    assert all(Path(item["log"]).is_file() for item in told["jobs"])
    assert "run-experiment.log" in {Path(item).name for item in told["events"]}


@slow
@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["train"], "`train` stands for 2 jobs", "say more of one: `train/lr1e-3`, `train/lr1e-4`"),
        (["trian/lr1e-3"], "no job `trian/lr1e-3`", "did you mean `train/lr1e-3`?"),
        (["train/lr1e-3", "-f"], "following goes with a job, and without --json", "`tuneloop logs exp JOB -f`"),
    ],
)
def test_what_cannot_be_shown_is_explained(lab: Path, words: list[str], message: str, hint: str) -> None:
    done = tuneloop(lab, "logs", "exp", *words, "--json")
    assert done.returncode == 2
    (told,) = problems(done)
    assert (told.message, told.hint) == (message, hint)


@slow
def test_following_ends_with_the_job(tmp_path: Path) -> None:
    exp = make_echo(tmp_path / "exp", variables="{lr: [1e-3]}", controls="{epochs: 3, seconds: 2, steps: 3}")
    early = tuneloop(tmp_path, "logs", "exp", "train", "-f")
    assert early.stderr == "train/lr1e-3 planned\n", "what is not going is not waited for"
    run(exp, "--detach")
    done = subprocess.run(command("logs", exp, "train", "-f"), capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == [*(f"epoch {n} of 3 done" for n in range(3)), "verified: 3 checkpoints"]
    assert done.stderr.endswith("train/lr1e-3 done\n")
    subprocess.run(command("wait", exp), check=True, capture_output=True)


def test_a_progress_bar_is_its_last_drawing() -> None:
    assert last_drawn("10%|#   |\r50%|##  |\r100%|####| done\r") == "100%|####| done"


def test_a_bar_below_another_does_not_fill_the_log() -> None:
    screen = Screen()
    raw = ["first", "\r 1/3\x1b[A", "\r 2/3\x1b[A", "\r 3/3 all", "then\x1b[31m red", "\r 1/9\x1b[A", "Error"]
    assert [text for line in raw for text in screen.shown(line)] == ["first", " 3/3 all", "then red", " 1/9", "Error"]


@given(st.text())
def test_plain_text_steers_no_terminal(text: str) -> None:
    shown = plain(text)
    assert not any((letter < " " and letter not in "\n\t") or "\x7f" <= letter <= "\x9f" for letter in shown)
    assert plain(shown) == shown


@given(st.lists(st.text(st.characters(codec="ascii", exclude_categories=["Cc"])), max_size=6), st.data())
def test_a_log_that_grows_is_told_line_by_line_once(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], data: st.DataObject
) -> None:
    whole = "".join(f"{line}\n" for line in lines).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=4)))
    log = tmp_path_factory.mktemp("log") / "out"
    tail = Tail(log)
    told: list[str] = []
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        with log.open("ab") as file:
            file.write(whole[start:end])
        told += tail.new()
    told += tail.new(end=True)
    assert told == [last_drawn(line) for line in lines]
