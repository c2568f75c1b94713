"""Which objects share a global batch, and how it is cut over micro-batches and ranks.

An epoch is a permutation of the objects drawn from (seed, epoch), cut into batches; the incomplete last one is dropped.
If there are fewer objects than the batch size, all of them form the batch. The content of a batch is a function of
(seed, step), and does not depend on the number of ranks.

A hard-negative batch (Liu et al., OpenShape, arXiv 2305.10764) is made of groups: its first objects are seeds, and each
adds some of its nearest objects in the space of the encoder being trained, drawn from (seed, epoch, key of the seed).
These replace the other objects of a random batch. An object that two seeds add occurs twice, and is not a negative of
itself (see `pair_weights`).

Micro-batches come first and ranks second: a rank holds its share of the first micro-batch, then of the second, and so
on, so that the statistics of batch normalisation, which span a micro-batch, do not depend on the number of ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from captionless.trainer.distributed import shares
from captionless.trainer.seeds import generator


def batch_of(step: int, objects: int, size: int, seed: int) -> tuple[int, NDArray[np.int64]]:
    """The epoch of a step (from 0), and the places among so many objects of its random batch, (size,) int64."""
    epoch, place = divmod(step, objects // size)
    return epoch, _order(seed, epoch, objects)[place * size : (place + 1) * size]


@lru_cache(maxsize=2)  # that of an epoch, and of the next, which is read ahead; a million take 90 ms to draw
def _order(seed: int, epoch: int, objects: int) -> NDArray[np.int64]:
    order = generator("order", seed, epoch).permutation(objects)
    order.setflags(write=False)
    return order


def with_neighbours(
    batch: NDArray[np.int64], group: int, nearest: NDArray[np.integer], keys: Sequence[str], seed: int, epoch: int
) -> NDArray[np.int64]:
    """`batch` with its last places taken by neighbours of its first, group after group, (N,) int64 as it was.

    group: objects in a group, the seed first; the last group may be smaller. nearest: (objects, k >= group - 1), places
    of each object's neighbours. keys: of all objects.
    """
    groups = []
    for of in batch[: -(-len(batch) // group)]:
        drawn = generator("neighbours", seed, epoch, keys[of]).permutation(nearest.shape[1])[: group - 1]
        groups.append(np.concatenate([[of], nearest[of, drawn]]))
    return np.concatenate(groups)[: len(batch)].astype(np.int64)


def cut(size: int, micro_batches: int, world: int) -> list[list[NDArray[np.int64]]]:
    """For every rank its places of a global batch of `size`, one array for each micro-batch."""
    cuts: list[list[NDArray[np.int64]]] = [[] for _ in range(world)]
    first = 0
    for micro_batch in shares(size, micro_batches):
        for rank, rows in enumerate(shares(micro_batch, world)):
            cuts[rank].append(np.arange(first, first + rows))
            first += rows
    return cuts
