"""A Messages API on loopback that plays the model from a script, and keeps every request the client sent.

It knows the protocol and nothing of the client: `claude.py` starts that one, `reading.py` reads the requests.
A script holds the turns of the main conversation, and those of subagents under a marker: words of the agent's own
prompt. A turn is an answer or a function of the request, so that a script can use what a command printed.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self
from uuid import uuid4

from reading import Body, flatten

DUMMY_KEY = "test-key"
MAIN = "main"
OVERRUN = "the script has no further turn"


class Use(NamedTuple):
    """The model uses a tool."""

    tool: str
    input: Mapping[str, Any]


Answer = str | Use
Turn = Answer | Callable[[Body], Answer]
Script = Sequence[Turn] | Mapping[str, Sequence[Turn]]


@dataclass
class Conversation:
    turns: Sequence[Turn]
    requests: list[Body] = field(default_factory=list)


class ScriptedApi:
    """A context manager; `url` is where it listens.

    `replayed`: the turn follows from how many answers the request already holds, so that several sessions can
    play the same script.
    """

    def __init__(self, script: Script, *, replayed: bool = False) -> None:
        parts = script if isinstance(script, Mapping) else {MAIN: script}
        self.conversations = {name: Conversation(turns) for name, turns in parts.items()}
        self.overrun = 0
        self.foreign_keys = 0
        self.broken: list[str] = []
        self._replayed = replayed
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def faults(self) -> list[str]:
        """Return how the session differed from the script; each is a sentence without its full stop."""
        found = self.broken + [
            f"{len(part.turns) - len(part.requests)} turns of {name} were never asked for"
            for name, part in self.conversations.items()
            if len(part.requests) < len(part.turns)
        ]
        found += [f"{self.overrun} requests came after the last turn"] * bool(self.overrun)
        return found + [f"{self.foreign_keys} requests carried a foreign key"] * bool(self.foreign_keys)

    def answer(self, body: Body) -> dict[str, Any]:
        """Return the message that answers the request."""
        with self._lock:
            part = self.conversations[self._name_of(body)]
            position = (
                sum(item["role"] == "assistant" for item in body["messages"]) if self._replayed else len(part.requests)
            )
            part.requests.append(body)
            self.overrun += position >= len(part.turns)
        turn = part.turns[position] if position < len(part.turns) else OVERRUN
        try:
            return _message(turn(body) if callable(turn) else turn)
        except Exception as error:  # noqa: BLE001 - here it would only break the connection; it is the test's to see
            self.broken.append(f"turn {position} of the script broke: {error!r}")
            return _message(self.broken[-1])

    def _name_of(self, body: Body) -> str:
        prompt = next((item["content"] for item in body["messages"] if item["role"] == "user"), "")
        text = flatten(body.get("system")) + flatten(prompt)
        return next((name for name in self.conversations if name != MAIN and name in text), MAIN)


def _message(answer: Answer) -> dict[str, Any]:
    # In a session that goes on, the client drops a tool's result whose id it has seen before.
    identity = uuid4().hex
    if isinstance(answer, Use):
        block = {"type": "tool_use", "id": f"toolu_{identity}", "name": answer.tool, "input": dict(answer.input)}
    else:
        block = {"type": "text", "text": answer}
    return {
        "id": f"msg_{identity}",
        "type": "message",
        "role": "assistant",
        "model": "scripted",
        "content": [block],
        "stop_reason": "tool_use" if isinstance(answer, Use) else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }


def _events(message: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the stream that the Messages API sends for one finished message."""
    (block,) = message["content"]
    if block["type"] == "text":
        start, delta = block | {"text": ""}, {"type": "text_delta", "text": block["text"]}
    else:
        start = block | {"input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
    end = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield "message_start", {"message": {**message, "content": [], "stop_reason": None}}
    yield "content_block_start", {"index": 0, "content_block": start}
    yield "content_block_delta", {"index": 0, "delta": delta}
    yield "content_block_stop", {"index": 0}
    yield "message_delta", {"delta": end, "usage": message["usage"]}
    yield "message_stop", {}


def _handler(api: ScriptedApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
            """Say nothing: the test reads the requests."""

        def do_HEAD(self) -> None:
            self.send_response(200)
            self.end_headers()

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.headers["x-api-key"] != DUMMY_KEY or "authorization" in self.headers:
                api.foreign_keys += 1
                self._send(401, {"type": "error", "error": {"type": "authentication_error", "message": "foreign key"}})
            elif self.path.startswith("/v1/messages/count_tokens"):
                self._send(200, {"input_tokens": len(json.dumps(body)) // 4})  # about four characters a token
            elif body.get("stream"):
                self._stream(api.answer(body))
            else:
                self._send(200, api.answer(body))

        def _send(self, status: int, value: Mapping[str, Any]) -> None:
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _stream(self, message: Mapping[str, Any]) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()  # HTTP/1.0: the end of the connection ends the body
            for name, value in _events(message):
                self.wfile.write(f"event: {name}\ndata: {json.dumps({'type': name, **value})}\n\n".encode())

    return Handler
