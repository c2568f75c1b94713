"""`captionless controller`: the process that keeps the Alignments of a cluster.

    main thread     kopf's event loop: watches -> cache, work queue
    workers         reconcile Alignments from the work queue
    rounds          progress, stand-still, listings, by the clock
    lease           renews the Lease; without it none of the others begins
    listener        the watch that must echo the Lease
    servers         /healthz and /readyz, /metrics

All state is in the cluster; the process may be killed at any time.
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

from kubernetes import client, config
from prometheus_client import CollectorRegistry, disable_created_metrics, start_http_server

from captionless import __version__
from captionless.controller import handlers, health, metrics
from captionless.controller.cache import Cache
from captionless.controller.cluster import ApiCluster, Cluster, Conflict, NotFound, Refused, Unavailable
from captionless.controller.jobs import Operator
from captionless.controller.lease import Lease
from captionless.controller.observe import Key
from captionless.controller.reconcile import NameTaken, Reconciler
from captionless.controller.rounds import Rounds
from captionless.controller.workqueue import WorkQueue
from captionless.errors import Retryable, SpecError

log = logging.getLogger(__name__)

Given = TypeVar("Given")
Server = TypeVar("Server")

WORKERS = 4
KINDS = ("Job", "Pod", "Alignment")
"""Listed in this order, so that an Alignment is known only when its Jobs are."""


@dataclass(frozen=True)
class Settings:
    """From the environment, as the chart sets it."""

    image: str
    image_pull_policy: str = "IfNotPresent"
    pushgateway: str = ""
    namespaces: tuple[str, ...] = ()
    namespace: str = "default"
    identity: str = ""
    log_level: str = "INFO"
    health_port: int = health.PORT
    metrics_port: int = metrics.PORT

    @classmethod
    def read(cls) -> Settings:
        """SpecError when something needed is missing or wrong."""
        get = os.environ.get
        image = get("CAPTIONLESS_IMAGE", "")
        if not image:
            raise SpecError("CAPTIONLESS_IMAGE is not set; expected the image that the stages run in")
        level = get("CAPTIONLESS_LOG_LEVEL", "INFO").upper()
        if level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
            raise SpecError(f"CAPTIONLESS_LOG_LEVEL: {level!r} is not one of DEBUG, INFO, WARNING, ERROR")
        names = get("CAPTIONLESS_WATCH_NAMESPACES", "").split(",")
        return cls(
            image=image,
            image_pull_policy=get("CAPTIONLESS_IMAGE_PULL_POLICY") or "IfNotPresent",
            pushgateway=get("CAPTIONLESS_PUSHGATEWAY", ""),
            namespaces=tuple(n.strip() for n in names if n.strip()),
            namespace=get("POD_NAMESPACE") or "default",
            identity=get("POD_NAME") or f"{socket.gethostname()}-{os.getpid()}",
            log_level=level,
            health_port=_port("CAPTIONLESS_HEALTH_PORT", health.PORT),
            metrics_port=_port("CAPTIONLESS_CONTROLLER_METRICS_PORT", metrics.PORT),
        )


def _port(name: str, default: int) -> int:
    text = os.environ.get(name) or str(default)
    if not text.isdigit() or int(text) > 65535:
        raise SpecError(f"{name}: {text!r} is not a port")
    return int(text)


def operate(settings: Settings) -> None:
    """Runs until SIGTERM. SpecError without access to a cluster, Retryable without the CRD."""
    logging.getLogger("captionless").setLevel(settings.log_level)
    logging.getLogger("kopf").setLevel("WARNING" if settings.log_level == "INFO" else settings.log_level)
    api = _connect()
    quick = ApiCluster(api, timeout=(2.0, 3.0), tries=1)
    lease = Lease(quick, settings.namespace, settings.identity)
    watched = health.Health(lease)
    server = _served(health.serve, watched, settings.health_port)
    stop = threading.Event()
    try:
        lease.acquire()
        _work(settings, ApiCluster(api, settings.namespaces, lease.check), lease, watched, stop, api)
    finally:
        stop.set()
        lease.release()
        server.shutdown()


def _work(
    settings: Settings,
    cluster: Cluster,
    lease: Lease,
    watched: health.Health,
    stop: threading.Event,
    api: client.ApiClient,
) -> None:
    cache, queue = Cache(), WorkQueue[Key]()
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    counted = metrics.Metrics(registry)
    counted.queue.set_function(lambda: len(queue))
    counted.leading.set_function(lambda: float(lease.held))
    registry.register(metrics.AlignmentCollector(cache))
    _served(lambda r, port: start_http_server(port, registry=r), registry, settings.metrics_port)
    kinds = _kinds(cluster)
    operator = Operator(settings.image, settings.image_pull_policy, settings.pushgateway)
    reconciler = Reconciler(cluster, cache, operator, settings.identity, kinds)
    rounds = Rounds(cluster, cache, queue, kinds, settings.namespaces, settings.pushgateway)
    rounds.list_all()
    for key in cache.alignments():
        queue.add(key)
    watched.synced = True
    where = ", ".join(settings.namespaces) or "all namespaces"
    log.info("watching %s; %d Alignments", where, len(cache.alignments()))
    coordination = client.CoordinationV1Api(api)
    threads = [
        *(
            threading.Thread(target=_worker, args=(reconciler, queue, counted), name=f"worker-{i}")
            for i in range(WORKERS)
        ),
        threading.Thread(target=rounds.run, args=(stop.wait,), name="rounds"),
    ]
    threading.Thread(
        target=health.listen, args=(watched, coordination, settings.namespace, stop), name="listener", daemon=True
    ).start()
    for thread in threads:
        thread.start()
    try:
        asyncio.run(handlers.watch(cache, queue, kinds, settings.namespaces, watched.beat))
    finally:
        stop.set()
        queue.stop()
        for thread in threads:
            thread.join()
    log.info("stopped")


def _worker(reconciler: Reconciler, queue: WorkQueue[Key], counted: metrics.Metrics) -> None:
    while (key := queue.get()) is not None:
        began = time.monotonic()
        error: Exception | None = None
        try:
            reconciler.reconcile(key)
        except (Conflict, Unavailable, Refused, NameTaken) as found:
            error = found
            log.log(logging.DEBUG if isinstance(found, Conflict) else logging.WARNING, "%s/%s: %s", *key, found)
        except Exception as found:
            error = found
            log.exception("%s/%s: reconciling it failed; the others go on", *key)
        counted.seconds.observe(time.monotonic() - began)
        if error is not None:
            counted.errors.labels(type(error).__name__).inc()
        queue.done(key, failed=error is not None)


def _served(serve: Callable[[Given, int], Server], given: Given, port: int) -> Server:
    """Starts a server; Retryable when it cannot listen."""
    try:
        return serve(given, port)
    except OSError as error:
        raise Retryable(f"port {port}: {error.strerror or error}") from None


def _kinds(cluster: Cluster) -> tuple[str, ...]:
    """What there is to watch. JobSets only where they are installed and may be read."""
    try:
        next(cluster.list("Alignment"), None)
    except NotFound:
        raise Retryable("there is no kind Alignment; expected the CRD alignments.captionless.dev") from None
    try:
        next(cluster.list("JobSet"), None)
    except (NotFound, Refused):
        return KINDS
    return ("JobSet", *KINDS)


def _connect() -> client.ApiClient:
    """The cluster that the process is in, or the one of KUBECONFIG."""
    try:
        try:
            config.load_incluster_config()
        except config.ConfigException:
            config.load_kube_config()
    except (config.ConfigException, OSError) as error:
        raise SpecError(f"no cluster: {error}; expected to run in a pod, or KUBECONFIG") from None
    given = client.Configuration.get_default_copy()
    given.connection_pool_maxsize = 2 * WORKERS
    given.retries = False
    api = client.ApiClient(given)
    api.user_agent = f"captionless-controller/{__version__}"
    return api
