"""Several watches, and a timer, in one loop.

Each watch blocks in a separate thread until something changes; the loop receives the changes in order.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from captionless.kube.api import KubernetesApi, Object

    Snapshots = Iterator[dict[str, Object]]

_JOIN = 5.0


class WatchFeed:
    """Iterates over (name, snapshot) of every source as they arrive; a source's error is raised in the loop.

    Yields None when nothing arrived for `tick` seconds. A context manager: leaving it stops the API's watches.
    """

    def __init__(self, api: KubernetesApi, sources: Mapping[str, Snapshots], tick: float):
        self._api, self._tick = api, tick
        self._queue: queue.SimpleQueue[tuple[str, dict[str, Object]] | BaseException] = queue.SimpleQueue()
        self._sources, self._threads = sources, list[threading.Thread]()

    def __enter__(self) -> Self:
        for name, source in self._sources.items():
            self.thread(self._pump, name, source)
        return self

    def thread(self, target: Callable[..., None], *given: Any) -> threading.Thread:
        """Starts a thread that must end when the API's watches are stopped; its error is raised in the loop."""

        def guarded() -> None:
            try:
                target(*given)
            except BaseException as error:
                self._queue.put(error)

        made = threading.Thread(target=guarded, daemon=True)
        self._threads.append(made)
        made.start()
        return made

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._api.stop()
        for thread in self._threads:
            thread.join(_JOIN)

    def __iter__(self) -> Iterator[tuple[str, dict[str, Object]] | None]:
        while True:
            try:
                found = self._queue.get(timeout=self._tick)
            except queue.Empty:
                yield None
                continue
            if isinstance(found, BaseException):
                raise found
            yield found

    def _pump(self, name: str, source: Snapshots) -> None:
        for snapshot in source:
            self._queue.put((name, snapshot))
