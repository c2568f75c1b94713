"""Progress read from pods' /metrics, served by the very module that serves it in a pod."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from captionless.controller import scrape as scraping
from captionless.controller.scrape import parse, reporting_pods, scrape
from captionless.kube.observed_state import ObservedState, Pod
from captionless.telemetry import server as metrics_server
from tests.controller.seen import NOW, alignment, pod, workload

TRAIN = "train-avg-seed0"


@pytest.fixture
def text(tmp_path: Path) -> str:
    """What a pod serves."""
    state = {"title": "train", "unit": "step", "total": 1000, "done": 630, "rate": 2.0, "advanced": 1.7e9}
    state["info"] = {"loss": 0.5, "round": 2}
    path = tmp_path / "progress.json"
    path.write_text(json.dumps(state))
    registry = CollectorRegistry()
    registry.register(metrics_server._Progress("train-avg-seed0", str(path)))
    return generate_latest(registry).decode()


@pytest.fixture
def served(text: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The bodies that a server on this machine answers with, at the port of the pods' metrics."""
    bodies = [text]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = bodies[-1].encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(scraping, "METRICS_PORT", server.server_address[1])
    yield bodies
    server.shutdown()


def test_what_a_pod_serves_is_understood(text: str) -> None:
    found = parse(text, NOW)
    assert found is not None
    assert (found.done, found.total, found.unit) == (630, 1000, "step")
    assert found.advanced == datetime.fromtimestamp(1.7e9, UTC)


def test_a_pod_without_progress_has_no_reading() -> None:
    assert parse("# HELP up x\n# TYPE up gauge\nup 1\n", NOW) is None
    for other in ("<html>not metrics</html>", progress("10", "1", "1") + 'x{a="b", ="d"} 1'):
        with pytest.raises(ValueError):
            parse(other, NOW)


def test_pods_are_asked_and_those_that_do_not_answer_are_told_apart(served: list[str]) -> None:
    here, away = pod(ip="127.0.0.1"), pod(index=1, ip="127.0.0.2")
    found = scrape([here, away])
    assert (set(found.readings), found.silent, found.asked) == ({here.uid}, {away.uid}, {here.uid, away.uid})
    served.append("# HELP up x\n# TYPE up gauge\nup 1\n")
    found = scrape([here])
    assert (dict(found.readings), found.silent) == ({}, frozenset())
    served.append("garbage{")
    found = scrape([here])
    assert (dict(found.readings), found.silent) == ({}, {here.uid})
    served.append("x" * (scraping._LONGEST + 1))
    assert scrape([here]).silent == {here.uid}
    assert scrape([]).asked == frozenset()


def _trickle(before: bytes) -> tuple[socket.socket, threading.Thread]:
    """A server that says something, then a byte at a time, for ever."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listening.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(before)
            while True:
                connection.sendall(b"#")
                time.sleep(0.05)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return listening, thread


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 200 OK\r\nX-", b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"])
def test_an_answer_that_trickles_in_ends(monkeypatch: pytest.MonkeyPatch, before: bytes) -> None:
    listening, thread = _trickle(before)
    monkeypatch.setattr(scraping, "METRICS_PORT", listening.getsockname()[1])
    monkeypatch.setattr(scraping, "_TIMEOUT", aiohttp.ClientTimeout(total=0.5))
    with listening:
        here = pod(ip="127.0.0.1")
        assert scrape([here]).silent == {here.uid}
        thread.join(60)
        assert not thread.is_alive(), "the connection is closed"


def progress(total: str, done: str, advanced: str) -> str:
    """What a pod may serve, whatever it has done."""
    units = {"captionless_stage_units": total, "captionless_stage_units_done": done}
    times = {"captionless_stage_last_advance_timestamp_seconds": advanced}
    return "".join(f'# TYPE {k} gauge\n{k}{{unit="step"}} {v}\n' for k, v in (units | times).items())


@pytest.mark.parametrize(
    ("total", "done"), [("10", "+Inf"), ("10", "NaN"), ("10", "1e300"), ("10", "-5"), ("+Inf", "1")]
)
def test_no_number_of_a_pod_stops_the_round(served: list[str], total: str, done: str) -> None:
    """An infinite one once did, every five seconds, for all runs."""
    served.append(progress(total, done, "1"))
    here = pod(ip="127.0.0.1")
    found = scrape([here])
    assert (dict(found.readings), found.silent) == ({}, {here.uid})


@pytest.mark.parametrize(("advanced", "at"), [("1e300", NOW), ("+Inf", NOW), ("9e9", NOW), ("NaN", None), ("-1", None)])
def test_a_pods_clock_is_not_believed_to_be_ahead(advanced: str, at: datetime | None) -> None:
    found = parse(progress("10", "1", advanced), NOW)
    assert found is not None
    assert found.advanced == at


def observed(*pods: Pod) -> ObservedState:
    return ObservedState(alignment(), (workload(), workload(TRAIN)), pods)


@pytest.mark.parametrize(
    ("found", "asked"),
    [
        (pod(ip="10.0.0.1"), True),
        (pod(index=1, ip="10.0.0.1"), True),
        (pod(TRAIN, ip="10.0.0.1"), True),
        (pod(TRAIN, 1, ip="10.0.0.1"), False),
        (pod(ip=""), False),
        (pod(ip="10.0.0.1", started=None), False),
        (pod(ip="10.0.0.1", phase="Succeeded"), False),
        (pod(ip="10.0.0.1", attempt=2), False),
    ],
    ids=["shard-0", "shard-1", "node-0", "node-1", "no-address", "not-started", "succeeded", "stale-attempt"],
)
def test_who_is_asked(found: Pod, asked: bool) -> None:
    assert bool(reporting_pods(observed(found))) is asked
