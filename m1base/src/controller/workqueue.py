"""The work queue: which Alignments to reconcile, and when.

A key that is added twice is handed out once; one that is being processed is handed out again only after
it is done; one that failed is retried with exponential back-off. (client-go's workqueue, in short.)
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Hashable
from typing import Generic, TypeVar

from captionless.runtime.retry import Backoff

K = TypeVar("K", bound=Hashable)

BACKOFF = Backoff(first=0.5, longest=120.0)


class WorkQueue(Generic[K]):
    """Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: dict[K, float] = {}
        self._order: list[tuple[float, int, K]] = []
        self._count = 0
        self._busy: set[K] = set()
        self._failures: dict[K, int] = {}
        self._stopped = False

    def add(self, key: K, after: float = 0.0) -> None:
        """Hands the key out in `after` seconds, or earlier if it is already due earlier."""
        at = time.monotonic() + after
        with self._changed:
            if self._due.get(key, at + 1) <= at:
                return
            self._due[key] = at
            self._count += 1
            heapq.heappush(self._order, (at, self._count, key))
            self._changed.notify()

    def get(self) -> K | None:
        """Waits for the next key and hands it out; None when the queue is stopped."""
        with self._changed:
            while not self._stopped:
                now = time.monotonic()
                kept = []
                found = None
                while self._order and self._order[0][0] <= now and found is None:
                    at, count, key = heapq.heappop(self._order)
                    if self._due.get(key) != at:
                        continue  # it was due earlier, and has been handed out
                    if key in self._busy:
                        kept.append((at, count, key))
                        continue
                    found = key
                for each in kept:
                    heapq.heappush(self._order, each)
                if found is not None:
                    del self._due[found]
                    self._busy.add(found)
                    return found
                waiting = [at for at, _, key in self._order if key not in self._busy]
                self._changed.wait(max(min(waiting) - now, 0.0) if waiting else None)
            return None

    def done(self, key: K, failed: bool = False) -> None:
        """The key may be handed out again; after its back-off if it failed."""
        with self._changed:
            self._busy.discard(key)
            count = self._failures.get(key, 0) + 1 if failed else 0
            if count:
                self._failures[key] = count
            else:
                self._failures.pop(key, None)
            self._changed.notify_all()
        if failed:
            self.add(key, BACKOFF.pause(count))

    def stop(self) -> None:
        """Ends all waiting `get` calls."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def __len__(self) -> int:
        with self._changed:
            return len(self._due)
