"""Matrix products shared out over the cores, a core each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from threadpoolctl import threadpool_info, threadpool_limits

from captionless.lifeline import threads


@contextlib.contextmanager
def one_core_each() -> Iterator[ThreadPoolExecutor]:
    """A pool with a thread for every core that BLAS would use, in each of which BLAS uses that core only.

    Cores that share one product wait for one another at its end; cores that have a tile each never do. Every task
    writes its own part of the result, or what it returns is put together in order, so that the result does not depend
    on their number.
    """
    cores = max((found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"), default=1)
    with threadpool_limits(1, user_api="blas"), threads(cores) as pool:
        yield pool
