"""Thread pools: for storage requests, and with BLAS on one core per thread."""

from __future__ import annotations

import contextlib
import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import ThreadpoolController

from captionless.runtime.signals import Stopped

S = TypeVar("S")
T = TypeVar("T")


@contextlib.contextmanager
def one_core_each() -> Iterator[ThreadPoolExecutor]:
    """A pool with a thread for every core that BLAS would use; in each of them BLAS uses one core only.

    Cores that share one product wait for one another at its end; cores that have a tile each never do. Every task
    writes its own part of the result, or what it returns is put together in order, so that the result does not depend
    on their number.
    """
    blas = _blas()
    cores = max((found["num_threads"] for found in blas.info()), default=1)
    with blas.limit(limits=1), thread_pool(cores) as pool:
        yield pool


@functools.cache
def _blas() -> ThreadpoolController:
    """numpy's BLAS, found once: for it all libraries of the process are looked at, which takes milliseconds."""
    import numpy  # noqa: F401 (so that it is loaded)

    return ThreadpoolController().select(user_api="blas")


@contextlib.contextmanager
def thread_pool(count: int) -> Iterator[ThreadPoolExecutor]:
    """A pool that is joined at the end, but not by a process that was stopped: a thread may be waiting for storage that
    does not answer, and is left to end with the process."""
    pool, wait = ThreadPoolExecutor(count), True
    try:
        yield pool
    except Stopped:
        wait = False
        raise
    finally:
        pool.shutdown(wait, cancel_futures=not wait)


def map_ahead(pool: ThreadPoolExecutor, work: Callable[[S], T], items: Iterable[S], ahead: int) -> Iterator[T]:
    """`work` of every item, in order; up to `ahead` more are done, being done or waiting while one is taken.

    Items are taken in the caller's thread. What has not begun when the caller ends is not done.
    """
    waiting: deque[Future[T]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
