"""Splitting: the same parts again, nothing in two of them, nothing lost, and shares as chance has it."""

import json
import math
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from places import content
from tuneloop.documents.errors import InputError
from tuneloop.loop.split import Split, parse_shares, place_of, plan_split, write_split

SHARES = parse_shares("train=0.8,validation=0.1,test=0.1")
HALVES = parse_shares("one=1/2,other=1/2")
COUNT = 300


def numbers(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"input": str(number), "output": "x", **more} for number in range(count)]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def split(source: Path, folder: Path, shares: dict[str, Fraction] = SHARES, **said: Any) -> Split:
    return plan_split(source, folder, shares, **{"seed": 1, "group": None, "replace": False, **said})


def parts(plan: Split) -> dict[str, list[dict[str, Any]]]:
    return {part.name: [json.loads(line) for line in part.data.splitlines()] for part in plan.parts}


def refused(source: Path, folder: Path, shares: dict[str, Fraction] = SHARES, **said: Any) -> list[str]:
    before = content(source.parent)
    with pytest.raises(InputError) as caught:
        split(source, folder, shares, **said)
    assert content(source.parent) == before
    assert all(item.hint for item in caught.value.problems)
    return [item.message for item in caught.value.problems]


def test_the_same_file_makes_the_same_bytes(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", numbers(COUNT))
    write_split(split(source, tmp_path / "parts"))
    before = content(tmp_path / "parts")
    again = split(source, tmp_path / "parts")
    assert again.changed == ()
    write_split(again)
    assert content(tmp_path / "parts") == before
    assert sorted(before) == ["splits.json", "test.jsonl", "train.jsonl", "validation.jsonl"]


def test_the_record_tells_how_it_was_done(tmp_path: Path) -> None:
    import hashlib

    source = write(tmp_path / "a.jsonl", numbers(COUNT))
    write_split(split(source, tmp_path / "parts", seed=7))
    record = json.loads((tmp_path / "parts" / "splits.json").read_text())
    assert record["source"]["path"] == "../a.jsonl"
    assert record["source"]["hash"] == f"sha256:{hashlib.sha256(source.read_bytes()).hexdigest()}"
    assert (record["seed"], record["group"]) == (7, None)
    assert record["shares"] == {"train": 0.8, "validation": 0.1, "test": 0.1}
    for part in record["parts"]:
        data = (tmp_path / "parts" / part["path"]).read_bytes()
        assert part["hash"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
        assert part["samples"] == len(data.splitlines())


rows = st.lists(st.fixed_dictionaries({"input": st.text(max_size=3), "n": st.integers(0, 40)}), min_size=1, max_size=60)


@given(rows, st.integers())
@settings(max_examples=60, deadline=None)
def test_parts_are_disjoint_and_whole(found: list[dict[str, Any]], seed: int) -> None:
    keys = [json.dumps(row, sort_keys=True) for row in found]
    placed = Counter((key, place_of(key, SHARES, seed)) for key in keys)
    assert sum(placed.values()) == len(found)
    assert len(placed) == len(set(keys)), "equal samples fell into two splits"


@given(st.lists(st.fractions(Fraction(1, 50), 1), min_size=1, max_size=6), st.text(max_size=8), st.integers())
@settings(max_examples=100, deadline=None)
def test_every_key_has_one_place(weights: list[Fraction], key: str, seed: int) -> None:
    shares = {f"s{number}": weight / sum(weights) for number, weight in enumerate(weights)}
    assert place_of(key, shares, seed) in shares


def test_added_and_shuffled_rows_move_no_other(tmp_path: Path) -> None:
    few = parts(split(write(tmp_path / "a.jsonl", numbers(COUNT)), tmp_path / "parts"))
    more = parts(split(write(tmp_path / "b.jsonl", numbers(2 * COUNT)[::-1]), tmp_path / "parts"))
    for name, samples in few.items():
        assert [row for row in more[name][::-1] if int(row["input"]) < COUNT] == samples


def test_all_kinds_of_file_make_the_same_parts(tmp_path: Path) -> None:
    rows = numbers(COUNT)
    line = parts(split(write(tmp_path / "a.jsonl", rows), tmp_path / "parts"))
    (tmp_path / "a.json").write_text(json.dumps(rows))
    (tmp_path / "a.csv").write_text("input,output\n" + "".join(f"{row['input']},x\n" for row in rows))
    assert parts(split(tmp_path / "a.json", tmp_path / "parts")) == line
    assert parts(split(tmp_path / "a.csv", tmp_path / "parts")) == line


@pytest.mark.parametrize("seed", range(5))
def test_shares_are_met_as_chance_has_it(seed: int) -> None:
    count = 5000
    got = Counter(place_of(str(number), SHARES, seed) for number in range(count))
    for name, share in SHARES.items():
        spread = math.sqrt(count * share * (1 - share))
        assert abs(got[name] - count * share) < 4.5 * spread  # less than one chance in 100,000


def test_another_seed_makes_other_parts(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", numbers(COUNT))
    assert parts(split(source, tmp_path / "p", seed=1)) != parts(split(source, tmp_path / "p", seed=2))


def test_a_group_stays_together(tmp_path: Path) -> None:
    rows = [{"input": str(number), "who": number % 40} for number in range(COUNT)]
    found = split(write(tmp_path / "a.jsonl", rows), tmp_path / "parts", HALVES, group="who")
    whose = [{row["who"] for row in samples} for samples in parts(found).values()]
    assert whose[0] | whose[1] == set(range(40))
    assert whose[0] & whose[1] == set()
    assert [part.distinct for part in found.parts] == [len(who) for who in whose]


def test_rows_without_their_group_are_faults(tmp_path: Path) -> None:
    source = write(tmp_path / "in" / "a.jsonl", [{"who": 1}, {"whom": 2}, {"who": None}])
    assert refused(source, tmp_path / "in" / "p", group="who") == ["no column `who`", "column `who` is null"]


def test_an_empty_part_is_a_fault(tmp_path: Path) -> None:
    source = write(tmp_path / "in" / "a.jsonl", numbers(1))
    found = refused(source, tmp_path / "in" / "p")
    assert len(found) == 2
    assert all(message.startswith("none of the 1 samples falls to") for message in found)


def test_other_files_are_kept(tmp_path: Path) -> None:
    source = write(tmp_path / "in" / "a.jsonl", numbers(COUNT))
    folder = tmp_path / "in" / "p"
    write(folder / "train.jsonl", [{"mine": 1}])
    assert refused(source, folder) == ["another file is here already"]
    write_split(split(source, folder, replace=True))
    assert split(source, folder).changed == ()


def test_a_part_of_an_earlier_split_is_not_left(tmp_path: Path) -> None:
    source = write(tmp_path / "in" / "a.jsonl", numbers(COUNT))
    folder = tmp_path / "in" / "p"
    write_split(split(source, folder))
    fewer = parse_shares("train=0.9,test=0.1")
    assert refused(source, folder, fewer, replace=True) == ["a part of an earlier split lies here"]


def test_a_part_that_is_in_the_way_is_told_with_its_command(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", numbers(COUNT))
    write_split(split(source, tmp_path / "my parts"))
    with pytest.raises(InputError) as caught:
        split(source, tmp_path / "my parts", parse_shares("train=0.9,test=0.1"), replace=True)
    place = tmp_path / "my parts" / "validation.jsonl"
    assert [item.hint for item in caught.value.problems] == [f"`rm '{place}'`: its samples are in others now"]


def test_numbers_that_json_does_not_have_are_faults(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    source = tmp_path / "in" / "a.parquet"
    source.parent.mkdir()
    parquet.write_table(pa.table({"input": ["a", "b"], "score": [1.0, math.nan]}), source)
    (message,) = refused(source, tmp_path / "in" / "p", HALVES)
    assert message.startswith("row 2: cannot be written as JSON: ")


def test_a_file_is_not_split_over_itself(tmp_path: Path) -> None:
    source = write(tmp_path / "in" / "train.jsonl", numbers(COUNT))
    assert refused(source, source.parent, replace=True) == ["the part would replace the file it is made of"]


def test_a_killed_split_is_finished_by_the_next(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", numbers(COUNT))
    plan = split(source, tmp_path / "parts")
    write_split(plan)
    whole = content(tmp_path / "parts")
    (tmp_path / "parts" / "splits.json").unlink()
    (tmp_path / "parts" / "test.jsonl").unlink()
    again = split(source, tmp_path / "parts")
    assert [path.name for path in again.changed] == ["test.jsonl", "splits.json"]
    write_split(again)
    assert content(tmp_path / "parts") == whole


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train=0.8,test=0.1", "the shares add up to 0.9, not to 1"),
        ("train=0.8,test", "`test` is not NAME=SHARE with a share between 0 and 1"),
        ("train=1", "`train=1` is not NAME=SHARE with a share between 0 and 1"),
        ("train=nan,test=0.5", "`train=nan` is not NAME=SHARE with a share between 0 and 1"),
        ("a=1e-400000000,b=2/3", "`a=1e-400000000` is not NAME=SHARE with a share between 0 and 1"),
        ("a=0.5,A=0.5", "the split `A` is given twice"),
        ("../x=0.5,b=0.5", "split '../x' is not a plain name"),
        ("", "`` is not NAME=SHARE with a share between 0 and 1"),
    ],
)
def test_bad_shares_are_told(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_shares(text)
    assert [item.message for item in caught.value.problems] == [message]
    assert caught.value.problems[0].hint
