"""Periodic work, in one background thread.

Every `TICK`: the progress of running stages is read from their pods, and their Alignments are reconciled again,
since no event announces a stall. Every `LISTING`: everything is listed, since
a watch can miss a deletion. The Pushgateway is swept with each listing and after an Alignment was deleted.
A namespace that may not be listed any more, since it or our role in it was deleted, is tried again each time; what was
in it is forgotten after a while.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from captionless.controller import pushgateway
from captionless.controller.cache import Cache
from captionless.controller.policies import ttl
from captionless.controller.policies.terminating_namespace import suspected
from captionless.controller.reconcile import now
from captionless.controller.scrape import reporting_pods, scrape
from captionless.controller.stage_status import SETTLING
from captionless.controller.workqueue import WorkQueue
from captionless.errors import CaptionlessError
from captionless.kube.api import Api
from captionless.kube.api_errors import Refused
from captionless.kube.observed_state import Key, ObservedState

log = logging.getLogger(__name__)

TICK = 5.0
LISTING = 300.0
_FORGOTTEN = 3 * LISTING


class Resync:
    """The periodic work. `kinds` are those to list."""

    def __init__(
        self,
        api: Api,
        cache: Cache,
        queue: WorkQueue[Key],
        kinds: tuple[str, ...],
        namespaces: tuple[str, ...] = (),
        gateway: str = "",
    ):
        self.api, self.cache, self.queue, self.kinds = api, cache, queue, kinds
        self.namespaces, self.gateway = namespaces, gateway
        self._known: set[Key] = set()
        self._closed: dict[str, float] = {}
        """Namespaces that may not be listed, and since when."""

    def run(self, stop: Callable[[float], bool]) -> None:
        """Runs until `stop(seconds)`, which waits, returns true."""
        listed = time.monotonic()
        while True:
            try:
                self.tick()
                if time.monotonic() - listed > LISTING:
                    listed = time.monotonic()
                    self.list_all()
                    self.sweep()
            except CaptionlessError as error:
                log.warning("%s", error)
            except Exception:
                log.exception("resync failed; the next one is in %.0f s", TICK)
            if stop(TICK):
                return

    def tick(self) -> None:
        """Reads progress, and queues every Alignment that may change by time alone."""
        running: list[ObservedState] = []
        alive = self.cache.alignments()
        if self._known.difference(alive):
            self.sweep()
        self._known = set(alive)
        for key in alive:
            seen = self.cache.observed(key)
            if seen is None:
                continue
            if may_change(seen):
                running.append(seen)
            elif (at := ttl.due(seen.alignment)) is not None and now() >= at:
                self.queue.add(key)
        answers = scrape(p for seen in running for p in reporting_pods(seen))
        for pod, reading in answers.readings.items():
            self.cache.read(pod, reading)
        self.cache.heard(answers.asked, answers.silent, now())
        for seen in running:
            self.queue.add(seen.alignment.key)
        for seen in running:
            if suspected(seen, now()) and self.api.namespace_terminating(seen.alignment.namespace):
                self.cache.mark_namespace_terminating(seen.alignment.uid)

    def list_all(self) -> None:
        """Replaces the cache by a full listing. ApiError if no namespace may be listed."""
        for namespace in self.namespaces or ("",):
            try:
                self._list(namespace)
            except Refused as error:
                since = self._closed.setdefault(namespace, time.monotonic())
                if len(self._closed) == len(self.namespaces or ("",)):
                    raise
                log.warning("the namespace %s cannot be listed: %s; it is tried again", namespace, error)
                if time.monotonic() - since > _FORGOTTEN:
                    self._forget(namespace)
            else:
                self._closed.pop(namespace, None)

    def _list(self, namespace: str) -> None:
        for kind in self.kinds:
            since = time.monotonic()
            for key in self.cache.replace(kind, self.api.list(kind, namespace=namespace), since, namespace):
                self.queue.add(key)

    def _forget(self, namespace: str) -> None:
        for kind in self.kinds:
            for key in self.cache.replace(kind, (), time.monotonic(), namespace):
                self.queue.add(key)

    def sweep(self) -> None:
        """Deletes the metrics of deleted Alignments from the Pushgateway."""
        if self.gateway:
            pushgateway.sweep(self.gateway, set(self.cache.alignments()), self.namespaces)


def may_change(seen: ObservedState) -> bool:
    """Whether a run may change by time alone: something runs, or its end has not been recorded."""
    if seen.alignment.status.get("completionTime") or seen.alignment.deleting:
        return False
    fresh = now() - 2 * SETTLING
    return (
        any(not w.suspended for w in seen.workloads if not w.finished)
        or any(w.ended is not None and w.ended > fresh for w in seen.workloads)
        or any(not p.finished for p in seen.pods)
    )
