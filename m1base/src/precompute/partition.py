"""Partitions similarity matrices into tiles and assigns these to workers, so that all finish together.

Mechanism. A tile costs its pairs, and its objects, whose views have to be fetched, converted and described before the
first pair: `COST_OF_AN_OBJECT` is the cost of one object in pairs. Small tiles balance better, large ones fetch less.
So the partition starts with tiles as large as memory, or a worker's share, allows, and is refined until the load is
balanced: longest processing time first, each tile to the least loaded worker.

What is stored is not cut again: a tile is kept as it is, or copied if objects in it are gone, and new objects get
blocks of columns of their own (`tile_layout`). These are refined by their width only, and not below `MIN_WIDTH`: a few
objects that are added to many have a tile for `MAX_SIDE` of them whatever the number of workers, since tiles stay.

The plan is a pure function of what has become of the categories (`growth`) and the number of workers. Every worker
computes all of it and takes its own share, without coordination.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from captionless.precompute.growth import Growth, pairs
from captionless.store.tile_layout import ColumnBlock, square_blocks, tiles_of
from captionless.store.tiles import Metric, Tile, TileBlock

COST_OF_AN_OBJECT: Mapping[Metric, int] = {"i2i": 400, "i2l": 800}
"""The cost of fetching and preparing an object's views, in pairs: `benchmarks/similarity` measures more for a single
tile, but tiles of a row share one of their sides."""

COST_OF_A_FILE = 10_000
"""The cost of looking for a stored tile, in pairs; copying one costs a `_COPIED`th of its pairs more."""
_COPIED = 30

MAX_SIDE = 2048
"""Objects on a side of the largest tile. It bounds a worker's memory: 2048 objects of 30 views of width 512 are 60 MiB
as they are stored, and a worker holds up to four such blocks, two in work and two read ahead, and one tile."""

MIN_SIDE = 16
"""In smaller tiles the objects would be all of the cost; a data set that small needs fewer workers."""

MIN_WIDTH = 512
"""New objects in a block that is added to stored ones, if there are as many."""

EVEN = 1.05
"""The maximum load over the mean at which a plan is balanced enough."""

_FINER = 0.7  # from one cut to the next, in a tile's largest cost


@dataclass(frozen=True)
class PlannedTile:
    """A tile, how many pairs it has and of how many objects on both sides; and the stored one with the same block, and
    whether objects that this one has are gone."""

    block: TileBlock
    pairs: int
    objects: int
    stored: Tile | None = None
    is_copied: bool = False

    def cost(self, metric: Metric) -> int:
        """In pairs."""
        if self.stored is None:
            return self.pairs + COST_OF_AN_OBJECT[metric] * self.objects
        return COST_OF_A_FILE + (self.pairs // _COPIED if self.is_copied else 0)


@dataclass(frozen=True)
class WorkPlan:
    """Tiles and their workers: `blocks` of new columns by category, `workers[i]` the tiles of worker i in processing
    order."""

    blocks: Mapping[str, Sequence[ColumnBlock]]
    workers: Sequence[Sequence[PlannedTile]]
    metric: Metric

    @cached_property
    def tiles(self) -> list[PlannedTile]:
        """Those of all workers."""
        return [tile for own in self.workers for tile in own]

    @cached_property
    def costs(self) -> list[int]:
        """Each worker's load, in pairs."""
        return [sum(tile.cost(self.metric) for tile in own) for own in self.workers]

    @property
    def balance(self) -> float:
        """The maximum load over the mean; 1 if there is no work."""
        return balance(self.costs)


def balance(costs: Sequence[int]) -> float:
    """The maximum of the workers' loads over their mean; 1 if there is no work."""
    return max(costs) * len(costs) / sum(costs) if any(costs) else 1.0


def plan_tiles(categories: Mapping[str, Growth], workers: int, metric: Metric) -> WorkPlan:
    """Partition what is new in some categories into tiles, and assign these and the stored ones to workers.

    The `balance` is at most `EVEN` wherever there is enough work for that many workers, all of it new; otherwise the
    maximum load is minimised.
    """
    order = sorted(categories, key=lambda c: (-len(categories[c].indices), c))
    before = {c: _live_before(categories[c]) for c in order}
    stored = [tile for c in order for tile in _stored(categories[c], before[c])]

    def cut(largest: float) -> WorkPlan:
        blocks = {c: _blocks(categories[c], largest, metric) for c in order}
        new = [_planned(block, before[c]) for c in order for block in tiles_of(c, blocks[c])]
        return WorkPlan(blocks, _assigned([*stored, *new], order, workers, metric), metric)

    whole = sum(_new_work(categories[c], before[c], metric) for c in order)
    largest, best = 2.0 * whole / workers, None
    while True:
        found = cut(largest)
        if best is None or max(found.costs) < max(best.costs):
            best = found
        if found.balance <= EVEN:
            return found
        if all(_is_finest(categories[c], blocks) for c, blocks in found.blocks.items()):
            return best
        largest *= _FINER


def _blocks(growth: Growth, largest: float, metric: Metric) -> list[ColumnBlock]:
    """The blocks of a category's new columns, so that a tile costs at most `largest`."""
    n, start = len(growth.indices), growth.kept
    if start == 0:
        return square_blocks(n, _side(n, largest, metric))
    of_object = COST_OF_AN_OBJECT[metric]
    width = min(max((largest - of_object * MAX_SIDE) / (MAX_SIDE + of_object), MIN_WIDTH), MAX_SIDE)
    found = []
    while start < n:
        stop = start + math.ceil((n - start) / math.ceil((n - start) / width))
        found.append(ColumnBlock(start, stop, math.ceil(start / math.ceil(start / MAX_SIDE))))
        start = stop
    return found


def _side(n: int, largest: float, metric: Metric) -> int:
    """Objects in a block of a category of n, so that a tile costs at most `largest` and blocks are about equal."""
    of_object = COST_OF_AN_OBJECT[metric]
    if n <= MAX_SIDE and pairs(n) + of_object * n <= largest:
        return max(n, 1)
    limit = math.sqrt(of_object**2 + largest) - of_object  # the side s of s * s + 2 * of_object * s = largest
    count = math.ceil(n / min(max(limit, MIN_SIDE), MAX_SIDE))
    return math.ceil(n / max(count, 2)) if n > MIN_SIDE else n


def _is_finest(growth: Growth, blocks: Sequence[ColumnBlock]) -> bool:
    return all(block.stop - block.start <= (MIN_WIDTH if growth.kept else MIN_SIDE) for block in blocks)


def _new_work(growth: Growth, before: NDArray[np.int64], metric: Metric) -> int:
    """About what computing a category's new pairs costs."""
    n, kept = int(before[-1]), int(before[growth.kept])
    return pairs(n) - pairs(kept) + COST_OF_AN_OBJECT[metric] * n if n > kept else 0


def _live_before(growth: Growth) -> NDArray[np.int64]:
    """(slots + 1,) how many objects there are before each slot."""
    return np.concatenate([[0], np.cumsum(growth.indices >= 0)])


def _stored(growth: Growth, before: NDArray[np.int64]) -> list[PlannedTile]:
    """The tiles that are kept or copied."""
    empty = np.concatenate([[0], np.cumsum(np.isin(np.arange(growth.kept), growth.emptied))])

    def lacks(side: tuple[int, int]) -> bool:
        return bool(empty[side[1]] > empty[side[0]])

    return [_planned(t.block, before, t, lacks(t.block.rows) or lacks(t.block.columns)) for t in growth.tiles]


def _planned(
    block: TileBlock, before: NDArray[np.int64], stored: Tile | None = None, is_copied: bool = False
) -> PlannedTile:
    rows, columns = (int(before[stop] - before[start]) for start, stop in (block.rows, block.columns))
    if block.diagonal:
        return PlannedTile(block, pairs(rows), rows, stored, is_copied)
    return PlannedTile(block, rows * columns, rows + columns, stored, is_copied)


def _assigned(
    tiles: Sequence[PlannedTile], order: Sequence[str], workers: int, metric: Metric
) -> list[list[PlannedTile]]:
    """Each worker's tiles: assigned costliest first to the least loaded worker, then sorted by category and row."""
    place = {category: i for i, category in enumerate(order)}
    by_row = sorted(tiles, key=lambda t: (place[t.block.category], t.block.rows, t.block.columns))
    listed = sorted(((tile.cost(metric), tile) for tile in by_row), key=lambda item: -item[0])  # stable: ties in order
    loads = [(0, worker) for worker in range(workers)]
    assigned: list[list[PlannedTile]] = [[] for _ in range(workers)]
    for _, alike in groupby(listed, key=lambda item: (item[0], item[1].block.category)):
        run = list(alike)
        # Tiles that cost the same may be swapped: neighbours go to one worker, which fetches their common rows once.
        for owner, (_, tile) in zip(sorted(least_loaded(loads, [c for c, _ in run])), run, strict=True):
            assigned[owner].append(tile)
    return [sorted(own, key=lambda t: (place[t.block.category], t.block.rows, t.block.columns)) for own in assigned]


def least_loaded(loads: list[tuple[int, int]], costs: Iterable[int]) -> list[int]:
    """The worker of each item of these costs: the least loaded one so far; `loads` is a heap of (load, worker)."""
    found = []
    for each in costs:
        load, worker = loads[0]
        heapq.heapreplace(loads, (load + each, worker))
        found.append(worker)
    return found
