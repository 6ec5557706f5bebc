"""Configuration: one home, project over user, each value with its origin."""

from pathlib import Path

import pytest

from tuneloop.documents.config import find_project, load
from tuneloop.documents.errors import InputError, MissingError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's file, in a home of its own."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    path = tmp_path / "home" / ".config" / "tuneloop" / "config.yaml"
    path.parent.mkdir(parents=True)
    return path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "project" / "tuneloop.yaml"
    path.parent.mkdir()
    return path


def test_nothing_configured_is_all_defaults(home: Path, project: Path) -> None:
    found = load(project.parent)
    assert {item.origin for item in found.origins} == {"default"}
    assert found.root == project.parent
    assert found.profile("local").executor == "local"


def test_project_wins_over_user(home: Path, project: Path) -> None:
    home.write_text("clusters: {box: {slots: 2, python: /user/python}}\n")
    project.write_text("clusters: {box: {slots: 3}}\nexperiments: {root: runs}\n")
    (project.parent / "runs" / "a").mkdir(parents=True)
    found = load(project.parent / "runs" / "a")
    box = found.profile("box")
    assert (box.slots, box.python) == (3, "/user/python")
    assert found.root == project.parent / "runs"
    origins = {item.key: (item.value, item.origin) for item in found.origins}
    assert origins["clusters.box.slots"] == (3, str(project))
    assert origins["clusters.box.python"] == ("/user/python", str(home))
    assert origins["experiments.root"] == ("runs", str(project))
    assert origins["clusters.box.executor"] == ("local", "default")


def test_xdg_folder_is_the_users(home: Path, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "xdg" / "tuneloop" / "config.yaml"
    other.parent.mkdir(parents=True)
    other.write_text("clusters: {box: {slots: 7}}\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert load(project.parent).profile("box").slots == 7


def test_interpreter_is_one_or_one_per_worker(home: Path, project: Path) -> None:
    project.write_text("clusters:\n  one: {python: /a}\n  more: {python: {torchtune: /b}}\n")
    found = load(project.parent)
    assert found.profile("one").interpreter("inspect") == "/a"
    assert found.profile("more").interpreter("torchtune") == "/b"
    assert found.profile("more").interpreter("inspect") is None


def test_project_is_the_nearest_folder_upwards(project: Path) -> None:
    project.write_text("")
    below = project.parent / "a" / "b"
    below.mkdir(parents=True)
    assert find_project(below) == project.parent
    (below / "tuneloop.yaml").write_text("")
    assert find_project(below) == below


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clutsers: {}\n", ":1: unknown key `clutsers`\n  hint: did you mean `clusters`?"),
        (
            "clusters:\n  box:\n    slot: 1\n",
            ":3: unknown key `clusters.box.slot`\n  hint: did you mean `slots`?",
        ),
        (
            "clusters:\n  box: {slots: 0}\n",
            ":2: `clusters.box.slots` should be greater than or equal to 1, found 0\n  hint: write 1 or more",
        ),
        ("clusters: {a: {}}\nclusters: {}\n", ":2: duplicate key `clusters`\n  hint: it stands on line 1 already"),
        ("- a\n", ":1: expected keys and values, found list"),
    ],
)
def test_fault_has_file_and_line(home: Path, project: Path, text: str, message: str) -> None:
    for path in (home, project):
        path.write_text(text)
        with pytest.raises(InputError) as caught:
            load(project.parent)
        assert str(caught.value) == f"{path}{message}"
        path.unlink()


def test_unknown_profile_names_the_nearest(home: Path, project: Path) -> None:
    project.write_text("clusters: {box: {}}\n")
    with pytest.raises(MissingError) as caught:
        load(project.parent).profile("lokal")
    assert str(caught.value) == "no cluster profile `lokal`\n  hint: did you mean `local`?"
