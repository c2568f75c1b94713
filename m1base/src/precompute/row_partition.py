"""Partitions the rows of a nearest-neighbour search into blocks and assigns these to workers.

Mechanism. Neighbours are searched within groups: the categories, or the whole data set as one. A block is a range of
rows of a group; making it compares them with the whole group, which has to be fetched for every block. Few large blocks
fetch less, many small ones balance better. So the partition starts with blocks as large as memory allows and is refined
as long as that can reduce the maximum load; the plan with the lowest maximum is taken. It is a pure function of the
groups' sizes and the number of workers, which every worker computes for itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from captionless.precompute import partition

COST_OF_AN_OBJECT = 400
"""The cost of fetching an object's embedding, in comparisons: 490 to 760 were measured for views, 170 to 200 for an
embedding of width 512, from a local file on one core."""

MIN_ROWS = 16
"""Smaller blocks would spend all their time fetching."""

_FINER = 0.99  # from one cut to the next, in a block's largest cost


@dataclass(frozen=True)
class RowBlock:
    """A block: the rows [start, stop) of a group of `of` objects."""

    group: str
    start: int
    stop: int
    of: int

    @property
    def pairs(self) -> int:
        return (self.stop - self.start) * self.of

    @property
    def cost(self) -> int:
        """In comparisons."""
        return self.pairs + COST_OF_AN_OBJECT * self.of


@dataclass(frozen=True)
class RowPlan:
    """Row blocks and their workers: `sides`, the rows of a block by group; `workers[i]`, worker i's blocks in order."""

    sides: Mapping[str, int]
    workers: Sequence[Sequence[RowBlock]]

    @cached_property
    def blocks(self) -> list[RowBlock]:
        """Those of all workers, by group and row."""
        return sorted((b for own in self.workers for b in own), key=lambda b: (b.group, b.start))

    @cached_property
    def costs(self) -> list[int]:
        """Each worker's load, in comparisons."""
        return [sum(block.cost for block in own) for own in self.workers]

    @property
    def balance(self) -> float:
        """The maximum load over the mean; 1 if there is no work."""
        return partition.balance(self.costs)


def keep_rows(sizes: Mapping[str, int], workers: int, sides: Mapping[str, int]) -> RowPlan:
    """Assign the blocks of an existing partition, with `sides` rows each, to workers."""
    return RowPlan(sides, _assigned(sizes, sides, workers))


def plan_rows(sizes: Mapping[str, int], workers: int, most: int) -> RowPlan:
    """Partition groups of `sizes` objects into blocks of at most `most` rows and assign them to workers.

    The plan has the lowest maximum load of all, within about 1 %.
    """

    def cut(largest: float) -> RowPlan:
        sides = {group: _side(n, largest, most) for group, n in sizes.items()}
        return RowPlan(sides, _assigned(sizes, sides, workers))

    best = found = cut(math.inf)
    largest, least = max(b.cost for b in found.blocks) * _FINER, sum(found.costs) / workers
    while max(best.costs) > partition.EVEN * least and any(side > MIN_ROWS for side in found.sides.values()):
        found = cut(largest)
        if sum(found.costs) >= workers * max(best.costs):
            break  # a finer partition costs more in total
        best = min(best, found, key=lambda plan: max(plan.costs))
        largest *= _FINER
    return best


def _side(n: int, largest: float, most: int) -> int:
    """Rows in a block of a group of n, so that a block costs at most `largest` and blocks are about equal."""
    limit = min(max(largest / n - COST_OF_AN_OBJECT, MIN_ROWS), most)
    return math.ceil(n / math.ceil(n / limit))


def _assigned(sizes: Mapping[str, int], sides: Mapping[str, int], workers: int) -> list[list[RowBlock]]:
    """Each worker's blocks: assigned costliest first to the least loaded worker."""
    blocks = [
        RowBlock(group, start, min(start + sides[group], n), n)
        for group, n in sorted(sizes.items())
        for start in range(0, n, sides[group])
    ]
    blocks.sort(key=lambda b: -b.cost)  # stable: ties stay in order
    assigned: list[list[RowBlock]] = [[] for _ in range(workers)]
    loads = [(0, worker) for worker in range(workers)]
    for owner, block in zip(partition.least_loaded(loads, [b.cost for b in blocks]), blocks, strict=True):
        assigned[owner].append(block)
    return [sorted(own, key=lambda b: (b.group, b.start)) for own in assigned]
