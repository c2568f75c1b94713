"""A small stand-in for a Pushgateway, for what a real one cannot be made to do and where there is none."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from prometheus_client.parser import text_string_to_metric_families


class StandIn(HTTPServer):
    """What a Pushgateway does with PUT and GET /metrics, and no more; `answers` are statuses for the next PUTs."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.groups: dict[str, bytes] = {}
        self.answers: list[int] = []
        self.seen: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def text(self) -> str:
        lines = []
        for path, body in self.groups.items():
            parts = path.split("/")[2:]
            group = [f'{k}="{v}"' for k, v in zip(parts[::2], parts[1::2], strict=True)] + ['instance=""']
            for family in text_string_to_metric_families(body.decode()):
                for s in family.samples:
                    labels = ",".join([f'{k}="{v}"' for k, v in s.labels.items()] + group)
                    lines.append(f"{s.name}{{{labels}}} {s.value!r}\n")
        return "".join(lines)


class _Handler(BaseHTTPRequestHandler):
    server: StandIn

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append(f"{self.path} {self.headers.get('Authorization', '')}".strip())
        status = self.server.answers.pop(0) if self.server.answers else 200
        if status == 200:
            self.server.groups[self.path] = body
        self._answer(status, b"")

    def do_GET(self) -> None:
        self._answer(200, self.server.text().encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def serving() -> Iterator[StandIn]:
    """One that answers while the block lasts."""
    server = StandIn()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
