"""Which objects share a global batch, and how it is cut over micro-batches and ranks.

An epoch is a permutation of the objects drawn from (seed, epoch), cut into batches; the incomplete last one is dropped.
If there are fewer objects than the batch size, all of them form the batch. The content of a batch is a function of
(seed, step), and does not depend on the number of ranks.

The permutation is global, or windowed: whole shards in random order, through a buffer that mixes objects of those that
follow one another, so that at any time few shards are in use and each is read once, whole.

A hard-negative batch (Liu et al., OpenShape, arXiv 2305.10764) is made of groups: its first objects are seeds, and each
adds some of its nearest objects in the space of the encoder being trained, or by a stored table, drawn from (seed,
epoch, key of the seed). These replace the other objects of a random batch. An object that two seeds add occurs twice,
as two samples, and is not a negative of itself (see `pair_weights`).

Micro-batches come first and ranks second: a rank holds its share of the first micro-batch, then of the second, and so
on, so that the statistics of batch normalisation, which span a micro-batch, do not depend on the number of ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from captionless.trainer.distributed import shares
from captionless.trainer.seeds import generator


class EpochOrder:
    """The order in which every epoch takes so many objects, for any number of threads."""

    def __init__(self, objects: int, seed: int) -> None:
        self.objects, self._seed = objects, seed
        self._drawn: dict[int, NDArray[np.int32]] = {}
        self._lock = Lock()

    def batch(self, step: int, size: int) -> tuple[int, NDArray[np.int64]]:
        """The epoch of a step (from 0), and the places among the objects of its random batch, (size,) int64."""
        epoch, place = divmod(step, self.objects // size)
        return epoch, self.of(epoch)[place * size : (place + 1) * size].astype(np.int64)

    def of(self, epoch: int) -> NDArray[np.int32]:
        """(objects,): each object's place, once. A million take 90 ms to draw, so that of an epoch and that of the
        next, which is read ahead, are held."""
        with self._lock:
            if epoch not in self._drawn:
                self._drawn = {e: order for e, order in self._drawn.items() if abs(e - epoch) == 1}
                self._drawn[epoch] = self._draw(epoch)
            return self._drawn[epoch]

    def _draw(self, epoch: int) -> NDArray[np.int32]:
        found: NDArray[np.int32] = generator("order", self._seed, epoch).permutation(
            np.arange(self.objects, dtype=np.int32)
        )
        return found


class WindowedOrder(EpochOrder):
    """Shards in random order, the objects of each in random order, and each object then held back past as many others
    as is drawn for it, `window` at most.

    So an object's place is at most `window` away from its place in the sequence of shards, and only shards of `window`
    objects, and those begun and ended, are in use at a time. With a window of all objects the order is nearly global.

    shards: (objects,), the number of each object's.
    """

    def __init__(self, shards: NDArray[np.integer], window: int, seed: int) -> None:
        super().__init__(len(shards), seed)
        names, self._shards = np.unique(shards, return_inverse=True)
        self._count, self._window = len(names), window

    def _draw(self, epoch: int) -> NDArray[np.int32]:
        g = generator("windowed order", self._seed, epoch)
        turn = g.permutation(self._count)[self._shards]
        sequence = np.lexsort((g.random(self.objects), turn))
        held_back = np.arange(self.objects) + g.uniform(0, self._window, self.objects)
        return sequence[np.argsort(held_back)].astype(np.int32)


def with_neighbours(
    batch: NDArray[np.int64], group: int, nearest: NDArray[np.integer], keys: Sequence[str], seed: int, epoch: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`batch` with its last places taken by neighbours of its first, group after group, (N,) int64 as it was; and the
    number of each place's group, (N,) int64.

    group: objects in a group, the seed first; the last group may be smaller, and so is one whose seed has fewer
    neighbours: the next seed comes sooner. nearest: (objects, k), places of each object's neighbours, in its last ones
    -1 where there are fewer. keys: of all objects.
    """
    groups, missing = [], len(batch)
    for of in batch:
        near = nearest[of][nearest[of] >= 0]
        drawn = generator("neighbours", seed, epoch, keys[of]).permutation(len(near))[: group - 1]
        groups.append(np.concatenate([[of], near[drawn]])[:missing])
        missing -= len(groups[-1])
        if not missing:
            break
    numbers = np.repeat(np.arange(len(groups)), [len(found) for found in groups])
    return np.concatenate(groups).astype(np.int64), numbers


def by_shard(batch: NDArray[np.int64], shards: NDArray[np.integer], micro_batches: int) -> NDArray[np.int64]:
    """The places of a batch, each in the micro-batch that it was in, and there in order of their objects' shards: the
    ranks that `cut` deals these to have few shards each, and the same ones for many batches.

    shards: of every object of the data set, the number of its shard.
    """
    found, first = np.arange(len(batch)), 0
    for size in shares(len(batch), micro_batches):
        found[first : first + size] = first + np.argsort(shards[batch[first : first + size]], kind="stable")
        first += size
    return found


def occurrences(batch: NDArray[np.int64]) -> NDArray[np.int64]:
    """For every place of a batch how many places before it hold the same object, (N,) int64."""
    order = np.argsort(batch, kind="stable")
    ordered = batch[order]
    found = np.empty(len(batch), np.int64)
    found[order] = np.arange(len(batch)) - np.searchsorted(ordered, ordered)
    return found


def cut(size: int, micro_batches: int, world: int) -> list[list[NDArray[np.int64]]]:
    """For every rank its places of a global batch of `size`, one array for each micro-batch."""
    cuts: list[list[NDArray[np.int64]]] = [[] for _ in range(world)]
    first = 0
    for micro_batch in shares(size, micro_batches):
        for rank, rows in enumerate(shares(micro_batch, world)):
            cuts[rank].append(np.arange(first, first + rows))
            first += rows
    return cuts
