"""`tuneloop split` as it is typed: what it shows, what it writes, and a design made of what it prints."""

import json
from pathlib import Path

from cli_support import problems

from places import content
from tuneloop.documents.schema import validate
from tuneloop.documents.yamltext import load_yaml
from tuneloop.experiment.design import Design, faults
from typed import as_json, tuneloop

SHARES = ("--shares", "train=0.8,test=0.2")


def source(folder: Path) -> str:
    rows = [{"input": str(number), "output": "x"} for number in range(100)]
    (folder / "all.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return "all.jsonl"


def test_what_it_prints_goes_into_a_design(tmp_path: Path) -> None:
    done = tuneloop(tmp_path, "split", source(tmp_path), "parts", *SHARES)
    assert done.returncode == 0, done.stderr
    data = load_yaml(done.stdout[done.stdout.index("data:\n") :])["data"]
    head = {"schema": "tuneloop.experiment/1", "name": "a", "question": "b?", "model": "c", "data": data}
    assert list(faults(validate(Design, head))) == []
    assert data[0]["format"] == "instruct"
    assert all(Path(entry["path"]).is_file() for entry in data)


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    name = source(tmp_path)
    before = content(tmp_path)
    found = as_json(tuneloop(tmp_path, "split", name, "parts", *SHARES, "--dry-run", "--json"))
    assert content(tmp_path) == before
    assert (found["schema"], found["written"]) == ("tuneloop.split/1", False)
    assert sum(part["samples"] for part in found["parts"]) == 100
    assert as_json(tuneloop(tmp_path, "split", name, "parts", *SHARES, "--json"))["data"] == found["data"]


def test_a_part_far_from_its_share_is_noted(tmp_path: Path) -> None:
    name = source(tmp_path)
    assert tuneloop(tmp_path, "split", name, "parts", *SHARES).stderr == ""
    few = tmp_path / "few.jsonl"
    few.write_text("".join((tmp_path / name).read_text().splitlines(keepends=True)[:4]))
    shares = ("--shares", "train=0.9,test=0.1", "--dry-run")
    found = (tuneloop(tmp_path, "split", "few.jsonl", "few", *shares, "--seed", str(seed)) for seed in range(50))
    done = next(done for done in found if done.returncode == 0)  # one sample of four is far from a tenth
    assert "`test` has" in done.stderr
    assert "of 4 samples, its share is 0.4; try another `--seed`" in done.stderr


def test_bad_files_and_shares_are_errors(tmp_path: Path) -> None:
    for words in (("none.jsonl", *SHARES), (source(tmp_path), "--shares", "train=2")):
        name, *rest = words
        done = tuneloop(tmp_path, "split", name, "parts", *rest, "--json")
        assert done.returncode == 2
        assert len(problems(done)) == 1
    assert not (tmp_path / "parts").exists()
