"""Batches made ahead of the steps that need them, in threads, so that neither storage nor augmentation holds up a step.

A batch is a pure function of its step, so reading ahead is asking early. What reads runs for several steps at a time,
as it waits for storage; what computes runs in one thread, for one step after the other, with as many cores as a step
itself would take for it, and is compiled code without the interpreter's lock for the most part.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Generic, Self, TypeVar

AHEAD = 2
"""Batches that are prefetched while one is used. This bounds the memory, and the number of concurrent requests."""

_Read = TypeVar("_Read")
_Made = TypeVar("_Made")


class ReadAhead(Generic[_Read, _Made]):
    """`make(read(step))` of every step below `end`, as a context manager that leaves no thread behind.

    Steps may be taken in any order; in sequence they are ready sooner. What `read` or `make` raises, taking raises.
    """

    def __init__(
        self, read: Callable[[int], _Read], make: Callable[[_Read], _Made], end: int, ahead: int = AHEAD
    ) -> None:
        self._read, self._make, self._end, self._ahead = read, make, end, ahead
        self._readers = ThreadPoolExecutor(ahead + 1, thread_name_prefix="read")
        self._maker = ThreadPoolExecutor(1, thread_name_prefix="make")
        self._coming: dict[int, Future[_Made]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Waits for the threads; after an exception it does not, as one may be at a storage that is away."""
        self.drop()
        for pool in (self._readers, self._maker):
            pool.shutdown(wait=kind is None, cancel_futures=True)

    def take(self, step: int) -> _Made:
        """What is made for a step, once; waits until it is."""
        made = self._begun(step)
        del self._coming[step]
        return made.result()

    def is_late(self, step: int) -> bool:
        """Whether taking a step would have to wait; it is begun at the latest now."""
        return step < self._end and not self._begun(step).done()

    def wait(self, step: int) -> None:
        """Until taking a step would not wait."""
        if step < self._end:
            wait([self._begun(step)])

    @property
    def ready(self) -> int:
        """How many could be taken without waiting."""
        return sum(made.done() for made in self._coming.values())

    def drop(self) -> None:
        """Forget what is under way: what batches are made from has changed."""
        for made in self._coming.values():
            made.cancel()
        self._coming.clear()

    def _begun(self, step: int) -> Future[_Made]:
        """The step's, with those of the next steps behind it; any others are dropped."""
        wanted = range(step, max(step + 1, min(step + 1 + self._ahead, self._end)))
        for other in set(self._coming).difference(wanted):
            self._coming.pop(other).cancel()
        for each in wanted:
            if each not in self._coming:
                self._coming[each] = self._begin(each)
        return self._coming[step]

    def _begin(self, step: int) -> Future[_Made]:
        read = self._readers.submit(self._read, step)
        return self._maker.submit(lambda: self._make(read.result()))
