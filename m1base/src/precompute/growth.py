"""What has become of a category since its similarity was stored: which objects keep their slots, which get new ones.

An object keeps its slot as long as the same embeddings are under its key; a new one, and one that has changed, gets a
slot at the end, by key. The slot of an object that is gone, or has changed, stays empty. So of an append only the pairs
that have a new member are computed, and of a removal none.

A category is made from scratch, its objects in the order of their keys, when its landmarks have changed, when most of
its slots would be empty, or when it is cut into so many blocks that its tiles have become too small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from captionless.store.similarity_index import StoredCategory, source_of
from captionless.store.tiles import Metric, Tile

MOST_BLOCKS = 1000
"""Blocks of columns: after as many appends computing everything costs less than keeping all their tiles."""


def _none() -> NDArray[np.int64]:
    return np.zeros(0, np.int64)


@dataclass(frozen=True)
class Growth:
    """A category by slot, and what of it is stored.

    indices: of every slot, the place of its object among the category's by key; -1 for an empty one. kept: how many of
    the slots, the first ones, `tiles` are of, by column and row. emptied: slots that these have and that are empty now.
    removed: pairs that were stored and of which a member is gone. because: why nothing is kept of what is stored.
    """

    indices: NDArray[np.int64]
    kept: int = 0
    tiles: Sequence[Tile] = ()
    emptied: NDArray[np.int64] = field(default_factory=_none)
    removed: int = 0
    because: str = ""

    @property
    def is_none(self) -> bool:
        """Whether the category is as it is stored."""
        return 0 < self.kept == len(self.indices) and not len(self.emptied)

    @classmethod
    def from_scratch(cls, n: int, removed: int = 0, because: str = "") -> Growth:
        """Of n objects by key, of which nothing is kept."""
        return cls(np.arange(n), removed=removed, because=because)


def grow(
    keys: Sequence[str], views: Sequence[str], landmarks: str, metric: Metric, stored: StoredCategory | None
) -> Growth:
    """What has become of a category.

    keys, views: of its objects, by key, and the digests of their embeddings. landmarks: digest of its landmarks, "" if
    they are not compared. stored: what an earlier store has of it.
    """
    if stored is None:
        return Growth.from_scratch(len(keys))
    place = {key: i for i, key in enumerate(keys)}
    there = [key for key in stored.keys if key is not None]
    removed = pairs(len(there)) - pairs(sum(key in place for key in there))
    before = _views(stored, place, views, landmarks, metric)
    if isinstance(before, str):
        return Growth.from_scratch(len(keys), removed, before)
    indices = np.full(len(stored.keys), -1, np.int64)
    for slot, (key, digest) in enumerate(zip(stored.keys, before, strict=True)):
        i = -1 if key is None else place.get(key, -1)
        if i >= 0 and views[i] == digest:
            indices[slot] = i
    emptied = np.array([s for s, key in enumerate(stored.keys) if key is not None and indices[s] < 0], np.int64)
    new = np.setdiff1d(np.arange(len(keys)), indices)
    everything = np.concatenate([indices, new])
    if 2 * (everything < 0).sum() > len(everything):
        return Growth.from_scratch(len(keys), removed, "most of its slots are empty")
    if len(new) and len(stored.blocks) >= MOST_BLOCKS:
        return Growth.from_scratch(len(keys), removed, f"it has been added to {MOST_BLOCKS} times")
    return Growth(everything, len(stored.keys), stored.tiles, emptied, removed)


def pairs(n: int) -> int:
    """Of n objects."""
    return n * (n - 1) // 2


def _views(
    stored: StoredCategory, place: dict[str, int], views: Sequence[str], landmarks: str, metric: Metric
) -> Sequence[str | None] | str:
    """The digests of the embeddings that are stored, by slot; or why they do not help."""
    if stored.views is not None and stored.landmarks is not None:
        return stored.views if stored.landmarks == landmarks else "its landmarks have changed"
    # of a release that recorded one digest of them all
    known = [key for key in stored.keys if key is not None and key in place]
    held = [[key, views[place[key]]] for key in known]
    if len(known) == len(stored.keys) and source_of(metric, held, landmarks) == stored.source:
        return [views[place[key]] for key in known]
    return "an earlier release stored it, and did not record which of its objects have changed"
