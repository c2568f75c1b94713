"""Whole matrices into similarity stores: what the stage does tile by tile, from values that a test makes up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from captionless.store.similarity_store import StoredCategory, blocks, publish
from captionless.store.tiles import Metric, write_tile


def store_category(
    url: str, name: str, keys: Sequence[str], sim: ArrayLike, metric: Metric = "i2i", side: int | None = None
) -> StoredCategory:
    """Writes one category's tiles, blocks of `side` objects (all in one when None); `publish` takes what it returns."""
    matrix, side = np.asarray(sim), side or len(keys)
    tiles = [
        write_tile(url, b, matrix[slice(*b.rows), slice(*b.columns)], metric, f"source of {b.file}", keys)
        for b in blocks(name, len(keys), side)
    ]
    return StoredCategory(name, list(keys), f"source of {name}", side, tiles)


def store_all(
    url: str,
    matrices: Mapping[str, tuple[Sequence[str], ArrayLike]],
    metric: Metric = "i2i",
    side: int | None = None,
    cross_category_sim: float = 0.25,
) -> None:
    """Writes and publishes categories: their keys and their matrices."""
    found = [store_category(url, name, keys, sim, metric, side) for name, (keys, sim) in matrices.items()]
    publish(url, metric, found, cross_category_sim)
