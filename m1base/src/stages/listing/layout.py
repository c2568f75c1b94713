"""Which split and which shard an object is in: a function of the keys, and of what is sealed.

What was listed before stays where it is. New objects are ordered by a hash of their key; they fill the last shard of
their split and then new ones.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "test")
"""The splits by number."""
NONE = -1
"""Instead of the number of a split or a shard."""

Numbers = NDArray[np.int32]


@dataclass(frozen=True)
class Layout:
    """Where n objects go, as arrays (n,): numbers of splits and, of kept objects, of shards within them.

    contents: what is known of their files, see `duplicates`. reasons: by place, of objects that were dropped for what
    other objects are.
    """

    splits: NDArray[np.int8]
    shards: Numbers
    contents: NDArray[np.uint8]
    reasons: dict[int, str]


def order_of(key: str) -> int:
    """Where a key comes among new ones: 64 bits of its sha256, the same on every machine."""
    return int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def lay_out(
    splits: NDArray[np.int8], kept: NDArray[np.bool_], order: NDArray[np.uint64], before: Numbers, per_shard: int
) -> Numbers:
    """The shard of each of n objects, by its number within its split; NONE for objects that are not kept.

    splits: (n,) numbers of `SPLITS`. order: (n,) `order_of` their keys. before: (n,) the shards that they are in, NONE
    for new objects.
    """
    shards = np.where(kept, before, NONE).astype(np.int32)
    for split in range(len(SPLITS)):
        own = kept & (splits == split)
        stored = shards[own & (shards != NONE)]
        last = int(stored.max(initial=0))
        free = max(per_shard - int((stored == last).sum()), 0)
        new = np.flatnonzero(own & (shards == NONE))
        new = new[np.argsort(order[new], kind="stable")]
        place = np.arange(len(new))
        shards[new] = np.where(place < free, last, last + 1 + (place - free) // per_shard)
    return shards


def shard_name(split: int, number: int) -> str:
    return f"{SPLITS[split]}-{number:05d}"


def shard_of(name: str) -> tuple[int, int]:
    """The numbers of split and shard in a shard's name."""
    split, _, number = name.rpartition("-")
    return SPLITS.index(split), int(number)
