"""Which blocks of rows nearest neighbours are found for at a time and by which worker, so that all finish together.

Mechanism. Neighbours are found within groups: the categories, or the whole data set as one. A block is some rows of a
group; making it compares them with the whole group, which has to be fetched for every block. Few large blocks fetch
less, many small ones are easier to deal out. So the cut begins with blocks as large as memory allows and is made finer
for as long as that can relieve the busiest worker; the one where it has the least to do is taken. It is a pure function
of the groups' sizes and the number of workers, which every worker computes for itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from captionless.precompute import partition

COST_OF_AN_OBJECT = 400
"""What fetching an object's embedding costs, in comparisons with it: 490 to 760 were measured for the views, 170 to 200
for an embedding of width 512, from a local file on one core."""

MIN_ROWS = 16
"""Smaller blocks would be all fetching."""

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
    """A cut and who makes what: `sides`, the rows of a block by group; `workers[i]`, worker i's blocks in order."""

    sides: Mapping[str, int]
    workers: Sequence[Sequence[RowBlock]]

    @cached_property
    def blocks(self) -> list[RowBlock]:
        """Everybody's, by group and row."""
        return sorted((b for own in self.workers for b in own), key=lambda b: (b.group, b.start))

    @cached_property
    def costs(self) -> list[int]:
        """What every worker has to do, in comparisons."""
        return [sum(block.cost for block in own) for own in self.workers]

    @property
    def balance(self) -> float:
        """The busiest worker's cost over the mean; 1 when there is nothing to do."""
        return partition.balance(self.costs)


def plan_rows(sizes: Mapping[str, int], workers: int, most: int, sides: Mapping[str, int] | None = None) -> RowPlan:
    """Cut groups of `sizes` objects into blocks of at most `most` rows and deal them out.

    Of all cuts the one whose busiest worker has the least to do, to about a hundredth. `sides` names a cut to keep to.
    """
    if sides is not None:
        return RowPlan(sides, _assigned(sizes, sides, workers))

    def cut(largest: float) -> RowPlan:
        sides = {group: _side(n, largest, most) for group, n in sizes.items()}
        return RowPlan(sides, _assigned(sizes, sides, workers))

    best = found = cut(math.inf)
    largest, least = max(b.cost for b in found.blocks) * _FINER, sum(found.costs) / workers
    while max(best.costs) > partition.EVEN * least and any(side > MIN_ROWS for side in found.sides.values()):
        found = cut(largest)
        if sum(found.costs) >= workers * max(best.costs):
            break  # a finer cut costs more in all
        best = min(best, found, key=lambda plan: max(plan.costs))
        largest *= _FINER
    return best


def _side(n: int, largest: float, most: int) -> int:
    """Rows in a block of a group of n, so that a block costs at most `largest` and blocks are about equal."""
    limit = min(max(largest / n - COST_OF_AN_OBJECT, MIN_ROWS), most)
    return math.ceil(n / math.ceil(n / limit))


def _assigned(sizes: Mapping[str, int], sides: Mapping[str, int], workers: int) -> list[list[RowBlock]]:
    """Every worker's blocks: the costliest first to the worker with the least."""
    blocks = [
        RowBlock(group, start, min(start + sides[group], n), n)
        for group, n in sorted(sizes.items())
        for start in range(0, n, sides[group])
    ]
    blocks.sort(key=lambda b: -b.cost)  # stable: equal ones stay in order
    assigned: list[list[RowBlock]] = [[] for _ in range(workers)]
    loads = [(0, worker) for worker in range(workers)]
    for owner, block in zip(partition.least_loaded(loads, [b.cost for b in blocks]), blocks, strict=True):
        assigned[owner].append(block)
    return [sorted(own, key=lambda b: (b.group, b.start)) for own in assigned]
