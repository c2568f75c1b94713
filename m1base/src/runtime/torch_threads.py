"""Work that is cut into slices, of which every core takes one after the other, with torch on one thread in each.

Cores that share an operation wait for one another at its end, and each reads what another has just written; a core that
has a slice to itself keeps a block of it in its cache from one operation to the next. Slices depend on the work and not
on the number of cores, and results come in order, so that sums over them depend on neither.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

import torch

from captionless.runtime.thread_pools import thread_pool

S = TypeVar("S")
T = TypeVar("T")

_SLICES = 8  # enough that cores which are not equally fast end at about the same time
_MIN_ELEMENTS = 1 << 16  # of a slice: less work is done before another core has begun

_CPU = torch.device("cpu")


class TorchPool:
    """A thread for each of those that torch has in the caller; see `torch_pool`."""

    def __init__(self, pool: ThreadPoolExecutor | None) -> None:
        self._pool = pool

    def map(self, work: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
        """`work` of every item, in order; each result is released when the next one is taken.

        Without gradients, since that setting is per thread.
        """
        work = torch.no_grad()(work)
        return map(work, items) if self._pool is None else self._pool.map(work, items)


@contextlib.contextmanager
def torch_pool(device: torch.device = _CPU) -> Iterator[TorchPool]:
    """A pool with all cores; meanwhile torch uses one thread in the caller too. Only work that releases the GIL gains.

    Work for another device than the CPU runs in the caller: the device itself is parallel.
    """
    count = torch.get_num_threads()
    if count == 1 or device.type != "cpu":
        yield TorchPool(None)
        return
    torch.set_num_threads(1)  # which threads that start now inherit
    try:
        with thread_pool(count) as pool:
            yield TorchPool(pool)
    finally:
        torch.set_num_threads(count)


@contextlib.contextmanager
def shared_cores(most: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of up to `most` threads, which share the cores that torch has in the caller: one each, where they suffice.

    For work that is torch's in the main and holds no lock of Python's meanwhile. Its results must not depend on how
    many cores a thread has.
    """
    count = torch.get_num_threads()
    workers = max(1, min(count, most))
    torch.set_num_threads(count // workers)  # which threads that start now inherit
    try:
        with thread_pool(workers) as pool:
            yield pool
    finally:
        torch.set_num_threads(count)


def slices(count: int, elements: int) -> list[slice]:
    """`count` things in order, cut into a few slices of about equal size; the fewer, the less there is to do.

    elements: of all things together, each a few operations.
    """
    number = max(1, min(_SLICES, elements // _MIN_ELEMENTS))
    cuts = sorted({count * i // number for i in range(number + 1)})
    return [slice(*cut) for cut in pairwise(cuts)]


def map_slices(work: Callable[[slice], object], count: int, elements: int) -> None:
    """Do `work` on the `slices` of so many things, in a `torch_pool`."""
    with torch_pool() as pool:
        for _ in pool.map(work, slices(count, elements)):
            pass
