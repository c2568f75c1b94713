"""An API server of our own, small but over HTTP: objects, selectors, watches, logs, and refusals on demand.

What it answers was taken from a real one (1.34): statuses, reasons and words of errors, the events of
a watch. `tests/cluster/test_client.py` says whether a real one still agrees.
"""

from __future__ import annotations

import json
import re
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from tests import pace

Object = dict[str, Any]

_PATH = re.compile(
    r"/apis?/(?:(?P<group>[^/]+\.[^/]+|batch)/)?v1(?:alpha1)?/namespaces/(?P<namespace>[^/]+)/(?P<plural>\w+)"
    r"(?:/(?P<name>[^/]+))?(?P<log>/log)?$"
)
_KINDS = {"alignments": "Alignment", "jobs": "Job", "pods": "Pod"}


@dataclass
class Log:
    """A container's log: lines with their times, and whether the container still writes."""

    lines: list[str] = field(default_factory=list)
    open: bool = False


class Server:
    """Objects by plural and name of namespace `lab`, changed by tests through `put` and `remove`."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.objects: dict[str, dict[str, Object]] = {p: {} for p in _KINDS}
        self.events: list[tuple[int, str, str, Object]] = []
        self.logs: dict[str, Log] = {}
        self.requests: list[tuple[str, str, Any]] = []
        self.refusals: dict[tuple[str, str], tuple[int, Any]] = {}
        """(method, plural) -> status and body of what is answered instead."""
        self.watched: set[str] = set()
        """The plurals, and the pods' logs, that somebody has begun to follow."""
        self.installed = True
        self.version = 100
        self.expired = 0
        """Watches from an older version are answered with 410."""
        self.broken_logs = 0
        """So many logs break off after their first line."""

    def put(self, found: Object) -> Object:
        """Creates or replaces an object, as a controller or the kubelet would."""
        plural = next(p for p, k in _KINDS.items() if k == found["kind"])
        with self.changed:
            self.version += 1
            before = self.objects[plural].get(found["metadata"]["name"], {"metadata": {}})["metadata"]
            uid = before.get("uid", f"uid-{self.version}")
            metadata = {"namespace": "lab", "uid": uid, "generation": 1, **found["metadata"]}
            found = {**found, "metadata": {**metadata, "resourceVersion": str(self.version)}}
            kind = "MODIFIED" if metadata["name"] in self.objects[plural] else "ADDED"
            self.objects[plural][metadata["name"]] = found
            self.events.append((self.version, plural, kind, found))
            self.changed.notify_all()
        return found

    def remove(self, plural: str, name: str) -> Object:
        with self.changed:
            found = self.objects[plural].pop(name)
            self.version += 1
            gone = {**found, "metadata": {**found["metadata"], "resourceVersion": str(self.version)}}
            self.events.append((self.version, plural, "DELETED", gone))
            self.changed.notify_all()
        return found

    def say(self, pod: str, *lines: str, end: bool = False) -> None:
        """Adds lines to a pod's log."""
        with self.changed:
            log = self.logs.setdefault(pod, Log())
            for line in lines:
                log.lines.append(f"2026-11-21T10:00:{len(log.lines):02d}.000000000Z {line}")
            log.open = not end
            self.changed.notify_all()

    def await_watch(self, what: str) -> None:
        """Until somebody follows objects, or a pod's log: what happens from now on is seen as a change."""
        with self.changed:
            assert self.changed.wait_for(lambda: what in self.watched, pace.seconds(20)), f"nobody follows {what}"

    def sent(self, method: str) -> list[tuple[str, Any]]:
        """Path and body of every request of a method."""
        return [(p, b) for m, p, b in self.requests if m == method]


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A running server; `folder`/kubeconfig leads to it, with a token."""
    server = Server()
    handler = type("Handler", (_Handler,), {"server_": server})
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    kubeconfig(folder, f"http://127.0.0.1:{http.server_address[1]}")
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()


def kubeconfig(folder: Path, url: str) -> Path:
    """A kubeconfig with the contexts `here` (namespace lab, the current one) and `bare`."""
    path = folder / "kubeconfig"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": "a-secret-token"}}],
        "contexts": [
            {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "lab"}},
            {"name": "bare", "context": {"cluster": "c", "user": "u"}},
        ],
    }
    path.write_text(yaml.safe_dump(document))
    return path


def status(code: int, reason: str, message: str, **details: Any) -> Object:
    """A metav1.Status that tells an error."""
    return {
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message,
        "details": details or {"kind": "alignments"},
    }  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_: Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  as the base class calls it
        pass

    def do_GET(self) -> None:
        self._handle("GET")

    def do_POST(self) -> None:
        self._handle("POST")

    def do_PATCH(self) -> None:
        self._handle("PATCH")

    def do_DELETE(self) -> None:
        self._handle("DELETE")

    def _handle(self, method: str) -> None:
        server, address = self.server_, urllib.parse.urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        server.requests.append((method, self.path, body))
        query = dict(urllib.parse.parse_qsl(address.query))
        match = _PATH.match(address.path)
        assert match, address.path
        plural, name = match["plural"], match["name"]
        if (method, plural) in server.refusals:
            self._answer(*server.refusals[method, plural])
        elif plural == "alignments" and not server.installed:
            self._answer(404, "404 page not found\n")
        elif match["log"]:
            self._log(name, query)
        elif method == "POST":
            self._create(plural, body, query)
        elif name is not None and name not in server.objects[plural]:
            missing = f'{plural} "{name}" not found'
            self._answer(404, status(404, "NotFound", missing, name=name, kind=plural))
        elif method == "PATCH":
            self._patch(plural, name, body, query)
        elif method == "DELETE":
            self._answer(200, server.remove(plural, name))
        elif name is not None:
            self._answer(200, server.objects[plural][name])
        elif query.get("watch") in ("true", "True"):
            self._watch(plural, query)
        else:
            with server.changed:
                items = [o for o in server.objects[plural].values() if _selected(o, query)]
                version = str(server.version)
            self._answer(200, {"kind": "List", "metadata": {"resourceVersion": version}, "items": items})

    def _create(self, plural: str, body: Object, query: dict[str, str]) -> None:
        name = body["metadata"]["name"]
        assert query["fieldValidation"] == "Strict"
        if name in self.server_.objects[plural]:
            self._answer(409, status(409, "AlreadyExists", f'{plural} "{name}" already exists'))
        elif query.get("dryRun") == "All":
            self._answer(201, body)
        else:
            self._answer(201, self.server_.put({**body, "kind": _KINDS[plural]}))

    def _patch(self, plural: str, name: str, body: Object, query: dict[str, str]) -> None:
        assert self.headers["Content-Type"] == "application/merge-patch+json"
        found = self.server_.objects[plural][name]
        wanted = (body.get("metadata") or {}).pop("resourceVersion", found["metadata"]["resourceVersion"])
        if wanted != found["metadata"]["resourceVersion"]:
            self._answer(409, status(409, "Conflict", "the object has been modified"))
        elif query.get("dryRun") == "All":
            self._answer(200, _merged(found, body))
        else:
            self._answer(200, self.server_.put(_merged(found, body)))

    def _watch(self, plural: str, query: dict[str, str]) -> None:
        server, after = self.server_, int(query["resourceVersion"])
        self._begin()
        self._followed(plural)
        if after < server.expired:
            self._chunk({"type": "ERROR", "object": status(410, "Expired", "too old resource version")})
            self._end()
            return
        # The server's own limit ends a watch; a test is over long before.
        while True:
            with server.changed:
                news = [e for e in server.events if e[0] > after and e[1] == plural and _selected(e[3], query)]
                if not news:
                    server.changed.wait(0.2)
            for version, _, kind, found in news:
                if not self._chunk({"type": kind, "object": found}):
                    return
                after = version

    def _log(self, pod: str, query: dict[str, str]) -> None:
        server = self.server_
        assert query["container"] == "worker"
        assert query["timestamps"] in ("true", "True")
        if pod not in server.logs:
            reported = f'container "worker" in pod "{pod}" is waiting to start: ContainerCreating'
            self._answer(400, status(400, "BadRequest", reported))
            return
        log = server.logs[pod]
        sent = max(0, len(log.lines) - int(query["tailLines"])) if "tailLines" in query else 0
        self._followed(pod)
        self._begin()
        while True:
            with server.changed:
                lines = log.lines[sent:]
                over = not log.open or query.get("follow") not in ("true", "True")
                if not lines and not over:
                    server.changed.wait(0.2)
            for line in lines:
                if not self._chunk(f"{line}\n"):
                    return
                if server.broken_logs:
                    server.broken_logs -= 1
                    self.close_connection = True
                    self.connection.close()
                    return
            sent += len(lines)
            if over:
                self._end()
                return

    def _followed(self, what: str) -> None:
        with self.server_.changed:
            self.server_.watched.add(what)
            self.server_.changed.notify_all()

    def _answer(self, code: int, body: Any) -> None:
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/plain" if isinstance(body, str) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _begin(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _chunk(self, found: Any) -> bool:
        """Whether there was still somebody to take it."""
        data = found.encode() if isinstance(found, str) else json.dumps(found).encode() + b"\n"
        try:
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        except OSError:
            return False
        return True

    def _end(self) -> None:
        self.wfile.write(b"0\r\n\r\n")


def _selected(found: Object, query: dict[str, str]) -> bool:
    labels = found["metadata"].get("labels") or {}
    wanted = dict(p.split("=") for p in query.get("labelSelector", "").split(",") if p)
    name = query.get("fieldSelector", "").removeprefix("metadata.name=")
    return all(labels.get(k) == v for k, v in wanted.items()) and name in ("", found["metadata"]["name"])


def _merged(before: Any, patch: Any) -> Any:
    if not (isinstance(before, dict) and isinstance(patch, dict)):
        return patch
    found = {**before, **{k: _merged(before.get(k), v) for k, v in patch.items()}}
    return {k: v for k, v in found.items() if v is not None}
