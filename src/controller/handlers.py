"""The watches, by kopf: every event goes into the cache, and its Alignment into the work queue.

kopf handles the watches: reconnecting, dead connections, expired credentials. None of its other features
is used. Its state-keeping handlers would write annotations and finalizers into the objects, and its
timers run per object; `on.event` does neither. Decisions are made elsewhere (`reconcile`), so a handler
never calls the API server and the event loop never blocks.

Where namespaces are given, each has watches of its own: when one is deleted, or is closed to us, only these fail, and
begin again until they succeed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import kopf

from captionless.controller.cache import Cache
from captionless.controller.workqueue import WorkQueue
from captionless.errors import one_line
from captionless.kube.api import MANAGED
from captionless.kube.jobs.jobset import API_VERSION as JOBSET_VERSION
from captionless.kube.jobs.operator import VERSION
from captionless.kube.observed_state import Key

log = logging.getLogger(__name__)

AGAIN = 10.0
"""Seconds until the failed watches of a namespace begin again."""
_PAGE = 500
"""Objects of a list that are in memory at a time."""

_GROUP, _VERSION = VERSION.split("/")
_JOBSET_GROUP, _JOBSET_VERSION = JOBSET_VERSION.split("/")
WATCHED: dict[str, tuple[str, str, str]] = {
    "Alignment": (_GROUP, _VERSION, "alignments"),
    "Job": ("batch", "v1", "jobs"),
    "Pod": ("", "v1", "pods"),
    "JobSet": (_JOBSET_GROUP, _JOBSET_VERSION, "jobsets"),
}


def registry(cache: Cache, queue: WorkQueue[Key], kinds: tuple[str, ...]) -> kopf.OperatorRegistry:
    """The handlers for some kinds of `WATCHED`."""
    found = kopf.OperatorRegistry()
    for kind in kinds:
        group, version, plural = WATCHED[kind]

        async def handle(event: Any, kind: str = kind, **_: Any) -> None:
            handle_event(cache, queue, event["type"], {**event["object"], "kind": kind})

        kopf.on.event(group, version, plural, id=f"see-{plural}", registry=found)(handle)
    kopf.on.login(registry=found)(_login)
    return found


def _login(**options: Any) -> Any:
    """As the official client logs in; called again when the server rejects the credentials."""
    return kopf.login_via_client(**options)


def handle_event(cache: Cache, queue: WorkQueue[Key], what: str | None, found: dict[str, Any]) -> None:
    """Handles an event of a watch. Only changes that may affect a decision are queued."""
    key = cache.drop(found) if what == "DELETED" else cache.put(found)
    if key is not None:
        queue.add(key)


def settings(kinds: tuple[str, ...]) -> kopf.OperatorSettings:
    """kopf without peering, posting and scanning; of Jobs and pods only those that we manage."""
    found = kopf.OperatorSettings()
    found.posting.enabled = False
    found.scanning.disabled = True
    found.watching.chunk_size = _PAGE
    found.networking.request_timeout = 60
    found.networking.connect_timeout = 10
    for kind in kinds:
        if kind != "Alignment":
            found.watching.label_selectors[WATCHED[kind]] = MANAGED
    return found


async def watch(
    cache: Cache,
    queue: WorkQueue[Key],
    kinds: tuple[str, ...],
    namespaces: tuple[str, ...],
    beat: Callable[[], None],
) -> None:
    """Watches forever. `beat` is called every second while the event loop is alive."""
    pulse = asyncio.create_task(_pulse(beat))

    def operator(namespace: str = "") -> Coroutine[None, None, None]:
        return kopf.operator(
            registry=registry(cache, queue, kinds),
            settings=settings(kinds),
            standalone=True,
            clusterwide=not namespace,
            namespaces=[namespace] if namespace else [],
        )

    try:
        if namespaces:
            await asyncio.gather(*(_again_and_again(operator, each) for each in namespaces))
        else:
            await operator()
    finally:
        pulse.cancel()


async def _again_and_again(operator: Callable[[str], Coroutine[None, None, None]], namespace: str) -> None:
    while True:
        why = "no reason given"
        try:
            await operator(namespace)
        except Exception as error:
            why = one_line(error)
        log.warning(
            "the watches of the namespace %s have ended (%s); they begin again in %.0f s", namespace, why, AGAIN
        )
        await asyncio.sleep(AGAIN)


async def _pulse(beat: Callable[[], None]) -> None:
    while True:
        beat()
        await asyncio.sleep(1.0)
