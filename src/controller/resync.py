"""What is done by the clock, in one background thread.

Every `TICK`: the progress of what is at work is read from its pods, and its Alignments are looked at again,
since standing still is an event that nobody sends. Every `LISTING`: everything is listed, since
a watch can miss a deletion. The Pushgateway is swept with each listing and after an Alignment has gone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from captionless.controller import pushgateway
from captionless.controller.cache import Cache
from captionless.controller.policies import ttl
from captionless.controller.policies.ending_namespace import suspected
from captionless.controller.reconcile import now
from captionless.controller.scrape import scrape, tellers
from captionless.controller.stage_status import SETTLING
from captionless.controller.workqueue import WorkQueue
from captionless.errors import CaptionlessError
from captionless.kube.api import Api
from captionless.kube.observed_state import Key, ObservedState

log = logging.getLogger(__name__)

TICK = 5.0
LISTING = 300.0
_AT_ONCE = 16


class Resync:
    """The background work. `kinds` are those to list."""

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

    def run(self, stop: Callable[[float], bool]) -> None:
        """Goes round until `stop(seconds)`, which waits, says so."""
        listed = time.monotonic()
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="scrape") as pool:
            while True:
                try:
                    self.tick(pool)
                    if time.monotonic() - listed > LISTING:
                        listed = time.monotonic()
                        self.list_all()
                        self.sweep()
                except CaptionlessError as error:
                    log.warning("%s", error)
                except Exception:
                    log.exception("a round failed; the next one is in %.0f s", TICK)
                if stop(TICK):
                    return

    def tick(self, pool: ThreadPoolExecutor) -> None:
        """Reads progress, and has everything looked at that may change by time alone."""
        at_work: list[ObservedState] = []
        alive = self.cache.alignments()
        if self._known.difference(alive):
            self.sweep()
        self._known = set(alive)
        for key in alive:
            seen = self.cache.observed(key)
            if seen is None:
                continue
            if working(seen):
                at_work.append(seen)
            elif (at := ttl.due(seen.alignment)) is not None and now() >= at:
                self.queue.add(key)
        for pod, reading in scrape((p for seen in at_work for p in tellers(seen)), pool).items():
            self.cache.read(pod, reading)
        for seen in at_work:
            self.queue.add(seen.alignment.key)
        for seen in at_work:
            if suspected(seen, now()) and self.api.namespace_terminating(seen.alignment.namespace):
                self.cache.namespace_ends(seen.alignment.uid)

    def list_all(self) -> None:
        """Sets the cache right."""
        for kind in self.kinds:
            since = time.monotonic()
            for key in self.cache.replace(kind, self.api.list(kind), since):
                self.queue.add(key)

    def sweep(self) -> None:
        """Removes from the Pushgateway what belongs to no Alignment any more."""
        if self.gateway:
            pushgateway.sweep(self.gateway, set(self.cache.alignments()), self.namespaces)


def working(seen: ObservedState) -> bool:
    """Whether a run may change by time alone: something runs, or its last word has not been written down."""
    if seen.alignment.status.get("completionTime") or seen.alignment.deleting:
        return False
    fresh = now() - 2 * SETTLING
    return (
        any(not w.suspended for w in seen.workloads if not w.finished)
        or any(w.ended is not None and w.ended > fresh for w in seen.workloads)
        or any(not p.finished for p in seen.pods)
    )
