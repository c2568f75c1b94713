"""An S3 server on the wire (moto's) behind a proxy that fails as networks and storages do."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
import s3fs
from moto.server import ThreadedMotoServer

ACCESS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
_HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive", "server", "date"}


@dataclass
class Fault:
    """What happens to the next `times` requests for which `hits(method, path)` holds, instead of an answer.

    `status` and `code` are answered; status 0 sends the first half of the true answer and hangs up.
    """

    status: int
    code: str = ""
    times: int = 1
    hits: Callable[[str, str], bool] = lambda method, path: True


class _Proxy(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # a busy machine accepts late, and a connection that is dropped is tried again by seconds


@dataclass
class FaultyS3:
    """Listens on one port all its life; every connection carries one request."""

    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    on_request: Callable[[int], None] = lambda count: None
    """Called with the number of requests so far, before each is served."""

    def start(self) -> None:
        self._moto = ThreadedMotoServer(port=0, verbose=False)
        self._moto.start()
        self._behind = ("127.0.0.1", self._moto.get_host_and_port()[1])
        self._port = 0
        self._lock = threading.Lock()
        self.answer()

    def stop(self) -> None:
        self.refuse()
        self._moto.stop()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        return {**ACCESS, "AWS_ENDPOINT_URL": self.endpoint}

    @cached_property
    def client(self) -> Any:
        """A client of the server itself, past the proxy."""
        return boto3.client(
            "s3", endpoint_url="http://{}:{}".format(*self._behind), aws_access_key_id="test",
            aws_secret_access_key="test", region_name="us-east-1",
        )  # fmt: skip

    def answer(self) -> None:
        """Accepts connections, again on the same port."""
        self._server = _Proxy(("127.0.0.1", self._port), self._handler())
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def refuse(self) -> None:
        """Closes the port: connections are refused."""
        self._server.shutdown()
        self._server.server_close()

    def fault(self, method: str, path: str) -> Fault | None:
        with self._lock:
            self.requests.append((method, path))
            count = len(self.requests)
            found = next((f for f in self.faults if f.times > 0 and f.hits(method, path)), None)
            if found is not None:
                found.times -= 1
        self.on_request(count)
        return found

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy, behind = self, self._behind

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                self.close_connection = True
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                fault = proxy.fault(self.command, self.path)
                if fault is not None and fault.status:
                    text = f"<Error><Code>{fault.code}</Code><Message>as asked by the test</Message></Error>"
                    self._send(
                        fault.status, [("Content-Type", "application/xml")], text.encode() if fault.code else b""
                    )
                    return
                connection = http.client.HTTPConnection(*behind)
                connection.request(self.command, self.path, body, dict(self.headers))
                answer = connection.getresponse()
                content = answer.read()
                headers = [(k, v) for k, v in answer.getheaders() if k.lower() not in _HOP_BY_HOP]
                self._send(answer.status, headers, content, cut=fault is not None)
                connection.close()

            def _send(self, status: int, headers: list[tuple[str, str]], content: bytes, cut: bool = False) -> None:
                self.send_response_only(status)
                for name, value in headers:
                    self.send_header(name, value)
                if not any(name.lower() == "content-length" for name, _ in headers):
                    self.send_header("Content-Length", str(len(content)))
                self.send_header("Connection", "close")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content[: len(content) // 2] if cut else content)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        return Handler


@contextmanager
def reached_by_environment(bucket: str) -> Iterator[FaultyS3]:
    """A server with an empty bucket, which this process and its children reach as a pod does: by the environment."""
    server = FaultyS3()
    server.start()
    server.client.create_bucket(Bucket=bucket)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        yield server
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()
