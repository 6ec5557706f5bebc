"""The pinned Claude Code client, played against a scripted model in a world of its own.

Its whole environment is given and nothing inherited: an empty home, a dummy key, a server on loopback.
A return code proves nothing there, so `play` asserts what must hold of every session, and tests read the requests.
"""

import json
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from reading import Body, Result, results
from scripted_api import DUMMY_KEY, MAIN, Script, ScriptedApi

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
LIMIT = 600.0  # seconds until a session is ended and its test fails
# Nothing beside the scripted conversation: no telemetry, no update, no second try of a request.
_QUIET = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_MAX_RETRIES": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_TELEMETRY": "1",
}
_MACHINES = {"x86_64": "x64", "aarch64": "arm64"}
_PACKAGE = f"@anthropic-ai/claude-code-linux-{_MACHINES.get(platform.machine(), platform.machine())}"
BINARY = HERE / "node_modules" / _PACKAGE / "claude"


@dataclass(frozen=True)
class Asked:
    """A permission that the client asked for."""

    tool: str
    input: dict[str, Any]
    reason: str


Consent = Callable[[Asked], bool]


@dataclass
class Session:
    """What a whole session showed: requests by conversation, and the client's own account of it."""

    requests: dict[str, list[Body]]
    events: list[dict[str, Any]]
    asked: list[Asked] = field(default_factory=list)

    @property
    def first(self) -> Body:
        return self.requests[MAIN][0]

    @property
    def last(self) -> Body:
        return self.requests[MAIN][-1]

    @property
    def results(self) -> list[Result]:
        return results(self.last)

    @property
    def init(self) -> dict[str, Any]:
        return next(event for event in self.events if event.get("subtype") == "init")

    @property
    def answer(self) -> str:
        answers = [str(event["result"]) for event in self.events if event["type"] == "result"]
        return answers[-1] if answers else "none: the client ended, or was ended, before it had one"

    def hooks(self, event: str) -> list[dict[str, Any]]:
        """Return the client's account of each hook of this event that ran, with its exit code."""
        return [item for item in self.events if item.get("subtype") == "hook_response" and item["hook_event"] == event]


def pinned() -> str:
    """Return the version that package.json names."""
    return str(json.loads((HERE / "package.json").read_text())["optionalDependencies"][_PACKAGE])


@dataclass(frozen=True)
class Claude:
    home: Path

    def play(
        self,
        project: Path,
        script: Script,
        prompt: str,
        *options: str,
        consent: Consent | None = None,
        limit: float = LIMIT,
    ) -> Session:
        """Play the script in the project until its last turn and return what was seen.

        With `consent` it answers each permission that the client asks for; without, the client denies them itself.
        `limit`: seconds until the client is killed and the test fails.
        """
        talk = ["-p", "--output-format", "stream-json", "--verbose", "--include-hook-events", "--model", "opus"]
        talk += ["--input-format", "stream-json", "--permission-prompt-tool", "stdio"] if consent else [prompt]
        with ScriptedApi(script) as api, (self._made("tmp") / "stderr").open("w+") as stderr:
            process = self._start([*talk, *options], project, api.url, stderr, open_input=consent is not None)
            timer = threading.Timer(limit, process.kill)
            timer.start()
            try:
                events, asked = _converse(process, prompt, consent)
            finally:
                timer.cancel()
                process.kill()
                code = process.wait()
            stderr.seek(0)
            said = stderr.read()
        assert events, said
        session = Session({name: part.requests for name, part in api.conversations.items()}, events, asked)
        faults = api.faults()
        assert not faults, "; ".join([*faults, f"the last answer: {session.answer}", said])
        assert session.init["claude_code_version"] == pinned()
        assert code == 0, said
        return session

    def command(self, *arguments: str | Path, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command of the client that needs no model."""
        done = subprocess.run(
            [BINARY, *arguments],
            cwd=cwd,
            env=self.environment("http://127.0.0.1:9"),  # the discard port: whoever calls a model there fails
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def trust(self, project: Path) -> None:
        """Accept the question whether the project is trusted, which the client asks only on a terminal."""
        config = self._made(".claude") / ".claude.json"
        accepted = {str(project.resolve()): {"hasTrustDialogAccepted": True}}
        config.write_text(json.dumps({"hasCompletedOnboarding": True, "projects": accepted}))

    def environment(self, url: str) -> dict[str, str]:
        """Return the whole environment: `tuneloop` is this checkout's, whatever else is installed."""
        return {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": f"{ROOT / 'lib'}:{ROOT / 'tests' / 'echo'}",
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "HOME": str(self.home),
            "TMPDIR": str(self._made("tmp")),
            "CLAUDE_CONFIG_DIR": str(self._made(".claude")),
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "XDG_CACHE_HOME": str(self.home / ".cache"),
            "XDG_DATA_HOME": str(self.home / ".local" / "share"),
            "XDG_STATE_HOME": str(self.home / ".local" / "state"),
            "ANTHROPIC_API_KEY": DUMMY_KEY,
            "ANTHROPIC_BASE_URL": url,
            **_QUIET,
        }

    def _made(self, name: str) -> Path:
        folder = self.home / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _start(
        self, arguments: list[str], project: Path, url: str, stderr: IO[str], *, open_input: bool
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [BINARY, *arguments],
            cwd=project,
            env=self.environment(url),
            # An open standard input that nobody writes to costs three seconds.
            stdin=subprocess.PIPE if open_input else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )


def _converse(
    process: subprocess.Popen[str], prompt: str, consent: Consent | None
) -> tuple[list[dict[str, Any]], list[Asked]]:
    """Read the client's events to their end; answer what it asks, and close its input after its result."""
    events: list[dict[str, Any]] = []
    asked: list[Asked] = []
    if consent:
        _say(process, {"type": "user", "message": {"role": "user", "content": prompt}})
    for event in _events(process):
        if event["type"] == "control_request":
            request = event["request"]
            asked.append(Asked(request["tool_name"], request["input"], request.get("decision_reason", "")))
            assert consent is not None
            _say(process, _reply(event["request_id"], request["input"], agreed=consent(asked[-1])))
        else:
            events.append(event)
        if event["type"] == "result" and process.stdin:
            process.stdin.close()
    return events, asked


def _events(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    with process.stdout as lines:
        yield from (json.loads(line) for line in lines if line.startswith("{"))


def _say(process: subprocess.Popen[str], value: dict[str, Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(value) + "\n")
    process.stdin.flush()


def _reply(request: str, tool_input: dict[str, Any], *, agreed: bool) -> dict[str, Any]:
    yes = {"behavior": "allow", "updatedInput": tool_input}
    no = {"behavior": "deny", "message": "the user said no"}
    response = {"subtype": "success", "request_id": request, "response": yes if agreed else no}
    return {"type": "control_response", "response": response}
