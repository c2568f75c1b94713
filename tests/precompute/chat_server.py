"""A real HTTP server that speaks the chat completions protocol and fails on command.

Each POST consumes the next of `script`, the last of which serves all further ones. An entry is called
with the question and gives an `Answer`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    """What goes over the wire. `cut` bytes are withheld from the end; `hang` withholds everything."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int = 0
    hang: bool = False


def completion(content: str | None, usage: tuple[int, int] | None = (1000, 500)) -> Answer:
    body: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "served",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}],
    }
    if usage is not None:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return Answer(body=json.dumps(body).encode())


def texts(*items: str) -> Answer:
    return completion(json.dumps(items))


def failure(status: int, message: str = "failed", code: str | None = None, **headers: str) -> Answer:
    body = {"error": {"message": message, "type": "error", "code": code}}
    return Answer(status, json.dumps(body).encode(), {name.replace("_", "-"): v for name, v in headers.items()})


class ChatServer:
    """`url` is the API's base; `requests` are the parsed bodies received, `keys` the Authorization headers."""

    def __init__(self) -> None:
        self.script: list[Callable[[str], Answer]] = []
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.over = threading.Event()
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"

    def answers(self, *answers: Answer | Callable[[str], Answer]) -> None:
        self.script = [answer if callable(answer) else (lambda _, a=answer: a) for answer in answers]

    def answer(self, request: dict[str, Any], key: str) -> Answer:
        with self._lock:
            self.requests.append(request)
            self.keys.append(key)
            step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return step(request["messages"][-1]["content"])

    @contextmanager
    def running(self) -> Iterator[ChatServer]:
        thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self.over.set()
            self._http.shutdown()
            self._http.server_close()
            thread.join()


def _handler(server: ChatServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = server.answer(request, self.headers.get("Authorization", ""))
            if self.path != "/v1/chat/completions":
                answer = failure(404, f"no such path {self.path}")
            if answer.hang:
                server.over.wait()
                self.close_connection = True
                return
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer.body)))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body[: len(answer.body) - answer.cut])
            self.close_connection = answer.cut > 0

        def log_message(self, *args: object) -> None:
            """Quiet: pytest shows what failed."""

    return Handler
