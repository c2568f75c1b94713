"""`captionless controller`: the process that reconciles the Alignments of a cluster.

    main thread     waits for SIGTERM
    watcher         kopf's event loop: watches -> cache, work queue
    workers         reconcile Alignments from the work queue
    resync          periodic: progress, stalls, full listings
    lease           renews the Lease; without it none of the others starts
    listener        the watch that must echo the Lease
    servers         /healthz and /readyz, /metrics

All state is in the cluster, so the process may be killed at any time. On SIGTERM it waits only for
the workers' requests in progress, releases the Lease and exits: kopf's own shutdown, which may take minutes, is
not waited for.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from kubernetes import client
from prometheus_client import CollectorRegistry, disable_created_metrics, start_http_server

from captionless import __version__
from captionless.controller import handlers, health, metrics
from captionless.controller import lease as leases
from captionless.controller.cache import Cache
from captionless.controller.lease import Lease
from captionless.controller.reconcile import NameTaken, Reconciler
from captionless.controller.resync import Resync
from captionless.controller.workqueue import WorkQueue
from captionless.errors import Retryable, SpecError, one_line
from captionless.kube.api import ONCE, Api, KubernetesApi
from captionless.kube.api_errors import ApiError, Conflict, NoSuchKind, NotFound, Refused, Unavailable
from captionless.kube.connection import controller_client
from captionless.kube.jobs import Operator
from captionless.kube.observed_state import Key
from captionless.runtime import env, signals

log = logging.getLogger(__name__)

Given = TypeVar("Given")
Server = TypeVar("Server")

WORKERS = 4
STOPPING = 10.0
"""Seconds to wait for requests in progress."""
KINDS = ("Job", "Pod", "Alignment")
"""Listed in this order, so that an Alignment's Jobs are known before it is."""


@dataclass(frozen=True)
class Settings:
    """From the environment, as the chart sets it."""

    image: str
    image_pull_policy: str = "IfNotPresent"
    pushgateway: str = ""
    allow_pod_patches: bool = False
    namespaces: tuple[str, ...] = ()
    namespace: str = "default"
    identity: str = ""
    log_level: str = "INFO"
    lease_seconds: int = int(leases.DURATION)
    health_port: int = health.PORT
    metrics_port: int = metrics.PORT

    @classmethod
    def read(cls) -> Settings:
        """SpecError when something needed is missing or wrong."""
        get = os.environ.get
        image = get("CAPTIONLESS_IMAGE", "")
        if not image:
            raise SpecError("CAPTIONLESS_IMAGE is not set; expected the image of the stages")
        level = get("CAPTIONLESS_LOG_LEVEL", "INFO").upper()
        if level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
            raise SpecError(f"CAPTIONLESS_LOG_LEVEL: {level!r} is not one of DEBUG, INFO, WARNING, ERROR")
        names = get("CAPTIONLESS_WATCH_NAMESPACES", "").split(",")
        return cls(
            image=image,
            image_pull_policy=get("CAPTIONLESS_IMAGE_PULL_POLICY") or "IfNotPresent",
            pushgateway=get(env.PUSHGATEWAY, ""),
            allow_pod_patches=_switch("CAPTIONLESS_ALLOW_POD_PATCHES"),
            namespaces=tuple(n.strip() for n in names if n.strip()),
            namespace=get(env.NAMESPACE) or "default",
            identity=get("POD_NAME") or f"{socket.gethostname()}-{os.getpid()}",
            log_level=level,
            lease_seconds=_seconds("CAPTIONLESS_LEASE_SECONDS", int(leases.DURATION)),
            health_port=_port("CAPTIONLESS_HEALTH_PORT", health.PORT),
            metrics_port=_port("CAPTIONLESS_CONTROLLER_METRICS_PORT", metrics.PORT),
        )


def _switch(name: str) -> bool:
    text = os.environ.get(name) or "false"
    if text not in ("true", "false"):
        raise SpecError(f"{name}: {text!r} is not one of true, false")
    return text == "true"


def _seconds(name: str, default: int) -> int:
    text = os.environ.get(name) or str(default)
    if not text.isdigit() or not 10 <= int(text) <= 120:
        raise SpecError(f"{name}: {text!r}: expected whole seconds from 10 to 120")
    return int(text)


def _port(name: str, default: int) -> int:
    text = os.environ.get(name) or str(default)
    if not text.isdigit() or int(text) > 65535:
        raise SpecError(f"{name}: {text!r} is not a port number (0 to 65535)")
    return int(text)


def run_manager(settings: Settings) -> None:
    """Runs until SIGTERM. SpecError without access to a cluster, Retryable without the CRD."""
    logging.getLogger("captionless").setLevel(settings.log_level)
    logging.getLogger("kopf").setLevel("WARNING" if settings.log_level == "INFO" else settings.log_level)
    logging.getLogger("kopf._core.reactor.running").setLevel("ERROR")  # it warns of not being in the main thread
    connection = controller_client(f"captionless-controller/{__version__}", connections=2 * WORKERS)
    quick = KubernetesApi(connection, timeout=leases.call_timeout(settings.lease_seconds), backoff=ONCE)
    lease = Lease(quick, settings.namespace, settings.identity, duration=settings.lease_seconds)
    controller = Controller(settings, KubernetesApi(connection, settings.namespaces, lease.check), lease)
    try:
        _served(health.serve, controller.health, settings.health_port)
        lease.acquire()
        controller.start(client.CoordinationV1Api(connection))
        controller.wait()
    except ApiError as error:  # permissions may be granted, and the API server come back, before the next start
        raise Retryable(str(error)) from None
    except signals.Stopped:
        signals.ignore_signals()
        log.info("stopping")
    finally:
        if controller.stop():
            lease.release()


class Controller:
    """The threads, and what they share. All are daemons: the process does not wait for any of them."""

    def __init__(self, settings: Settings, api: Api, lease: Lease):
        self.settings, self.api, self.lease = settings, api, lease
        self.health = health.Health(lease)
        self.cache, self.queue = Cache(), WorkQueue[Key]()
        self.ended, self.error = threading.Event(), ""
        self.workers: list[threading.Thread] = []

    def start(self, coordination: client.CoordinationV1Api) -> None:
        """Reads the cluster, then starts to act."""
        settings, lease = self.settings, self.lease
        counted = self._metrics()
        kinds = _kinds(self.api, settings.namespaces)
        operator = Operator(
            settings.image,
            settings.image_pull_policy,
            settings.pushgateway,
            allow_pod_patches=settings.allow_pod_patches,
        )
        reconciler = Reconciler(self.api, self.cache, operator, settings.identity, kinds)
        resync = Resync(self.api, self.cache, self.queue, kinds, settings.namespaces, settings.pushgateway)
        resync.list_all()
        for key in self.cache.alignments():
            self.queue.add(key)
        self.health.synced = True
        where = ", ".join(settings.namespaces) or "all namespaces"
        log.info("watching %s; %d Alignments", where, len(self.cache.alignments()))
        self.workers = [_thread(_worker, reconciler, self.queue, counted) for _ in range(WORKERS)]
        _thread(resync.run, self.ended.wait)
        _thread(health.listen, self.health, coordination, lease.namespace, self.ended)
        _thread(self._watch, kinds)

    def wait(self) -> None:
        """Never returns but raises: Stopped on SIGTERM, Retryable when the watches have ended."""
        self.ended.wait()
        raise Retryable(f"the watches have ended: {self.error or 'no reason given'}")

    def stop(self) -> bool:
        """Stops the workers; true if none acts any more, so that another controller may."""
        self.ended.set()
        self.queue.stop()
        deadline = time.monotonic() + STOPPING
        for thread in self.workers:
            thread.join(max(deadline - time.monotonic(), 0.0))
        return not any(t.is_alive() for t in self.workers)

    def _watch(self, kinds: tuple[str, ...]) -> None:
        try:
            asyncio.run(handlers.watch(self.cache, self.queue, kinds, self.settings.namespaces, self.health.beat))
        except Exception as error:
            log.exception("watching failed")
            self.error = one_line(error)
        finally:
            self.ended.set()

    def _metrics(self) -> metrics.Metrics:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        counted = metrics.Metrics(registry)
        counted.queue.set_function(lambda: len(self.queue))
        counted.leading.set_function(lambda: float(self.lease.held))
        registry.register(metrics.AlignmentCollector(self.cache))
        _served(lambda r, port: start_http_server(port, registry=r), registry, self.settings.metrics_port)
        return counted


def _thread(target: Callable[..., object], *given: object) -> threading.Thread:
    thread = threading.Thread(target=target, args=given, daemon=True)
    thread.start()
    return thread


def _worker(reconciler: Reconciler, queue: WorkQueue[Key], counted: metrics.Metrics) -> None:
    while (key := queue.get()) is not None:
        began = time.monotonic()
        error: Exception | None = None
        try:
            reconciler.reconcile(key)
        except (ApiError, NameTaken) as found:
            error = found
            words = found.detail if isinstance(found, ApiError) else found
            log.log(logging.DEBUG if isinstance(found, Conflict) else logging.WARNING, "%s/%s: %s", *key, words)
        except Exception as found:
            error = found
            log.exception("%s/%s: reconcile failed; it is retried", *key)
        counted.seconds.observe(time.monotonic() - began)
        if error is not None:
            family = next((f for f in (Conflict, Unavailable, Refused) if isinstance(error, f)), type(error))
            counted.errors.labels(family.__name__).inc()
        queue.done(key, failed=error is not None)


def _served(serve: Callable[[Given, int], Server], given: Given, port: int) -> Server:
    """Starts a server; Retryable when it cannot listen."""
    try:
        return serve(given, port)
    except OSError as error:
        raise Retryable(f"port {port}: {error.strerror or error}") from None


def _kinds(api: Api, namespaces: tuple[str, ...]) -> tuple[str, ...]:
    """The kinds to watch. JobSets only if they are installed and may be read."""
    if isinstance(_refusal(api, "Alignment", namespaces), NotFound | NoSuchKind):
        raise Retryable("the kind Alignment is not served; install the CRD alignments.captionless.dev")
    return KINDS if _refusal(api, "JobSet", namespaces) else ("JobSet", *KINDS)


def _refusal(api: Api, kind: str, namespaces: tuple[str, ...]) -> Refused | None:
    """Why a kind may not be listed in any of the namespaces."""
    last: Refused | None = None
    for namespace in namespaces or ("",):
        try:
            next(api.list(kind, namespace=namespace), None)
        except Refused as error:
            last = error
        else:
            return None
    return last
