"""The controller's calls and errors, against an HTTP server that answers as an API server does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from kubernetes import client

from captionless.kube.api import ONCE, RETRIES, KubernetesApi
from captionless.kube.api_errors import (
    ApiError,
    Conflict,
    Forbidden,
    NoSuchKind,
    NotFound,
    Refused,
    Unauthorized,
    Unavailable,
)
from captionless.runtime.retry import Backoff

Answer = tuple[int, dict[str, Any]]
AT_ONCE = Backoff(first=0, longest=0, attempts=4)


class Server:
    """Answers in the given order, the last one for ever; remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: list[Answer] = [(200, {})]
        self.asked: list[tuple[str, str, str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _handle(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(size)) if size else None
                outer.asked.append((self.command, self.path, self.headers.get("Content-Type", ""), body))
                code, reported = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                text = json.dumps(reported).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                pass

        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            setattr(Handler, f"do_{method}", Handler._handle)
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def cluster(self, *namespaces: str, **options: Any) -> KubernetesApi:
        configuration = client.Configuration()
        configuration.host = f"http://127.0.0.1:{self.http.server_address[1]}"
        configuration.retries = False
        return KubernetesApi(client.ApiClient(configuration), namespaces, **{"backoff": AT_ONCE, **options})


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.http.shutdown()


def status(code: int, reason: str, message: str = "words") -> Answer:
    details = {"name": "x", "kind": "jobs"}
    body = {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": code}
    return code, {**body, "details": details}


JOB: dict[str, Any] = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x", "namespace": "lab"}}
CONFIG: dict[str, Any] = {**JOB, "apiVersion": "v1", "kind": "ConfigMap", "immutable": True, "data": {"spec.yaml": "a"}}


@pytest.mark.parametrize(
    ("manifest", "path"),
    [
        (JOB, "/apis/batch/v1/namespaces/lab/jobs"),
        (CONFIG, "/api/v1/namespaces/lab/configmaps"),
        ({**JOB, "kind": "JobSet"}, "/apis/jobset.x-k8s.io/v1alpha2/namespaces/lab/jobsets"),
        ({**JOB, "kind": "Event"}, "/apis/events.k8s.io/v1/namespaces/lab/events"),
        (
            {**JOB, "apiVersion": "v1", "kind": "Service", "spec": {"clusterIP": "None"}},
            "/api/v1/namespaces/lab/services",
        ),
    ],
    ids=["Job", "ConfigMap", "JobSet", "Event", "Service"],
)
def test_create_sends_the_object_as_it_is_and_strictly(server: Server, manifest: dict[str, Any], path: str) -> None:
    server.answers = [(201, {**manifest, "metadata": {**manifest["metadata"], "uid": "1"}})]
    made = server.cluster().create(manifest)
    assert made is not None
    assert (made["kind"], made["metadata"]["uid"]) == (manifest["kind"], "1")
    method, asked, _, body = server.asked[0]
    assert (method, asked) == ("POST", f"{path}?fieldValidation=Strict")
    assert body == manifest


def test_an_object_that_is_there_already_is_none(server: Server) -> None:
    server.answers = [status(409, "AlreadyExists")]
    assert server.cluster().create(JOB) is None
    assert server.cluster().create(CONFIG) is None


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (status(403, "Forbidden", "exceeded quota"), Forbidden),
        (status(422, "Invalid"), Refused),
        (status(400, "BadRequest"), Refused),
        (status(409, "Conflict"), Conflict),
        (status(401, "Unauthorized"), Unauthorized),
        (status(404, "NotFound"), NotFound),
    ],
    ids=["Forbidden", "Invalid", "BadRequest", "Conflict", "Unauthorized", "NotFound"],
)
def test_errors_say_what_to_do(server: Server, answer: Answer, error: type[ApiError]) -> None:
    server.answers = [answer]
    with pytest.raises(error) as caught:
        server.cluster().create(JOB)
    assert type(caught.value) is error
    assert (caught.value.reason, caught.value.detail) == (answer[1]["reason"], answer[1]["message"])
    assert len(server.asked) == 1, "trying again would not help"


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(server: Server, code: int) -> None:
    server.answers = [status(code, "Busy"), status(code, "Busy"), (201, JOB)]
    assert server.cluster().create(JOB) is not None
    server.answers = [status(code, "Busy")]
    with pytest.raises(Unavailable):
        server.cluster(backoff=Backoff(0, 0, attempts=2)).create(JOB)
    assert len(server.asked) == 5


def test_pauses_between_retries_are_short_and_random() -> None:
    assert (RETRIES.first, RETRIES.attempts, RETRIES.jitter) == (0.25, 4, 0.5)
    assert ONCE.attempts == 1


@pytest.mark.parametrize("method", ["get", "delete", "patch"])
def test_a_kind_that_is_not_served(server: Server, method: str) -> None:
    """There is nothing to delete or to change; whoever reads an object should know."""
    server.answers = [(404, {})]
    cluster = server.cluster()
    if method == "get":
        with pytest.raises(NoSuchKind, match="JobSet"):
            cluster.get("JobSet", "lab", "x")
    elif method == "delete":
        assert cluster.delete("JobSet", "lab", "x") is None
    else:
        assert cluster.patch("JobSet", "lab", "x", {}) is None


def test_a_server_that_is_away_is_named() -> None:
    configuration = client.Configuration()
    configuration.host, configuration.retries = "http://127.0.0.1:1", False
    with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:1"):
        KubernetesApi(client.ApiClient(configuration), backoff=ONCE).get("Job", "lab", "x")


@pytest.mark.parametrize("kind", ["Job", "ConfigMap"])
def test_get(server: Server, kind: str) -> None:
    server.answers = [(200, {"metadata": {"name": "x"}}), status(404, "NotFound")]
    assert server.cluster().get(kind, "lab", "x") == {"kind": kind, "metadata": {"name": "x"}}
    assert server.cluster().get(kind, "lab", "x") is None


def test_delete_waits_for_the_dependents_and_means_one_uid(server: Server) -> None:
    server.answers = [(200, {**JOB, "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})]
    gone = server.cluster().delete("Job", "lab", "x", "uid-1", wait=True)
    assert gone is not None
    method, path, _, body = server.asked[0]
    assert (method, path) == ("DELETE", "/apis/batch/v1/namespaces/lab/jobs/x")
    assert (body["propagationPolicy"], body["preconditions"]) == ("Foreground", {"uid": "uid-1"})
    server.answers = [(200, {"kind": "Status", "status": "Success"})]
    assert server.cluster().delete("ConfigMap", "lab", "x") == {"kind": "Status", "status": "Success"}
    assert server.asked[-1][3]["propagationPolicy"] == "Background"
    server.answers = [status(404, "NotFound")]
    assert server.cluster().delete("Job", "lab", "x") is None


def test_the_status_is_patched_onto_the_version_it_was_made_from(server: Server) -> None:
    server.answers = [(200, {"kind": "Alignment"})]
    server.cluster().patch_status("lab", "x", "7", {"stage": "pack", "top1": None})
    method, path, content, body = server.asked[0]
    assert method == "PATCH"
    assert path == "/apis/captionless.dev/v1alpha1/namespaces/lab/alignments/x/status?fieldValidation=Strict"
    assert content == "application/merge-patch+json"
    assert body == {"metadata": {"resourceVersion": "7"}, "status": {"stage": "pack", "top1": None}}


def test_lists_are_read_page_by_page_from_every_namespace(server: Server) -> None:
    page = {"apiVersion": "batch/v1", "metadata": {"continue": "more"}, "items": [{"metadata": {"name": "a"}}]}
    last = {"apiVersion": "batch/v1", "metadata": {}, "items": [{"metadata": {"name": "b"}}]}
    server.answers = [(200, page), (200, last), (200, last)]
    found = list(server.cluster("one", "two").list("Job"))
    assert [f["metadata"]["name"] for f in found] == ["a", "b", "b"]
    assert {f["kind"] for f in found} == {"Job"}
    paths = [a[1] for a in server.asked]
    assert "/namespaces/one/jobs" in paths[0]
    assert "labelSelector=app.kubernetes.io" in paths[0]
    assert "continue=more" in paths[1]
    assert "/namespaces/two/jobs" in paths[2]
    list(server.cluster().list("Pod"))
    assert server.asked[-1][1].startswith("/api/v1/pods?")


def test_every_request_asks_the_guard_first(server: Server) -> None:
    class Lost(Exception):
        pass

    def guard() -> None:
        raise Lost

    with pytest.raises(Lost):
        server.cluster(guard=guard).create(JOB)
    assert not server.asked
