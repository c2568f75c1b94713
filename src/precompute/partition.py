"""Partitions similarity matrices into tiles and assigns these to workers, so that all finish together.

Mechanism. A tile costs its pairs, and its objects, whose views have to be fetched, converted and described before the
first pair: `COST_OF_AN_OBJECT` is the cost of one object in pairs. Small tiles balance better, large ones fetch less.
So the partition starts with tiles as large as memory, or a worker's share, allows, and is refined until the load is
balanced: longest processing time first, each tile to the least loaded worker.

The plan is a pure function of the categories' sizes and the number of workers. Every worker computes all of it and
takes its own share, without coordination.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

from captionless.store.similarity_store import blocks
from captionless.store.tiles import Metric, TileBlock

COST_OF_AN_OBJECT: Mapping[Metric, int] = {"i2i": 400, "i2l": 800}
"""The cost of fetching and preparing an object's views, in pairs: `benchmarks/similarity` measures more for a single
tile, but tiles of a row share one of their sides."""

MAX_SIDE = 2048
"""Objects on a side of the largest tile. It bounds a worker's memory: 2048 objects of 30 views of width 512 are 60 MiB
as they are stored, and a worker holds up to four such blocks, two in work and two read ahead, and one tile."""

MIN_SIDE = 16
"""In smaller tiles the objects would be all of the cost; a data set that small needs fewer workers."""

EVEN = 1.05
"""The maximum load over the mean at which a plan is balanced enough."""

_FINER = 0.7  # from one cut to the next, in a tile's largest cost


@dataclass(frozen=True)
class WorkPlan:
    """Tiles and their workers: `sides` by category, `workers[i]` the tiles of worker i in processing order."""

    sides: Mapping[str, int]
    workers: Sequence[Sequence[TileBlock]]
    metric: Metric

    @cached_property
    def tiles(self) -> list[TileBlock]:
        """Those of all workers."""
        return [block for own in self.workers for block in own]

    @cached_property
    def costs(self) -> list[int]:
        """Each worker's load, in pairs."""
        return [sum(cost(block, self.metric) for block in own) for own in self.workers]

    @property
    def balance(self) -> float:
        """The maximum load over the mean; 1 if there is no work."""
        return balance(self.costs)


def balance(costs: Sequence[int]) -> float:
    """The maximum of the workers' loads over their mean; 1 if there is no work."""
    return max(costs) * len(costs) / sum(costs) if any(costs) else 1.0


def cost(block: TileBlock, metric: Metric) -> int:
    """The cost of a tile, in pairs."""
    height, width = block.shape
    return block.pairs + COST_OF_AN_OBJECT[metric] * (height if block.diagonal else height + width)


def plan_tiles(
    sizes: Mapping[str, int], workers: int, metric: Metric, sides: Mapping[str, int] | None = None
) -> WorkPlan:
    """Partition categories of `sizes` objects into tiles and assign them to workers.

    The `balance` is at most `EVEN` wherever there is enough work for that many workers; otherwise the maximum load is
    minimised. `sides`: an existing partition to keep.
    """
    if sides is not None:
        return WorkPlan(sides, _assigned(sizes, sides, workers, metric), metric)
    whole = sum(cost(TileBlock(c, (0, n), (0, n)), metric) for c, n in sizes.items())
    largest, best = 2.0 * whole / workers, None
    while True:
        sides = {category: _side(n, largest, metric) for category, n in sizes.items()}
        found = WorkPlan(sides, _assigned(sizes, sides, workers, metric), metric)
        if best is None or max(found.costs) < max(best.costs):
            best = found
        if found.balance <= EVEN:
            return found
        if all(side <= MIN_SIDE for side in sides.values()):
            return best
        largest *= _FINER


def _side(n: int, largest: float, metric: Metric) -> int:
    """Objects in a block of a category of n, so that a tile costs at most `largest` and blocks are about equal."""
    if n <= MAX_SIDE and cost(TileBlock("", (0, n), (0, n)), metric) <= largest:
        return max(n, 1)
    of_object = COST_OF_AN_OBJECT[metric]
    limit = math.sqrt(of_object**2 + largest) - of_object  # the side s of s * s + 2 * of_object * s = largest
    count = math.ceil(n / min(max(limit, MIN_SIDE), MAX_SIDE))
    return math.ceil(n / max(count, 2)) if n > MIN_SIDE else n


def _assigned(
    sizes: Mapping[str, int], sides: Mapping[str, int], workers: int, metric: Metric
) -> list[list[TileBlock]]:
    """Each worker's tiles: assigned largest first to the least loaded worker, then sorted by category and row."""
    place = {category: i for i, category in enumerate(sorted(sizes, key=lambda c: (-sizes[c], c)))}
    tiles = [
        (cost(block, metric), block)
        for category in place
        for block in blocks(category, sizes[category], sides[category])
    ]
    tiles.sort(key=lambda item: (-item[0], place[item[1].category]))  # stable: ties stay row by row
    loads = [(0, worker) for worker in range(workers)]
    assigned: list[list[TileBlock]] = [[] for _ in range(workers)]
    for _, alike in groupby(tiles, key=lambda item: (item[0], item[1].category)):
        run = list(alike)
        # Tiles that cost the same may be swapped: neighbours go to one worker, which fetches their common rows once.
        for owner, (_, block) in zip(sorted(least_loaded(loads, [c for c, _ in run])), run, strict=True):
            assigned[owner].append(block)
    return [sorted(own, key=lambda b: (place[b.category], b.rows, b.columns)) for own in assigned]


def least_loaded(loads: list[tuple[int, int]], costs: Iterable[int]) -> list[int]:
    """The worker of each item of these costs: the least loaded one so far; `loads` is a heap of (load, worker)."""
    found = []
    for each in costs:
        load, worker = loads[0]
        heapq.heapreplace(loads, (load + each, worker))
        found.append(worker)
    return found
