"""Whether the controller works: /healthz for the liveness probe, /readyz for readiness.

A controller can seem healthy while its watches hang and its requests succeed. The Lease that it
renews every few seconds serves as a signal: a watch must echo it. Liveness fails when the
echo has been missing for `DEAF` although renewals succeed, or when the event loop, in which all watches
run, has been blocked for as long. An unavailable API server fails nothing: a restart would not help.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from kubernetes import client, watch

from captionless.controller.lease import NAME, Lease

PORT = 8080
DEAF = 60.0


class Health:
    """What the probes report. `beat` and `echo` are called by what they monitor."""

    def __init__(self, lease: Lease, clock: Callable[[], float] = time.monotonic):
        self.lease, self.clock = lease, clock
        self.synced = False
        self._beat: float | None = None
        self._echo: float | None = None

    def beat(self) -> None:
        """The event loop is alive."""
        self._beat = self.clock()

    def echo(self) -> None:
        """The watch has reported the Lease."""
        self._echo = self.clock()

    def trouble(self) -> str:
        """Why the process should be restarted; empty when it should not."""
        now = self.clock()
        if self._beat is not None and now - self._beat > DEAF:
            return f"the event loop has been blocked for {now - self._beat:.0f} s"
        renewing = now - self.lease.renewed < DEAF / 2
        if renewing and self._echo is not None and now - self._echo > DEAF:
            return f"the watch has not echoed the Lease for {now - self._echo:.0f} s"
        return ""

    def unready(self) -> str:
        """Why it is not ready; empty when it is."""
        if not self.lease.held:
            return "not holding the Lease"
        return "" if self.synced else "initial listing not finished"


def listen(health: Health, api: client.CoordinationV1Api, namespace: str, stop: threading.Event) -> None:
    """Watches the Lease and reports it to `health`, until stopped."""
    health.echo()
    while not stop.is_set():
        stream = watch.Watch()
        try:
            for _ in stream.stream(
                api.list_namespaced_lease,
                namespace,
                field_selector=f"metadata.name={NAME}",
                timeout_seconds=300,
                _request_timeout=(5, DEAF),
            ):
                health.echo()
                if stop.is_set():
                    return
        except Exception:  # whatever it is, only retrying helps, and the echo is missing meanwhile
            stop.wait(1.0)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


def serve(health: Health, port: int = PORT) -> ThreadingHTTPServer:
    """Answers the probes in the background. OSError when the port is taken."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path not in ("/healthz", "/readyz"):
                self.send_error(404)
                return
            wrong = health.trouble() if self.path == "/healthz" else health.unready()
            body = (wrong or "ok").encode()
            self.send_response(503 if wrong else 200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass  # no log line per probe

    server = _Server(("", port), Handler)
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server
