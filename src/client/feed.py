"""Several watches, and the clock, in one loop.

Each watch blocks in a thread of its own until something changes; the loop gets what came, in order. Threads
are daemons: a command that has seen enough simply ends.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


class Feed(Generic[T]):
    """Iterates over (name, value) of every source as they come; a source's error is raised in the loop.

    With `tick`, None comes when there was nothing for so many seconds. Ends when all sources have ended.
    """

    def __init__(self, sources: Mapping[str, Iterator[T]], tick: float | None = None):
        self._queue: queue.SimpleQueue[tuple[str, T] | BaseException | None] = queue.SimpleQueue()
        self._tick, self._open = tick, len(sources)
        for name, source in sources.items():
            threading.Thread(target=self._pump, args=(name, source), daemon=True).start()

    def __iter__(self) -> Iterator[tuple[str, T] | None]:
        while self._open:
            try:
                found = self._queue.get(timeout=self._tick)
            except queue.Empty:
                yield None
                continue
            if isinstance(found, BaseException):
                raise found
            if found is None:
                self._open -= 1
            else:
                yield found

    def _pump(self, name: str, source: Iterator[T]) -> None:
        try:
            for value in source:
                self._queue.put((name, value))
        except BaseException as error:
            self._queue.put(error)
        else:
            self._queue.put(None)
