"""docs/clusters.md, by doing: it has every key of a profile and no other, and its profiles are sound."""

import re
from pathlib import Path

from docs_reading import blocks

from tuneloop.documents.config import load
from tuneloop.documents.profile import Limits, Mail, Prices, Profile
from tuneloop.documents.schema import validate
from tuneloop.documents.yamltext import load_yaml
from tuneloop.experiment.design import SCHEMA, Design
from tuneloop.experiment.read import check_design

TEXT = (Path(__file__).parents[2] / "docs" / "clusters.md").read_text()


def keys_of_the_table(text: str) -> list[str]:
    rows = re.findall(r"^\| (`.*?) \|", text.partition("## The keys")[2].partition("\n\n**")[0], re.MULTILINE)
    return [key for row in rows for key in re.findall(r"`(\w+)`", row)]


def test_the_table_has_every_key_of_a_profile() -> None:
    assert sorted(keys_of_the_table(TEXT)) == sorted(Profile.model_fields)


def test_a_key_that_lacks_is_seen() -> None:
    assert "slots" not in keys_of_the_table(TEXT.replace("| `slots` |", "| `slot` |"))


def test_limits_and_prices_are_named() -> None:
    assert [key for key in (*Limits.model_fields,) if f"`{key}`" not in TEXT] == []
    assert [key for key in Prices.model_fields if f"{key}:" not in TEXT] == []


def test_the_default_of_mail_is_told() -> None:
    default = " and ".join(f"`{event}`" for event in Mail.model_fields["on"].default)
    assert f"without it {default} |" in TEXT


def test_every_profile_is_sound(tmp_path: Path) -> None:
    found = [block for block in blocks(TEXT, "yaml") if "clusters:" in block.text]
    assert found
    for block in found:
        (tmp_path / "tuneloop.yaml").write_text(block.text)
        assert load(tmp_path).config.clusters


def test_the_design_for_several_clusters_places_its_runs_as_the_page_says() -> None:
    (block,) = (block for block in blocks(TEXT, "yaml") if "clusters:" not in block.text)
    rest = {"schema": SCHEMA, "name": "a", "question": "b?", "model": "c", "data": [{"split": "train", "path": "d"}]}
    runs = check_design(validate(Design, rest | load_yaml(block.text)), None, {})
    assert {run.name: run.cluster for run in runs} == {"rank8": "site", "rank32": "far", "control": "site"}
    assert "`rank8` and the control run on `site`, `rank32` on `far`." in TEXT
