"""The reviewer in the real client: an agent of its own, with the tools that read and no others."""

from collections.abc import Callable
from pathlib import Path

import pytest

from claude import Claude
from reading import flatten, results, tools_offered
from scripted_api import MAIN, Use
from tuneloop.librarian.pack import Pack
from ways import Way, linked, plugin_folder

TASK = "Review the experiment in cap"


@pytest.mark.parametrize("way", [linked, plugin_folder], ids=lambda way: way.__name__)
def test_the_reviewer_reads_and_cannot_write(
    claude: Claude, checkout: Path, project: Path, pack: Pack, way: Callable[[Claude, Path, Path], Way]
) -> None:
    here = way(claude, checkout, project)
    (agent,) = pack.agents
    (project / "finding.txt").write_text("the test split leaks\n")
    marker = agent.body.strip().splitlines()[0]
    review = [
        Use("Read", {"file_path": str(project / "finding.txt")}),
        Use("Write", {"file_path": str(project / "mended.txt"), "content": "text"}),
        "Fail",
    ]
    ask = {
        "description": "Review",
        "prompt": TASK,
        "subagent_type": here.prefix + agent.name,
        "run_in_background": False,
    }
    script = {MAIN: [Use("Agent", ask), "done"], marker: review}
    session = claude.play(project, script, "hello", *here.options, "--allowedTools", "Write")

    first, *_, last = session.requests[marker]
    assert tools_offered(first) == {name.strip() for name in agent.head.tools.split(",")}
    assert TASK in flatten(first["messages"][0]["content"])
    read, written = results(last)
    assert "the test split leaks" in read.text
    assert written.is_error
    assert not (project / "mended.txt").exists()
    assert "Fail" in session.results[0].text
    assert "Write" in tools_offered(session.first), "nobody here could have written"
