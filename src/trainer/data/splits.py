"""Which training objects are held out for validation, to select among weights."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from captionless.store.columns import Named
from captionless.trainer.seeds import numbers


def held_out(keys: Sequence[str], classes: Sequence[Hashable], share: float, seed: int = 0) -> NDArray[np.bool_]:
    """Which objects validate, (n,) bool: of each class the `share`, rounded, that a hash of (seed, key) puts first.

    At least one object of a class validates where there are two, and at least one trains; none does when `share` is 0.
    Whether an object does depends on no other class.
    """
    found = np.zeros(len(keys), dtype=bool)
    if share <= 0 or not len(keys):
        return found
    codes = _codes(classes)
    order = np.lexsort((numbers(keys, "validation", seed), codes))  # of equal hashes the first
    sizes = np.bincount(codes)
    taken = np.array([min(max(round(share * size), 1), size - 1) for size in sizes.tolist()])
    rank = np.arange(len(codes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # within its class
    found[order] = rank < np.repeat(taken, sizes)
    return found


def _codes(classes: Sequence[Hashable]) -> NDArray[np.integer]:
    """(n,): for every object the number of its class."""
    if isinstance(classes, Named):
        return classes.codes
    numbers_of: dict[Hashable, int] = {}
    return np.array([numbers_of.setdefault(name, len(numbers_of)) for name in classes], np.int64)
