"""The embedded data set: per object its view embeddings and its point cloud, by split.

The embed stage writes shards `<split>/00000.tar` with, per object, `.views.npy`
((R, F) float16, rows L2-normalised), `.points.npy` ((P, 6) float16: xyz in the unit
sphere and colour in [0, 1], in farthest-point order) and `.json` (key, category, ...).
Each part's record lists its objects, so that opening a data set reads no shard.

Objects are listed in the order of their keys, whatever shards they are in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.lifeline import threads
from captionless.store import objects
from captionless.store.ledger import Ledger
from captionless.store.shards import Shard, decode_array

NORM_TOLERANCE = 5e-3
"""How far from 1 a stored row's norm may be: float16 rounding stays well below it."""


@dataclass(frozen=True)
class EmbeddedObject:
    """An object as the embed stage recorded it; `views_digest` changes with its embeddings' bytes."""

    key: str
    category: str
    shard: str
    views_digest: str
    points_digest: str


class Embeddings:
    """One split of an embedded data set. Indices are positions in `keys`."""

    def __init__(self, url: str, split: str, listed: Sequence[EmbeddedObject]):
        self.url, self.split = url, split
        self.objects = sorted(listed, key=lambda o: o.key)
        self.keys = [o.key for o in self.objects]
        self.categories = [o.category for o in self.objects]
        self.digest = objects.digest([[o.key, o.category, o.views_digest, o.points_digest] for o in self.objects])
        self._shard = lru_cache(maxsize=1024)(lambda name: Shard(objects.join(url, name)))

    def __len__(self) -> int:
        return len(self.objects)

    @property
    def classes(self) -> list[str]:
        """The categories, sorted."""
        return sorted(set(self.categories))

    def views(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """View embeddings, (n, R, F) float32. DataError names an object whose rows are not finite unit vectors."""
        arrays = self._arrays(indices, "views.npy")
        for index, array in zip(indices, arrays, strict=True):
            check_views(array, self.keys[int(index)], self.url)
        return np.stack(arrays).astype(np.float32) if arrays else np.zeros((0, 0, 0), np.float32)

    def points(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> NDArray[np.float16]:
        """Point clouds, (n, P, 6) float16, in farthest-point order."""
        arrays = self._arrays(indices, "points.npy")
        for index, array in zip(indices, arrays, strict=True):
            if array.ndim != 2 or array.shape[1] != 6 or not np.isfinite(array).all():
                raise DataError(
                    f"{self.url}: object {self.keys[int(index)]!r}: its points are {array.shape} or not finite, "
                    "expected finite (P, 6)"
                )
        return np.stack(arrays) if arrays else np.zeros((0, 0, 6), np.float16)

    def _arrays(self, indices: Sequence[int] | NDArray[np.integer[Any]], extension: str) -> list[NDArray[Any]]:
        wanted = [self.objects[int(i)] for i in indices]
        if len(wanted) * 2 >= len(self.objects) or len(wanted) > 64:
            return self._sequential(wanted, extension)

        def one(item: EmbeddedObject) -> NDArray[Any]:
            return decode_array(self._shard(item.shard).read(item.key, extension), f"{item.key}.{extension}")

        with threads(16) as pool:
            return list(pool.map(one, wanted))

    def _sequential(self, wanted: Sequence[EmbeddedObject], extension: str) -> list[NDArray[Any]]:
        """Many objects: each shard once, whole."""
        found: dict[str, NDArray[Any]] = {}
        keys = {item.key for item in wanted}
        for name in sorted({item.shard for item in wanted}):
            for key, members in self._shard(name).samples():
                if key in keys:
                    found[key] = decode_array(members[extension], f"{key}.{extension}")
        for item in wanted:
            if item.key not in found:
                raise DataError(f"{self.url}: {item.shard} holds no object {item.key!r}; run embed again")
        return [found[item.key] for item in wanted]


def check_views(array: NDArray[Any], key: str, where: str) -> None:
    """DataError unless `array` is (R, F) of finite unit rows; names the object and the view."""
    if array.ndim != 2:
        raise DataError(
            f"{where}: object {key!r}: view embeddings have shape {array.shape}, expected (views, features)"
        )
    norms = np.linalg.norm(array.astype(np.float32), axis=1)
    wrong = np.flatnonzero(~(np.abs(norms - 1) <= NORM_TOLERANCE))
    if len(wrong):
        view, norm = int(wrong[0]), norms[wrong[0]]
        what = "is not finite (NaN or inf)" if not np.isfinite(norm) else f"has norm {norm:.4f}, expected 1"
        raise DataError(f"{where}: object {key!r}: the embedding of view {view} {what}; run embed again for it")


def open_embeddings(url: str, split: str) -> Embeddings:
    """The embedded data set under `url` (the embed stage's folder). DataError when embed is not finished."""
    manifest = Ledger(url).manifest()
    listed = [
        EmbeddedObject(o["key"], o["category"], facts["shard"], o["views"], o["points"])
        for facts in manifest.facts()
        if facts["split"] == split
        for o in facts["objects"]
    ]
    return Embeddings(url, split, listed)
