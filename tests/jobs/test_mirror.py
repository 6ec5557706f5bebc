"""The copy of an experiment on another machine: what goes there, what comes back, and in which order.

The transport is the one that goes nowhere; tests/slurm/test_remote.py has a real sshd.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from places import content
from tuneloop.documents.config import Profile
from tuneloop.documents.errors import BusyError, FailedError, MissingError, UnreachableError
from tuneloop.documents.locks import exclusive
from tuneloop.documents.yamltext import load_yaml
from tuneloop.experiment.layout import Layout
from tuneloop.experiment.work import Token
from tuneloop.jobs import mirror as mirror_module
from tuneloop.jobs import taking
from tuneloop.jobs.answers import Answer
from tuneloop.jobs.executors.slurm import Slurm
from tuneloop.jobs.mirror import Mirror
from tuneloop.jobs.native import Native
from tuneloop.jobs.transport import Here, PartlyError
from tuneloop.loop.status import heard

_DONE, _RUNNING = Answer("done", "", final=True), Answer("running", "", final=False)
_JOB, _OTHER = Native("far", "7", 0), Native("far", "8")


class Flaky(Here):
    """A connection that breaks when it is told to, counted in fetches, with what was pushed where."""

    breaks_after: int | None = None
    fetches = 0
    refused = ""  # what every fetch is told
    unreadable = ""  # a file there, `RUN/NAME`

    def __init__(self) -> None:
        self.pushed: list[str] = []

    def push(
        self,
        source: Path,
        target: str,
        *,
        only: Sequence[str] = (),
        exclude: Sequence[str] = (),
        links: bool = False,
    ) -> None:
        self.pushed.append(target)
        super().push(source, target, only=only, exclude=exclude, links=links)

    def fetch(self, source: str, target: Path, *, only: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        self.fetches += 1
        if self.breaks_after is not None and self.fetches > self.breaks_after:
            raise UnreachableError("the cable is out")
        if self.refused:
            raise FailedError(self.refused)
        if not self.unreadable:
            super().fetch(source, target, only=only, exclude=exclude)
            return
        super().fetch(source, target, only=only, exclude=[*exclude, f"/{self.unreadable}"])
        said = f'rsync: [sender] send_files failed to open "{source}/{self.unreadable}": Permission denied (13)'
        raise PartlyError(f"could not copy: {said}", [said])


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "exp")
    _write(
        layout.summary, "---\nname: a\n---\nours\n<!-- tuneloop:begin results -->\nold\n<!-- tuneloop:end results -->\n"
    )
    _write(layout.journal, "{}\n")
    _write(layout.run("a").config, "config")
    _write(layout.submissions / "token.slurm", "script")
    return layout


@pytest.fixture
def mirror(layout: Layout) -> Mirror:
    return _mirror(layout)


def _mirror(layout: Layout, **profile: str) -> Mirror:
    scratch = str(layout.folder.parent / "there's scratch")
    found = Mirror(layout, "far", Profile(executor="slurm", ssh="far", scratch=scratch, **profile), clock=Clock())
    found.transport = Flaky()
    return found


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _ended(folder: Path, run: str = "a") -> Path:
    """Put an attempt that ended there, with a result beside it; return the attempt as it will be here."""
    attempt = Path(run, ".attempts/train/token.0")
    for name in ("start.json", "verified.json", "exit.json", "lock"):
        _write(folder / attempt / name, json.dumps({"name": name}))
    _write(folder / run / "metrics.jsonl", "{}\n")
    _write(folder / run / "epoch_0" / "weights.safetensors", "w")
    _write(folder / run / "epoch_0" / "verified.json", "{}")
    return attempt


def test_what_jobs_read_goes_there_and_what_they_make_stays_where_it_was_made(layout: Layout, mirror: Mirror) -> None:
    made = [
        "analysis/report.html",
        "a/epoch_0/x",
        "a/.attempts/train/t.0/exit.json",
        "a/metrics.jsonl",
        "a/slurm-1.out",
    ]
    made += ["run-echo.log", ".tuneloop/runner.log", ".tuneloop/journal.lock", "a/eval/logs/cap.eval", "tuneloop.yaml"]
    for name in made:
        _write(layout.folder / name, "here")
    for name in made:
        _write(Path(mirror.folder, name), "there")
    _write(layout.run("a").eval / "cap.slurm", "script")
    mirror.send(Token("token"))
    there = content(Path(mirror.folder))
    assert {name: there[name] for name in made[:-1]} == dict.fromkeys(made[:-1], b"there")
    assert {"a/finetune.yaml", "a/eval/cap.slurm", ".tuneloop/submissions/token.slurm"} <= set(there)
    assert there[".tuneloop/journal.jsonl"] == b"{}\n"


def test_the_cluster_is_told_that_it_is_where_it_is(layout: Layout) -> None:
    mirror = _mirror(layout, python="/opt/python", models="/models", partition="long")
    mirror.send(Token("token"))
    told = load_yaml(Path(mirror.folder, "tuneloop.yaml").read_text())
    assert told == {"clusters": {"far": {"executor": "slurm", "python": "/opt/python", "partition": "long"}}}


def test_an_input_outside_arrives_whole_even_where_it_is_made_of_links(layout: Layout, mirror: Mirror) -> None:
    cache = layout.folder.parent / "cache"
    _write(cache / "blobs" / "1", "weights")
    snapshot = cache / "snapshots" / "main"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to("../../blobs/1")
    link = layout.inputs / "abc" / "main"
    link.parent.mkdir(parents=True)
    link.symlink_to(snapshot)
    mirror.send(Token("token"))
    arrived = Path(mirror.folder, ".tuneloop/inputs/abc/main/model.safetensors")
    assert arrived.read_text() == "weights"
    assert not arrived.is_symlink()


def test_what_may_take_long_is_sent_before_a_submission_and_not_with_it(layout: Layout, mirror: Mirror) -> None:
    transport = mirror.transport
    assert isinstance(transport, Flaky)
    mirror.prepare()
    before, there = len(transport.pushed), Path(mirror.folder)
    assert (there / "a/finetune.yaml").is_file()
    assert not (there / ".tuneloop/submissions/token.slurm").exists()
    mirror.send(Token("token"))
    assert transport.pushed[before:] == [f"{mirror.folder}/.tuneloop"]
    assert (there / ".tuneloop/submissions/token.slurm").is_file()
    _write(layout.run("a").config, "edited")
    mirror.prepare()
    assert (there / "a/finetune.yaml").read_text() == "edited"


def test_nobody_sends_what_somebody_else_is_sending(layout: Layout, mirror: Mirror) -> None:
    with exclusive(layout.fetched("far") / "send.lock", wait=0, busy=""), pytest.raises(BusyError, match="sends"):
        mirror.prepare()


@pytest.mark.parametrize("same", [True, False])
def test_a_model_that_the_site_has_is_not_copied_and_another_of_its_name_is(layout: Layout, *, same: bool) -> None:
    models, mine = layout.folder.parent / "models", layout.folder.parent / "mine" / "base"
    _write(mine / "config.json", "{}")
    _write(models / "base" / "config.json", "{}" if same else '{"other": 1}')
    link = layout.inputs / "abc" / "base"
    link.parent.mkdir(parents=True)
    link.symlink_to(mine)
    for _ in range(2):
        mirror = _mirror(layout, models=str(models))
        mirror.send(Token("token"))
        there = Path(mirror.folder, ".tuneloop/inputs/abc/base")
        assert there.is_symlink() == same
        assert (there / "config.json").read_text() == "{}"
    _write(mine / "config.json", '{"newer": 1}')
    _mirror(layout, models=str(models)).send(Token("token"))
    assert (there / "config.json").read_text() == '{"newer": 1}'
    assert (models / "base" / "config.json").read_text() != '{"newer": 1}'


@pytest.mark.parametrize("models", ["~/models", "models", "~//models"])
def test_models_of_a_site_are_named_from_the_home_there(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, models: str
) -> None:
    home, mine = layout.folder.parent / "home", layout.folder.parent / "mine" / "base"
    _write(mine / "config.json", "{}")
    _write(home / "models" / "base" / "config.json", "{}")
    link = layout.inputs / "abc" / "base"
    link.parent.mkdir(parents=True)
    link.symlink_to(mine)
    monkeypatch.chdir(home)  # where commands begin
    mirror = _mirror(layout, models=models)
    mirror.prepare()
    assert Path(mirror.folder, ".tuneloop/inputs/abc/base").readlink() == home / "models" / "base"


def test_facts_and_results_come_back_without_weights_and_locks(layout: Layout, mirror: Mirror) -> None:
    attempt = _ended(Path(mirror.folder))
    mirror.fetch()
    assert {path.name for path in (layout.folder / attempt).iterdir()} == {"start.json", "verified.json", "exit.json"}
    assert layout.run("a").metrics.is_file()
    assert [path.name for path in layout.run("a").checkpoint(0).iterdir()] == ["verified.json"]
    mirror.fetch_weights(layout.run("a").checkpoint(0))
    assert (layout.run("a").checkpoint(0) / "weights.safetensors").read_text() == "w"


@pytest.mark.parametrize("fetches", [0, 1])
def test_wherever_a_copy_breaks_off_no_end_is_known_without_what_was_made_before_it(
    layout: Layout, mirror: Mirror, fetches: int
) -> None:
    attempt = _ended(Path(mirror.folder))
    transport = mirror.transport
    assert isinstance(transport, Flaky)
    transport.breaks_after = fetches
    with pytest.raises(UnreachableError):
        mirror.fetch()
    assert not (layout.folder / attempt / "exit.json").exists()
    transport.breaks_after = None
    mirror.fetch()
    assert (layout.folder / attempt / "exit.json").is_file()


def test_an_end_counts_when_what_was_made_is_here_and_never_turns_back(layout: Layout, mirror: Mirror) -> None:
    transport, clock = mirror.transport, mirror.clock
    assert isinstance(transport, Flaky)
    assert isinstance(clock, Clock)
    _ended(Path(mirror.folder))
    transport.breaks_after = 0
    late = mirror.backed({_JOB: _DONE, _OTHER: _RUNNING}, taken=1.0)
    assert {native: answer.state for native, answer in late.items()} == {_JOB: "running", _OTHER: "running"}
    assert not any(answer.final for answer in late.values())
    mirror.backed({_JOB: _DONE}, taken=1.0)
    assert transport.fetches == 1, "a copy that broke off is not tried at every look"
    transport.breaks_after, clock.now = None, clock.now + 60
    assert mirror.backed({_JOB: _DONE}, taken=1.0) == {_JOB: _DONE}
    transport.breaks_after, clock.now = 0, clock.now + 60
    again = _mirror(layout)
    again.transport = transport
    assert again.backed({_JOB: _DONE, _OTHER: _DONE}, taken=2.0)[_JOB] == _DONE


def test_results_that_are_refused_are_named_and_after_a_time_of_grace_the_scheduler_has_the_last_word(
    layout: Layout, mirror: Mirror
) -> None:
    transport, clock = mirror.transport, mirror.clock
    assert isinstance(transport, Flaky)
    assert isinstance(clock, Clock)
    mirror.prepare()
    transport.refused = "the file system is on fire"
    (first,) = mirror.backed({_JOB: _DONE}, taken=1.0).values()
    assert (first.state, first.final) == ("running", False)
    assert "it has ended" in first.reason
    assert "the file system is on fire" in first.reason
    assert mirror.complaint == "the file system is on fire"
    clock.now += 10 * 60
    transport.breaks_after = transport.fetches
    assert mirror.backed({_JOB: _DONE}, taken=1.0)[_JOB].state == "running", "a broken connection decides nothing"
    transport.breaks_after, clock.now = None, clock.now + 60
    (last,) = mirror.backed({_JOB: _DONE}, taken=1.0).values()
    assert (last.state, last.final) == ("done", True)
    assert "the file system is on fire" in last.reason
    failed = Answer("failed", "exit code 7", final=True)
    assert mirror.backed({_JOB: failed, _OTHER: failed}, taken=1.0)[_JOB] == failed
    assert mirror.backed({_OTHER: failed}, taken=2.0)[_OTHER].state == "running", "each job has its own time"
    transport.refused = ""
    mirror.fetch()
    assert mirror.complaint == ""


def test_a_folder_that_was_purged_there_is_named(layout: Layout, mirror: Mirror) -> None:
    mirror.prepare()
    shutil.rmtree(mirror.folder)
    with pytest.raises(FailedError, match=r"there is no folder .*exp-[0-9a-f]{8}"):
        mirror.fetch()
    assert "there is no folder" in mirror.backed({_JOB: _DONE}, taken=1.0)[_JOB].reason


def test_one_unreadable_file_holds_back_the_ends_beside_it_and_nothing_else(layout: Layout, mirror: Mirror) -> None:
    transport, clock = mirror.transport, mirror.clock
    assert isinstance(transport, Flaky)
    assert isinstance(clock, Clock)
    whole, damaged = (_ended(Path(mirror.folder), run) for run in ("a", "b"))
    _write(Path(mirror.folder, "run-echo.log"), "both ended\n")
    transport.unreadable = "b/metrics.jsonl"
    with pytest.raises(FailedError, match="Permission denied"):
        mirror.fetch()
    assert (layout.folder / whole / "exit.json").is_file()
    assert layout.run("a").metrics.is_file()
    assert (layout.folder / damaged / "verified.json").is_file()
    assert not (layout.folder / damaged / "exit.json").exists()
    assert (layout.folder / "run-echo.log").read_text() == "both ended\n"
    assert "Permission denied" in mirror.backed({_JOB: _DONE}, taken=1.0)[_JOB].reason
    clock.now += 10 * 60
    assert mirror.backed({_JOB: _DONE}, taken=1.0)[_JOB].final
    assert (layout.folder / damaged / "exit.json").is_file()


def test_what_rsync_cannot_put_into_its_place_holds_back_every_end_until_it_can(layout: Layout, mirror: Mirror) -> None:
    attempt = _ended(Path(mirror.folder))
    _write(Path(mirror.folder, "b", "metrics.jsonl"), "{}\n")
    in_the_way = _write(layout.run("a").metrics / "file", "a folder that is not empty")
    with pytest.raises(FailedError, match=r"metrics\.jsonl"):
        mirror.fetch()
    assert layout.run("b").metrics.is_file()
    assert not (layout.folder / attempt / "exit.json").exists()
    shutil.rmtree(in_the_way.parent)
    mirror.fetch()
    assert (layout.folder / attempt / "exit.json").is_file()


def test_a_report_that_did_not_arrive_holds_back_the_end_of_the_job_that_collects(
    layout: Layout, mirror: Mirror
) -> None:
    transport = mirror.transport
    assert isinstance(transport, Flaky)
    collected = ".tuneloop/attempts/collect/token.0/exit.json"
    _write(Path(mirror.folder, collected), "{}")
    _write(Path(mirror.folder, "analysis/report.html"), "report")
    transport.unreadable = "analysis/report.html"
    with pytest.raises(FailedError):
        mirror.fetch()
    assert not (layout.folder / collected).exists()


def test_status_says_why_nothing_comes_from_a_cluster_that_answers(layout: Layout, mirror: Mirror) -> None:
    transport = mirror.transport
    assert isinstance(transport, Flaky)
    transport.refused = "the file system is on fire"
    mirror.backed({_OTHER: _RUNNING}, taken=1.0)
    executor = Slurm(layout, "far", mirror.profile)
    assert executor.news().unfetched == "the file system is on fire"
    news = executor.news()._replace(taken=100.0)
    assert heard("far", news, 160.0) == (
        "far answered 60 s ago; what its jobs made cannot be fetched: the file system is on fire"
    )


def test_a_job_that_was_put_back_into_the_queue_ends_anew(layout: Layout, mirror: Mirror) -> None:
    transport = mirror.transport
    assert isinstance(transport, Flaky)
    _ended(Path(mirror.folder))
    assert mirror.backed({_JOB: _DONE}, taken=1.0)[_JOB] == _DONE
    mirror.backed({_JOB: _RUNNING}, taken=2.0)
    transport.breaks_after = 0
    assert mirror.backed({_JOB: _DONE}, taken=3.0)[_JOB].state == "running"


def test_nothing_is_fetched_twice_for_one_picture_of_the_queue(layout: Layout, mirror: Mirror) -> None:
    _ended(Path(mirror.folder))
    transport = mirror.transport
    assert isinstance(transport, Flaky)
    for _ in range(3):
        mirror.backed({_JOB: _RUNNING}, taken=1.0)
    once = transport.fetches
    mirror.backed({_JOB: _RUNNING}, taken=2.0)
    assert transport.fetches == 2 * once > 0
    assert layout.run("a").metrics.is_file()


def test_tables_that_were_written_there_are_taken_over_and_every_byte_around_them_stays(
    layout: Layout, mirror: Mirror
) -> None:
    mirror.send(Token("token"))
    there = Path(mirror.folder, layout.summary.name)
    there.write_text(there.read_text().replace("old", "new"))
    layout.summary.write_text(layout.summary.read_text().replace("ours", "ours, edited"))
    mirror.fetch()
    assert "ours, edited\n<!-- tuneloop:begin results -->\nnew\n" in layout.summary.read_text()


def test_lines_of_a_log_arrive_once_between_the_lines_of_this_machine(layout: Layout, mirror: Mirror) -> None:
    here, there = layout.folder / "run-echo.log", Path(mirror.folder, "run-echo.log")
    _write(here, "handed over\n")
    _write(there, "one began\n")
    mirror.fetch()
    mirror.fetch()
    here.write_text(here.read_text() + "asked to end\n")
    there.write_text("one began\none ended\n")
    mirror.fetch()
    assert here.read_text().splitlines() == ["handed over", "one began", "asked to end", "one ended"]


class Killed(BaseException):
    """Stands for a kill: nothing of ours catches it."""


@pytest.mark.parametrize("place", ["begin", "copied", "append_line", "recorded", "update_block", "marked", "push"])
def test_killed_anywhere_a_fetch_loses_no_line_and_no_table(
    layout: Layout, mirror: Mirror, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    mirror.prepare()
    _ended(Path(mirror.folder))
    _write(Path(mirror.folder, "run-echo.log"), "one began\n")
    there = Path(mirror.folder, layout.summary.name)
    there.write_text(there.read_text().replace("old", "new"))
    with monkeypatch.context() as patch:
        _kill_at(patch, mirror, place)
        with pytest.raises(Killed):
            mirror.fetch()
    mirror.fetch()
    mirror.fetch()
    lines = (layout.folder / "run-echo.log").read_text().splitlines()
    assert lines == ["one began"] * (2 if place == "recorded" else 1)
    assert "begin results -->\nnew\n" in layout.summary.read_text()
    assert (layout.folder / "a/.attempts/train/token.0/exit.json").is_file()


def _kill_at(patch: pytest.MonkeyPatch, mirror: Mirror, place: str) -> None:
    """Let the next fetch die before it does something: the n-th of its records, or what is named so."""

    def killed(*_: object, **__: object) -> None:
        raise Killed

    real, records = taking.write_json, {"begin": 1, "recorded": 2, "marked": 3}
    seen = []

    def counted(*arguments: Any, **options: Any) -> bool:
        seen.append(arguments)
        return killed() or False if len(seen) == records[place] else real(*arguments, **options)

    if place in records:
        patch.setattr(taking, "write_json", counted)
    elif place in ("append_line", "update_block"):
        patch.setattr(taking, place, killed)
    else:
        patch.setattr(mirror_module, {"copied": "take_over", "push": "Here"}[place], killed)


def test_a_line_that_is_being_written_comes_when_it_is_whole(layout: Layout, mirror: Mirror) -> None:
    there = _write(Path(mirror.folder, "run-echo.log"), "one began\none e")
    mirror.fetch()
    assert (layout.folder / "run-echo.log").read_text() == "one began\n"
    there.write_text("one began\none ended\n")
    mirror.fetch()
    assert (layout.folder / "run-echo.log").read_text() == "one began\none ended\n"


def test_a_table_comes_when_a_person_has_finished_editing(layout: Layout, mirror: Mirror) -> None:
    mirror.prepare()
    there, ours = Path(mirror.folder, layout.summary.name), layout.summary.read_text()
    there.write_text(ours.replace("old", "new"))
    layout.summary.write_text(ours.replace("<!-- tuneloop:end results -->", ""))
    mirror.fetch()
    layout.summary.write_text(ours)
    mirror.fetch()
    assert "begin results -->\nnew\n" in layout.summary.read_text()


def test_what_was_set_aside_does_not_come_back(layout: Layout, mirror: Mirror) -> None:
    attempt = _ended(Path(mirror.folder))
    mirror.fetch()
    run = layout.folder / "a"
    mirror.set_aside([run / ".attempts" / "train", run / "epoch_0", run / "epoch_1"])
    assert Path(mirror.folder, ".tuneloop/replaced/1/a/epoch_0/weights.safetensors").is_file()
    (layout.folder / attempt).rename(layout.folder.parent / "aside")
    mirror.fetch()
    assert not (layout.folder / attempt).exists()


def test_a_checkpoint_that_was_cleaned_here_alone_is_whole_again_after_a_fetch(layout: Layout, mirror: Mirror) -> None:
    _ended(Path(mirror.folder))
    _write(layout.run("a").cleaned(0), "{}")
    mirror.fetch_weights(layout.run("a").checkpoint(0))
    assert not layout.run("a").cleaned(0).exists()


def test_a_moved_experiment_finds_its_folder_there_again(layout: Layout, mirror: Mirror) -> None:
    mirror.prepare()
    there = mirror.folder
    moved = Layout(layout.folder.rename(layout.folder.parent / "moved"))
    _write(layout.summary, "another experiment, in the old place")
    other = _mirror(layout)
    other.prepare()
    again = _mirror(moved)
    again.prepare()
    assert again.folder == there != other.folder
    assert _mirror(Layout(moved.folder.rename(layout.folder.parent / "once more"))).folder == there


def test_a_copy_of_an_experiment_reads_where_its_original_does_and_writes_elsewhere(
    layout: Layout, mirror: Mirror
) -> None:
    mirror.prepare()
    attempt = _ended(Path(mirror.folder))
    _write(Path(mirror.folder, "run-echo.log"), "one ended\n")
    copied = Layout(layout.folder.parent / "copied")
    shutil.copytree(layout.folder, copied.folder)
    before = content(Path(mirror.folder))
    copy = _mirror(copied)
    copy.fetch()
    assert (copied.folder / attempt / "exit.json").is_file()
    copy.set_aside([copied.folder / "a"])
    copy.prepare()
    assert copy.folder != mirror.folder == _mirror(layout).folder
    assert content(Path(mirror.folder)) == before
    assert _mirror(copied).folder == copy.folder
    _write(Path(copy.folder, "run-echo.log"), "another ended\n")
    copy.fetch()
    assert (copied.folder / "run-echo.log").read_text() == "one ended\nanother ended\n"


def test_one_experiment_in_two_places_is_no_copy_of_itself(layout: Layout, mirror: Mirror) -> None:
    mirror.prepare()
    other = layout.folder.parent / "another name of it"
    other.symlink_to(layout.folder)  # as a second mount would be
    again = _mirror(Layout(other))
    again.prepare()
    assert again.folder == mirror.folder


def test_a_home_there_is_where_commands_begin(layout: Layout) -> None:
    mirror = Mirror(layout, "far", Profile(executor="slurm", ssh="far", scratch="~/runs"))
    assert mirror.folder.startswith("runs/exp-")


def test_a_profile_over_ssh_without_a_folder_there_is_a_clear_fault(layout: Layout) -> None:
    with pytest.raises(MissingError, match="`far` is reached over SSH and has no `scratch`"):
        Mirror(layout, "far", Profile(executor="slurm", ssh="far"))
