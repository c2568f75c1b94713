"""The tiles of a similarity store that a process holds: mapped from a local folder, else read as memory allows.

A store that fits into `memory` is read once, tile by tile as they are needed. Of a larger one a tile that is needed is
held if there is room, or if so much of it is needed that reading its rows would take as long; tiles that were not used
for longest make room. Of all others single rows are read, as often as they are needed, and not held: a batch of random
objects needs a few of a thousand rows of a tile, and no cache smaller than the store would have them the next time.
What is read from storage is copied to the node's disk, if it has room, for all ranks and rounds.

Mapped tiles take no memory that the system could not take back; only their number is limited, as the kernel does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numba.typed import List
from numpy.typing import NDArray

from captionless.runtime.thread_pools import thread_pool
from captionless.store import objects
from captionless.store.disk_cache import DiskCache
from captionless.store.published import REQUESTS
from captionless.store.similarity_index import SimilarityIndex
from captionless.store.tiles import NO_STEPS, Span, read_rows, read_steps
from captionless.telemetry.progress import say

MOST_MAPPED = 1 << 14
"""Tiles: a quarter of what Linux lets a process map."""
_WORTH_IT = 0.25  # of a tile's bytes: if so many are needed, it is read whole
_TOGETHER = 32 << 20  # bytes of single rows that are read, and held until they are looked at


class TileCache:
    """Holds some tiles of a store.

    Attributes:
        steps: a typed list of the steps of all tiles, empty for those that are not held.
        held: (tiles,) bool, which ones are.
        rows_read: how many rows were read by themselves.
        is_mapped: whether tiles are mapped and take no memory of this process' own.
        limit: of the tiles that are held: their bytes, of mapped ones their number.
    """

    def __init__(self, index: SimilarityIndex, memory: int, disk: DiskCache | None = None) -> None:
        self._index, self._disk = index, disk
        count = len(index.bytes)
        # a typed list, so that one compiled call goes over all tiles
        self.steps = List([NO_STEPS] * max(1, count))
        self.held = np.zeros(count, dtype=bool)
        self.rows_read = 0
        self.is_mapped = objects.is_local(index.url)
        self._cost = np.ones(count, np.int64) if self.is_mapped else index.bytes
        self.limit = MOST_MAPPED if self.is_mapped else memory
        self._taken = 0
        self._last_use = np.zeros(count, np.int64)
        self._uses = 0

    @property
    def memory(self) -> int:
        """Bytes of the tiles that are held; those of mapped ones do not count."""
        return 0 if self.is_mapped else self._taken

    def load(self, touched: NDArray[np.bool_], needed: Callable[[int], int]) -> list[int]:
        """Holds the tiles that are `touched`, (tiles,), as far as there is room; the places of those that are not held.

        needed: how many bytes of the tile at a place are.
        """
        self._uses += 1
        self._last_use[touched] = self._uses
        missing = np.flatnonzero(touched & ~self.held).tolist()
        if not missing:
            return missing
        taken = [place for place in missing if self._make_room(place, needed)]
        with thread_pool(REQUESTS) as pool:
            found = pool.map(lambda place: read_steps(self._index.url, self._index.tile(place), self._disk), taken)
            for place, steps in zip(taken, found, strict=True):
                self.steps[place] = steps
                self.held[place] = True
        return [place for place in missing if not self.held[place]]

    def rows(self, wanted: Mapping[int, Sequence[Span]]) -> Iterator[tuple[int, list[NDArray[np.uint16]]]]:
        """Rows of tiles that are not held: the place of each and the steps of its spans, see `tiles.read_rows`."""
        if not self.rows_read:
            size, limit = int(self._index.bytes.sum()), self.limit
            most = f"{limit:,} mapped tiles" if self.is_mapped else f"{limit:,} bytes of memory (resources.dataMemory)"
            say(f"{self._index.url}: {size:,} bytes of similarity exceed {most}; single rows are read as needed")
        places, group, held = list(wanted), list[int](), 0
        with thread_pool(REQUESTS) as pool:
            for place in [*places, -1]:
                if place < 0 or held > _TOGETHER:
                    read = pool.map(
                        lambda p: read_rows(self._index.url, self._index.tile(p), wanted[p], self._disk), group
                    )
                    yield from zip(group, read, strict=True)
                    group, held = [], 0
                group.append(place)
                if place >= 0:
                    held += sum(2 * (stop - start) for _, start, stop in wanted[place])
                    self.rows_read += len(wanted[place])

    def _make_room(self, place: int, needed: Callable[[int], int]) -> bool:
        """Whether the tile at a place is to be held: its room is then taken."""
        cost = int(self._cost[place])
        if self._taken + cost > self.limit:
            if not self.is_mapped and needed(place) < _WORTH_IT * cost:
                return False
            self._drop(self._taken + cost - self.limit)
            if self._taken + cost > self.limit:
                return False
        self._taken += cost
        return True

    def _drop(self, least: int) -> None:
        """Drops tiles until as much room is free, those that were not used for longest first; none of this use."""
        others = np.flatnonzero(self.held & (self._last_use < self._uses))
        others = others[np.argsort(self._last_use[others], kind="stable")]
        if self._cost[others].sum() < least:
            return  # it would not be enough
        for place in others.tolist():
            if least <= 0:
                return
            self.steps[place] = NO_STEPS
            self.held[place] = False
            self._taken -= int(self._cost[place])
            least -= int(self._cost[place])
