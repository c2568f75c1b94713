"""Work that is cut into parts, of which every core takes one after the other, with torch on one thread in each.

Cores that share an operation wait for one another at its end, and each reads what another has just written; a core that
has a part to itself keeps a block of it in its cache from one operation to the next. Parts are cut by the work and not
by the number of cores, and results come in order, so that sums over them don't depend on either.
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

_PARTS = 8  # enough that cores which are not equally fast end at about the same time
_WORTH = 1 << 16  # elements that a part has at least: less is done before another core has begun

_CPU = torch.device("cpu")


class Cores:
    """A thread for each of those that torch has in the caller; see `cores`."""

    def __init__(self, pool: ThreadPoolExecutor | None) -> None:
        self._pool = pool

    def map(self, work: Callable[[S], T], parts: Iterable[S]) -> Iterator[T]:
        """`work` of every part, in their order; what it returns is let go of as the next one is taken.

        Without gradients, as they are off by thread.
        """
        work = torch.no_grad()(work)
        return map(work, parts) if self._pool is None else self._pool.map(work, parts)


@contextlib.contextmanager
def cores(device: torch.device = _CPU) -> Iterator[Cores]:
    """The cores, while in the caller too torch uses one thread. Work must release the GIL to gain by it.

    Work for another device than the CPU is done in the caller: there the device shares it out.
    """
    count = torch.get_num_threads()
    if count == 1 or device.type != "cpu":
        yield Cores(None)
        return
    torch.set_num_threads(1)  # which threads that start now inherit
    try:
        with thread_pool(count) as pool:
            yield Cores(pool)
    finally:
        torch.set_num_threads(count)


def parts(count: int, elements: int) -> list[slice]:
    """`count` things in order, cut into a few slices of about equal size; the fewer, the less there is to do.

    elements: of all things together, each a few operations.
    """
    number = max(1, min(_PARTS, elements // _WORTH))
    cuts = sorted({count * i // number for i in range(number + 1)})
    return [slice(*cut) for cut in pairwise(cuts)]


def in_parts(work: Callable[[slice], object], count: int, elements: int) -> None:
    """Do `work` on `parts` of so many things, as `cores` do it."""
    with cores() as each:
        for _ in each.map(work, parts(count, elements)):
            pass
