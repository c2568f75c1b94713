"""Progress read from pods' /metrics, served by the very module that serves it in a pod."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

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
    with pytest.raises(ValueError):
        parse("<html>not metrics</html>", NOW)


def test_pods_are_asked_and_those_that_do_not_answer_left_out(served: list[str]) -> None:
    here, away = pod(ip="127.0.0.1"), pod(index=1, ip="127.0.0.2")
    with ThreadPoolExecutor(2) as pool:
        assert set(scrape([here, away], pool)) == {here.uid}
        served.append("garbage{")
        assert scrape([here], pool) == {}


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
