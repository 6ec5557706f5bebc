"""`clean`, `archive`, `restore`: weights go, everything else stays; what is packed comes back, or nothing does."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_support import problems

from lab import make_echo, run, states
from places import content
from typed import as_json, tuneloop

pytestmark = pytest.mark.slow
KEPT = {"verified.json", "cleaned.json"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    exp = make_echo(tmp_path_factory.mktemp("lab") / "exp", controls="{epochs: 3, seconds: 0.1, steps: 2}")
    run(exp)
    return exp


@pytest.fixture
def exp(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "exp"))


def clean(exp: Path, *options: str) -> dict[str, object]:
    """Clean with consent to the plan as it is; return what was told."""
    plan = as_json(tuneloop(exp.parent, "clean", "exp", *options, "--dry-run", "--json"))["plan"]
    return dict(as_json(tuneloop(exp.parent, "clean", "exp", *options, "--yes", plan, "--json")))


def weights(exp: Path) -> set[str]:
    return {path.parent.relative_to(exp).as_posix() for path in exp.glob("*/epoch_*/weights.json")}


# Cleaning


@pytest.mark.parametrize(("keep", "epochs"), [("last", {2}), ("none", set())])
def test_the_weights_of_other_epochs_go_and_nothing_else(exp: Path, keep: str, epochs: set[int]) -> None:
    before = content(exp)
    told = clean(exp, "--keep", keep)
    assert weights(exp) == {f"{name}/epoch_{epoch}" for name in ("lr1e-3", "lr1e-4") for epoch in epochs}
    gone = before.keys() - content(exp).keys()
    assert gone
    assert all("/epoch_" in name for name in gone)
    same = {name for name in before.keys() & content(exp).keys() if before[name] != content(exp)[name]}
    assert same == {"run-experiment.log"}
    assert told["removed"]
    record = json.loads((exp / "lr1e-3" / "epoch_0" / "cleaned.json").read_text())
    assert record["why"] == f"keep {keep}"
    assert set(record["files"]) == {"config.json", "weights.json"}
    assert len(record["hash"]) == 16


def test_the_best_epoch_of_each_run_stays_and_is_told(exp: Path) -> None:
    told = as_json(tuneloop(exp.parent, "clean", "exp", "--keep", "best", "--dry-run", "--json"))
    assert [item["run"] for item in told["kept"]] == ["lr1e-3", "lr1e-4"]
    assert all(item["why"].startswith("best cap (echo) ") for item in told["kept"])
    clean(exp, "--keep", "best")
    assert weights(exp) == {f"{item['run']}/epoch_{item['epoch']}" for item in told["kept"]}


def test_a_cleaned_experiment_is_as_done_as_before(exp: Path) -> None:
    before = states(exp)
    rows = (exp / "analysis" / "results.csv").read_bytes()
    told = as_json(tuneloop(exp.parent, "analyze-experiment", "exp", "--json"))
    assert [item["run"] for item in told["results"]] == ["control", "lr1e-3", "lr1e-4"]
    clean(exp, "--keep", "none")
    assert states(exp) == before
    assert as_json(tuneloop(exp.parent, "run-experiment", "exp", "--dry-run", "--json"))["jobs"] == []
    assert as_json(tuneloop(exp.parent, "analyze-experiment", "exp", "--json")) == told
    assert (exp / "analysis" / "results.csv").read_bytes() == rows
    assert not as_json(tuneloop(exp.parent, "clean", "exp", "--keep", "none", "--dry-run", "--json"))["checkpoints"]


def test_a_cleaned_epoch_is_told_with_its_repair_and_the_repair_works(exp: Path) -> None:
    weight = (exp / "lr1e-3" / "epoch_0" / "weights.json").read_bytes()
    clean(exp, "--keep", "last")
    for verb in (("sample", "x"), ("export", "out")):
        done = tuneloop(exp.parent, verb[0], "exp/lr1e-3@0", verb[1], "--json")
        assert done.returncode == 1
        (told,) = problems(done)
        assert told.message == "the weights of `lr1e-3@0` were cleaned away"
        assert str(told.hint).startswith(f"`bash {exp}/lr1e-3/finetune.slurm`")
    subprocess.run(["bash", exp / "lr1e-3" / "finetune.slurm"], check=True, capture_output=True)
    assert (exp / "lr1e-3" / "epoch_0" / "weights.json").read_bytes() == weight
    assert as_json(tuneloop(exp.parent, "sample", "exp/lr1e-3@0", "x", "--json"))["output"] == "X"


def test_cleaning_needs_consent_to_the_plan_as_it_is(exp: Path) -> None:
    before = content(exp)
    (told,) = problems(tuneloop(exp.parent, "clean", "exp", "--keep", "last", "--json"))
    assert "needs a yes" in told.message
    assert "--keep last --yes " in str(told.hint)
    (told,) = problems(tuneloop(exp.parent, "clean", "exp", "--keep", "last", "--yes", "00000000", "--json"))
    assert told.message.startswith("the plan has changed")
    (told,) = problems(tuneloop(exp.parent, "clean", "exp", "--json"))
    assert told.message == "the design keeps all weights: say which to keep"
    (told,) = problems(tuneloop(exp.parent, "clean", "exp", "--keep", "worst", "--json"))
    assert told.hint == "known: `best`, `last`, `none`"
    assert content(exp) == before


def test_killed_in_the_middle_it_goes_on(exp: Path) -> None:
    """The process ends after the first file: the record is there already, and the same command does the rest."""
    code = (
        "import os, pathlib, sys\n"
        "real = pathlib.Path.unlink\n"
        "def once(path, **options):\n"
        "    real(path, **options)\n"
        "    if path.name == 'config.json': os._exit(9)\n"
        "pathlib.Path.unlink = once\n"
        "from tuneloop.cli.main import main; sys.argv[0] = 'tuneloop'; main()\n"
    )
    plan = as_json(tuneloop(exp.parent, "clean", "exp", "--keep", "none", "--dry-run", "--json"))["plan"]
    argv = [sys.executable, "-c", code, "clean", exp, "--keep", "none", "--yes", plan]
    assert subprocess.run(argv, check=False).returncode == 9
    half = exp / "lr1e-3" / "epoch_0"
    assert {path.name for path in half.iterdir()} == {"weights.json", "cleaned.json"}
    record = json.loads((half / "cleaned.json").read_text())
    (told,) = problems(tuneloop(exp.parent, "sample", "exp/lr1e-3@0", "x", "--json"))
    assert "cleaned away" in told.message
    clean(exp, "--keep", "none")
    assert weights(exp) == set()
    assert json.loads((half / "cleaned.json").read_text()) == record


def test_what_a_job_still_needs_stays(tmp_path: Path) -> None:
    exp = make_echo(tmp_path / "exp", variables="{lr: [1e-3]}", controls="{epochs: 2, seconds: 0.1, steps: 2}")
    run(exp, verb=("run-echo",))
    before = content(exp)
    told = problems(tuneloop(tmp_path, "clean", "exp", "--keep", "last", "--json"))
    assert [item.message for item in told] == ["`eval/lr1e-3/e0/cap` is planned and needs weights that would go"]
    assert len(problems(tuneloop(tmp_path, "clean", "exp", "--keep", "none", "--json"))) == 2
    assert content(exp) == before


def test_nothing_is_cleaned_or_archived_while_jobs_are_going(tmp_path: Path) -> None:
    exp = make_echo(tmp_path / "exp", variables="{lr: [1e-3]}", controls="{epochs: 1, hang: true}")
    run(exp, "--detach")
    for verb in (("clean", "exp", "--keep", "none"), ("archive", "exp", "a.tar.gz")):
        done = tuneloop(tmp_path, *verb, "--json")
        assert done.returncode == 4
        assert "are going" in problems(done)[0].message
    assert not (tmp_path / "a.tar.gz").exists()
    tuneloop(tmp_path, "cancel", "exp")
    tuneloop(tmp_path, "wait", "exp")


def test_weights_of_a_run_that_is_not_done_are_left(tmp_path: Path) -> None:
    """They are what a retry goes on from."""
    exp = make_echo(tmp_path / "exp", variables="{fail: [3], lr: [1e-3]}", controls="{epochs: 2, seconds: 0.1}")
    run(exp, verb=("run-echo",), check=False)
    kept = list(exp.glob("*/.attempts/train/*/epoch_0/weights.json"))
    assert kept
    told = as_json(tuneloop(tmp_path, "clean", "exp", "--keep", "none", "--dry-run", "--json"))
    assert told["checkpoints"] == told["rest"] == []
    assert told["left"] == [{"run": "fail3_lr1e-3", "why": "its training is failed"}]


def test_the_policy_is_applied_by_the_job_that_collects(tmp_path: Path) -> None:
    design = "policy: {keep: last}\n"
    exp = make_echo(tmp_path / "exp", "{lr: [1e-3]}", "{epochs: 2, seconds: 0.1, steps: 2}", design)
    run(exp)
    assert weights(exp) == {"lr1e-3/epoch_1"}
    assert set(states(exp).values()) == {"done"}


def test_the_policy_waits_until_all_jobs_are_done(tmp_path: Path) -> None:
    design = "policy: {keep: none}\n"
    exp = make_echo(tmp_path / "exp", "[{lr: 1e-3, fail: 0}, {lr: 1e-4, fail: 3}]", "{epochs: 1, seconds: 0.1}", design)
    run(exp, check=False)
    assert states(exp)["collect"] == "done"
    assert weights(exp) == {"lr1e-3_fail0/epoch_0"}
    told = as_json(tuneloop(tmp_path, "clean", "exp", "--by-policy", "--json"))
    assert not told["removed"]
    assert "not done" in told["why"]


def test_weights_that_were_set_aside_go_and_their_results_stay(exp: Path) -> None:
    summary = exp / "experiment_summary.md"
    summary.write_text(summary.read_text().replace("steps: 2", "steps: 3"))
    replace = [word for name in ("lr1e-3", "lr1e-4") for word in ("--replace", name)]
    assert tuneloop(exp.parent, "scaffold-experiment", "exp", *replace).returncode == 0
    aside = exp / ".tuneloop" / "replaced"
    logs = set(aside.rglob("eval/logs/*"))
    assert list(aside.rglob("weights.json"))
    assert logs
    clean(exp, "--keep", "best")
    assert not list(aside.rglob("weights.json"))
    assert set(aside.rglob("eval/logs/*")) == logs


def merged(exp: Path, name: str = "abc-e0") -> Path:
    """Put a merged model of a cited checkpoint where the trainer does."""
    folder = exp / ".tuneloop" / "models" / name
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"w" * 1000)
    folder.with_suffix(".lock").touch()
    return folder


@pytest.mark.parametrize("keep", ["best", "last", "none"])
def test_merged_models_go_with_the_weights(exp: Path, keep: str) -> None:
    folder = merged(exp)
    plan = as_json(tuneloop(exp.parent, "clean", "exp", "--keep", keep, "--dry-run", "--json"))
    assert ".tuneloop/models/abc-e0" in plan["rest"]
    clean(exp, "--keep", keep)
    assert not folder.exists()
    assert set(states(exp).values()) == {"done"}


def test_a_merged_model_stays_with_the_adapter_that_belongs_to_it(exp: Path) -> None:
    needed, other = merged(exp), merged(exp, "old-e0")
    adapter = exp / "lr1e-3" / "epoch_2" / "adapter_config.json"
    adapter.write_text(json.dumps({"base_model_name_or_path": "../.tuneloop/models/abc-e0"}))
    clean(exp, "--keep", "last")
    assert needed.is_dir()
    assert not other.exists()
    clean(exp, "--keep", "none")
    assert not needed.exists()


# Archiving


def test_what_is_archived_comes_back_the_same(exp: Path) -> None:
    here = exp.parent
    before, stands = content(exp), states(exp)
    told = as_json(tuneloop(here, "archive", "exp", "exp.tar.gz", "--json"))
    assert told["files"] == sum(data is not None for data in before.values())
    assert content(exp) == before
    again = as_json(tuneloop(here, "restore", "exp.tar.gz", "again", "--json"))
    files = {name: data for name, data in content(here / "again").items() if data is not None}
    assert files == {name: data for name, data in before.items() if data is not None}
    assert again["files"] == told["files"]
    assert states(here / "again") == stands
    rows = (exp / "analysis" / "results.csv").read_bytes()
    as_json(tuneloop(here, "analyze-experiment", "again", "--json"))
    assert (here / "again" / "analysis" / "results.csv").read_bytes() == rows
    assert os.access(here / "again" / "lr1e-3" / "finetune.slurm", os.X_OK)


def test_without_weights_the_rest_comes_back_and_says_so(exp: Path) -> None:
    here = exp.parent
    merged(exp)
    before, stands = content(exp), states(exp)
    as_json(tuneloop(here, "archive", "exp", "exp.tar.gz", "--without-weights", "--json"))
    assert content(exp) == before
    assert not as_json(tuneloop(here, "restore", "exp.tar.gz", "again", "--json"))["weights"]
    assert weights(here / "again") == set()
    assert not list((here / "again").rglob("weights.json"))
    assert not list((here / "again").rglob("*.safetensors"))
    assert states(here / "again") == stands
    (told,) = problems(tuneloop(here, "sample", "again/lr1e-3@0", "x", "--json"))
    assert "cleaned away" in told.message


def test_a_link_is_left_out_and_told(exp: Path) -> None:
    (exp / "outside").symlink_to("/etc/hostname")
    told = as_json(tuneloop(exp.parent, "archive", "exp", "exp.tar.gz", "--json"))
    assert told["left_out"] == ["outside"]


def test_nothing_is_replaced(exp: Path) -> None:
    here = exp.parent
    (here / "exp.tar.gz").write_text("mine")
    (told,) = problems(tuneloop(here, "archive", "exp", "--json"))
    assert told.message == "something is here already"
    assert (here / "exp.tar.gz").read_text() == "mine"
    (told,) = problems(tuneloop(here, "archive", "exp", "exp/in.tar.gz", "--json"))
    assert told.message == "an archive cannot lie in the experiment itself"
    tuneloop(here, "archive", "exp", "good.tar.gz")
    (told,) = problems(tuneloop(here, "restore", "good.tar.gz", "--json"))
    assert told.message == "something is here already"


def test_dry_runs_write_nothing(exp: Path) -> None:
    here = exp.parent
    tuneloop(here, "archive", "exp", "good.tar.gz")
    before = content(here)
    assert "would write" in tuneloop(here, "archive", "exp", "other.tar.gz", "--dry-run").stdout
    assert "would restore" in tuneloop(here, "restore", "good.tar.gz", "again", "--dry-run").stdout
    assert content(here) == before


@pytest.fixture(scope="module")
def archive(finished: Path) -> Path:
    """A small archive: that of an experiment which was only designed."""
    exp = make_echo(finished.parent / "small", scaffold=False)
    tuneloop(exp.parent, "archive", "small", "small.tar.gz")
    return exp.parent / "small.tar.gz"


Change = Callable[[tarfile.TarInfo, bytes], list[tuple[tarfile.TarInfo, bytes]]]


def member(
    name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(data), kind, link
    return info, data


def rewritten(source: Path, target: Path, change: Change, *more: tuple[tarfile.TarInfo, bytes]) -> None:
    """Copy an archive with other members; what is added stands first."""
    with tarfile.open(source) as old, tarfile.open(target, "w:gz") as new:
        for info, data in more:
            new.addfile(info, io.BytesIO(data))
        for item in old:
            file = old.extractfile(item)
            for info, data in change(item, file.read() if file else b""):
                info.size = len(data)
                new.addfile(info, io.BytesIO(data))


def same(info: tarfile.TarInfo, data: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
    return [(info, data)]


BAD_MEMBERS = {
    "absolute": (member("/tmp/evil", b"x"), "would land outside of the experiment"),
    "upwards": (member("small/../../evil", b"x"), "would land outside of the experiment"),
    "beside": (member("evil", b"x"), "would land outside of the experiment"),
    "link out": (member("small/evil", kind=tarfile.SYMTYPE, link="/etc/passwd"), "is no plain file"),
    "hard link": (member("small/evil", kind=tarfile.LNKTYPE, link="/etc/passwd"), "is no plain file"),
    "device": (member("small/evil", kind=tarfile.CHRTYPE), "is no plain file"),
    "foreign file": (member("small/evil", b"x"), "is not as it was archived"),
}


@pytest.mark.parametrize("case", BAD_MEMBERS)
def test_an_archive_with_something_foreign_leaves_nothing(archive: Path, tmp_path: Path, case: str) -> None:
    added, why = BAD_MEMBERS[case]
    rewritten(archive, tmp_path / "bad.tar.gz", same, added)
    before = set(tmp_path.iterdir())
    done = tuneloop(tmp_path, "restore", "bad.tar.gz", "out", "--json")
    assert done.returncode == 2
    (told,) = problems(done)
    assert why in told.message
    assert added[0].name.removeprefix("small/") in told.message
    assert set(tmp_path.iterdir()) == before


CHANGES: dict[str, tuple[Change, str]] = {
    "one byte": (
        lambda info, data: [(info, data.replace(b"one", b"two") if info.name.endswith("data.jsonl") else data)],
        "`data.jsonl` in it is not as it was archived",
    ),
    "a file less": (
        lambda info, data: [] if info.name.endswith("data.jsonl") else [(info, data)],
        "`data.jsonl` is missing in it",
    ),
    "no manifest": (
        lambda info, data: [] if info.name == "tuneloop-archive.json" else [(info, data)],
        "it has no manifest: it was cut off, or is no archive of ours",
    ),
    "manifest of others": (
        lambda info, data: [(info, b"{}" if info.name == "tuneloop-archive.json" else data)],
        "its manifest is not one of ours",
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_changed_archive_is_refused_by_the_file(archive: Path, tmp_path: Path, case: str) -> None:
    change, message = CHANGES[case]
    rewritten(archive, tmp_path / "bad.tar.gz", change)
    (told,) = problems(tuneloop(tmp_path, "restore", "bad.tar.gz", "out", "--json"))
    assert told.message == message
    assert [path.name for path in tmp_path.iterdir()] == ["bad.tar.gz"]


def test_an_archive_cut_or_damaged_anywhere_leaves_nothing(archive: Path, tmp_path: Path) -> None:
    """In this process: a hundred damages would take a minute each through the command line."""
    from tuneloop.documents.errors import InputError
    from tuneloop.loop.restore import restore

    whole, bad = archive.read_bytes(), tmp_path / "bad.tar.gz"
    damages = [whole[:cut] for cut in range(0, len(whole) - 8, max(1, len(whole) // 40))]
    places = range(10, len(whole), max(1, len(whole) // 60))
    damages += [whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :] for at in places]
    refused = 0
    for data in damages:
        bad.write_bytes(data)
        with contextlib.suppress(InputError):
            restore(bad, tmp_path / "out")
            # A damage that changes no file, such as one in a time, may pass.
            shutil.rmtree(tmp_path / "out")
            continue
        refused += 1
        assert [path.name for path in tmp_path.iterdir()] == ["bad.tar.gz"]
    assert refused > 0.9 * len(damages)
