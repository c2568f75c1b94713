"""Whole matrices into similarity stores: what the stage does tile by tile, from values that a test makes up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from captionless.store import objects
from captionless.store.similarity_index import StoredCategory, publish
from captionless.store.tile_layout import ColumnBlock, square_blocks, tiles_of
from captionless.store.tiles import FORMAT, Metric, write_tile


def store_category(
    url: str,
    name: str,
    keys: Sequence[str | None],
    sim: ArrayLike,
    metric: Metric = "i2i",
    side: int | None = None,
    blocks: Sequence[ColumnBlock] | None = None,
) -> StoredCategory:
    """Writes one category's tiles, blocks of `side` objects (all in one when None) or the given ones; `publish` takes
    what it returns. keys: None for an object that is not there any more."""
    matrix = np.asarray(sim)
    there = np.array([key is not None for key in keys])
    tiles = []
    for block in tiles_of(name, blocks or square_blocks(len(keys), side or len(keys))):
        rows, columns = (np.flatnonzero(there[slice(*span)]) for span in (block.rows, block.columns))
        part = matrix[slice(*block.rows), slice(*block.columns)][np.ix_(rows, columns)]
        source = objects.digest("source of", block.name, keys)
        tiles.append(write_tile(url, block, part, metric, source, live=(rows, columns)))
    return StoredCategory(name, list(keys), f"source of {name}", tiles)


def store_all(
    url: str,
    matrices: Mapping[str, tuple[Sequence[str | None], ArrayLike]],
    metric: Metric = "i2i",
    side: int | None = None,
    cross_category_sim: float = 0.25,
) -> None:
    """Writes and publishes categories: their keys and their matrices."""
    found = [store_category(url, name, keys, sim, metric, side) for name, (keys, sim) in matrices.items()]
    publish(url, metric, found, cross_category_sim, FORMAT.manifest_bytes(url))
