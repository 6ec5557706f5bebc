"""The harness itself: a session that did not go as written fails its test, and consent is answered both ways."""

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from capitals import wait
from claude import Claude
from reading import Body
from scripted_api import DUMMY_KEY, ScriptedApi, Use

pytestmark = pytest.mark.slow

TOUCH = Use("Bash", {"command": "touch made", "description": "Make a file"})


def test_a_tool_runs_and_its_result_comes_back(claude: Claude, project: Path) -> None:
    session = claude.play(project, [Use("Bash", {"command": "echo $HOME"}), "done"], "go")
    assert session.results == [(str(claude.home), False)]
    assert session.answer == "done"


def test_a_script_with_too_few_turns_fails(claude: Claude, project: Path) -> None:
    with pytest.raises(AssertionError, match="1 requests came after the last turn"):
        claude.play(project, [TOUCH], "go")


def test_a_turn_that_breaks_fails(claude: Claude, project: Path) -> None:
    with pytest.raises(AssertionError, match=r"turn 0 of the script broke: .*nothing to read"):
        claude.play(project, [_break, "done"], "go")


def test_a_script_with_too_many_turns_fails(claude: Claude, project: Path) -> None:
    with pytest.raises(AssertionError, match="1 turns of main were never asked for"):
        claude.play(project, ["done", "one more"], "go")


@pytest.mark.parametrize("agreed", [True, False])
def test_consent_decides_whether_a_command_runs(claude: Claude, project: Path, *, agreed: bool) -> None:
    session = claude.play(project, [TOUCH, "done"], "go", consent=lambda _: agreed)
    assert [asked.input["command"] for asked in session.asked] == ["touch made"]
    assert (project / "made").exists() == agreed
    assert session.results[0].is_error != agreed


def test_a_session_goes_on_with_what_it_knows(claude: Claude, project: Path) -> None:
    claude.play(project, [Use("Bash", {"command": "echo first"}), "done"], "go")
    session = claude.play(project, [Use("Bash", {"command": "echo second"}), "done"], "go on", "--continue")
    assert [result.text for result in session.results] == ["first", "second"]


def test_without_anyone_to_ask_the_client_says_no(claude: Claude, project: Path) -> None:
    session = claude.play(project, [TOUCH, "done"], "go")
    assert session.results[0].is_error
    assert not (project / "made").exists()


def test_another_key_is_refused_and_counted() -> None:
    with ScriptedApi(["hello"]) as api:
        assert _ask(api, DUMMY_KEY)["content"] == [{"type": "text", "text": "hello"}]
        with pytest.raises(urllib.error.HTTPError, match="401"):
            _ask(api, "somebody's own")
        assert api.faults() == ["1 requests carried a foreign key"]


def test_a_call_waits_as_long_as_a_text_of_ours_says_and_no_longer() -> None:
    assert wait("tuneloop wait x", _read("`tuneloop wait EXP`, in calls of 600,000 ms")).input["timeout"] == 600_000
    for text in ("a call ends after 600,000 ms", "`tuneloop wait EXP`\n600,000 ms"):
        with pytest.raises(AssertionError, match="nothing that was read"):
            wait("tuneloop wait x", _read(text))


def _read(text: str) -> Body:
    return {"messages": [{"role": "user", "content": text}]}


def _break(body: Body) -> str:
    raise LookupError("nothing to read")


def _ask(api: ScriptedApi, key: str) -> dict[str, object]:
    body = json.dumps({"messages": [{"role": "user", "content": "hi"}]}).encode()
    request = urllib.request.Request(f"{api.url}/v1/messages", body, {"x-api-key": key})
    with urllib.request.urlopen(request) as response:
        found: dict[str, object] = json.load(response)
    return found
