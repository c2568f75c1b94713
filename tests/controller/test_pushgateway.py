"""The sweep, against what answers as a Pushgateway does (its API, v1)."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest

from captionless.controller.pushgateway import sweep

Groups = list[dict[str, str]]
LOGIN = "Basic " + base64.b64encode(b"ann:s/cret").decode()


@pytest.fixture
def gateway() -> Iterator[tuple[str, Groups]]:
    found: Groups = [
        {"job": "captionless", "namespace": "lab", "alignment": "old"},
        {"job": "captionless", "namespace": "lab", "alignment": "alive"},
        {"job": "captionless", "namespace": "other", "alignment": "old"},
        {"job": "captionless", "alignment": "by-hand"},
        {"job": "backup", "namespace": "lab", "alignment": "old"},
    ]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Authorization") != LOGIN:
                self._answer(401, "")
                return
            self._answer(200, json.dumps({"status": "success", "data": [{"labels": g} for g in found]}))

        def do_DELETE(self) -> None:
            parts = [unquote(p) for p in self.path.split("/")[2:]]
            labels = dict(zip(parts[::2], parts[1::2], strict=True))
            found[:] = [g for g in found if g != labels]
            self._answer(202, "")

        def _answer(self, code: int, text: str) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://ann:s%2Fcret@127.0.0.1:{server.server_address[1]}/", found
    server.shutdown()


def test_figures_of_runs_that_are_gone_go(gateway: tuple[str, Groups]) -> None:
    url, found = gateway
    assert sweep(url, {("lab", "alive")}, ("lab",)) == 1
    assert [(g.get("namespace"), g["alignment"]) for g in found] == [
        ("lab", "alive"),
        ("other", "old"),
        (None, "by-hand"),
        ("lab", "old"),
    ]
    assert sweep(url, {("lab", "alive")}, ()) == 1, "all namespaces"


def test_a_gateway_that_refuses_is_reported_without_its_password(
    gateway: tuple[str, Groups], caplog: pytest.LogCaptureFixture
) -> None:
    assert sweep(gateway[0].replace("s%2Fcret", "another"), set(), ()) == 0
    assert "status 401" in caplog.text
    assert "another" not in caplog.text


def test_a_gateway_that_is_away_is_reported_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    assert sweep("http://127.0.0.1:1", set(), ()) == 0
    assert "Pushgateway" in caplog.text
